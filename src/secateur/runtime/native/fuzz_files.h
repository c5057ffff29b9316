#pragma once

#include <cstdint>
#include <random>

// What became of a random file: whether it was read, its shapes were found, and a program was made of it.
struct FuzzedFile {
  bool read, inferred, built;
};
FuzzedFile fuzz_file(uint32_t seed);

// Keeps what is read from being left out.
extern uint32_t random_sink;
