// Convolutions with one output pixel, fully connected layers among them: a matrix times one vector.
#pragma once

#include "operations.h"
#include "pruned.h"

namespace secateur {

std::unique_ptr<Operation> make_vector_conv(const Program&, int32_t in, int32_t out,
                                            const secateur_window&, const Rows&,
                                            const std::vector<float>& bias, const Finish&,
                                            int32_t residual);
std::unique_ptr<Operation> make_vector_conv(const Program&, int32_t in, int32_t out,
                                            const secateur_window&, const float* weights,
                                            const std::vector<float>& bias, const Finish&,
                                            int32_t residual);

}  // namespace secateur
