// Which kernels there are, and which to take.
#pragma once

#include <string>

#include "kernels.h"

namespace secateur {

// By name; for null or an empty name what SECATEUR_ISA says, or the best. Throws std::invalid_argument.
const Kernels& choose_kernels(const char* name);
// The best of this processor.
const Kernels& best_kernels();
// "avx512,avx2,portable"
const std::string& kernel_names();

// Whether AMD made this processor.
bool is_amd();

}  // namespace secateur
