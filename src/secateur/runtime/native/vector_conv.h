// Convolutions with one output pixel, fully connected layers among them: a matrix times one vector.
#pragma once

#include "operations.h"
#include "pruned.h"

namespace secateur {

// With one of `pruned` and `weights`; the latter stay until they are packed.
std::unique_ptr<Operation> make_vector_conv(Program&, int32_t in, int32_t out, const secateur_window&,
                                            std::shared_ptr<Pruned> pruned, const float* weights,
                                            const std::vector<float>& bias, const Finish&,
                                            int32_t residual);

}  // namespace secateur
