// Nothing is thrown over the border of the C functions: what is becomes a status, and a text for secateur_error.
#pragma once

#include <exception>
#include <new>
#include <stdexcept>

#include "refuse.h"
#include "secateur.h"

namespace secateur {

// Keeps the text for this thread.
void remember(const char* text) noexcept;

// f gives the status. `handle` is what the function is about, and must not be null.
template <class F>
int32_t guard(const void* handle, const F& f) noexcept {
  try {
    if (!handle) refuse("A program is missing", "program", "NULL");
    return f();
  } catch (const std::invalid_argument& e) {
    remember(e.what());
    return SECATEUR_INVALID;
  } catch (const std::bad_alloc&) {
    remember("There is not enough memory.");
    return SECATEUR_MEMORY;
  } catch (const std::length_error&) {
    remember("There is not enough memory.");
    return SECATEUR_MEMORY;
  } catch (const std::exception& e) {
    remember(e.what());
    return SECATEUR_FAILED;
  } catch (...) {
    remember("Unknown error.");
    return SECATEUR_FAILED;
  }
}

// For functions that return nothing.
template <class F>
int32_t adding(const void* handle, const F& f) noexcept {
  return guard(handle, [&] {
    f();
    return SECATEUR_OK;
  });
}

}  // namespace secateur
