// Adds operations to programs. Arguments are checked here; what is wrong is thrown.
#pragma once

#include "program.h"

namespace secateur {

class Pruned;
class VectorWeights;

struct Array {
  const float* data;
  int64_t count;
  bool mapped = false;  // in a file whose pages may go once something else is kept
};

// `packed` may be null, or the same weights packed for one pixel, which are not packed again then.
void add_dense_conv(Program&, int32_t in, int32_t out, const secateur_window*, const Array& weights,
                    const Array& bias, const secateur_epilogue*,
                    std::shared_ptr<VectorWeights> packed);
void add_sparse_conv(Program&, int32_t in, int32_t out, const secateur_window*,
                     const std::shared_ptr<Pruned>& weights,
                     const Array& bias, const secateur_epilogue*);
void add_depthwise(Program&, int32_t in, int32_t out, const secateur_window*, const Array& weights,
                   const Array& bias, const secateur_epilogue*);

void add_to_chw(Program&, int32_t in, int32_t out);
void add_to_nhwc(Program&, int32_t in, int32_t out);
void add_reshape(Program&, int32_t in, int32_t out);
void add_concat(Program&, const int32_t* ins, int32_t count, int32_t out);
void add_pad(Program&, int32_t in, int32_t out, int32_t c, int32_t y, int32_t x, float fill);
void add_slice(Program&, int32_t in, int32_t out, int32_t c, int32_t y, int32_t x);

void add_binary(Program&, int32_t function, int32_t left, int32_t right, int32_t out,
                const secateur_activation*);
void add_unary(Program&, int32_t in, int32_t out, const secateur_activation*);
void add_softmax(Program&, int32_t in, int32_t out, float beta);

void add_pool(Program&, int32_t function, int32_t in, int32_t out, const secateur_window*,
              const secateur_activation*);
void add_mean(Program&, int32_t in, int32_t out);
void add_resize(Program&, int32_t function, int32_t in, int32_t out, int32_t align_corners,
                int32_t half_pixel_centers);

}  // namespace secateur
