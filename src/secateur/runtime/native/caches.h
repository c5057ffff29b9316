// How large the processor's caches are.
#pragma once

#include <cstdint>

namespace secateur {

// In bytes, of data, a core's own.
int64_t first_level_cache();
// Tests set it by SECATEUR_L2_BYTES, so that small images take turns as well.
int64_t second_level_cache();

// Bytes from which on operations on an image take turns by rows; smaller ones are left alone.
int64_t large_image();

}  // namespace secateur
