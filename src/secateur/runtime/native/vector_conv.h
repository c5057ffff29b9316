// Convolutions with one output pixel, fully connected layers among them: a matrix times one vector.
#pragma once

#include "operations.h"
#include "pruned.h"

namespace secateur {

// Their weights, packed once the task is finished: rows in groups of as many as a vector has lanes.
class VectorWeights : public Task {
 public:
  VectorWeights(int lanes, int32_t rows) : lanes_(lanes), rows_(rows) {}
  int64_t groups() const { return (rows_ + lanes_ - 1) / lanes_; }
  virtual void set(VectorProduct& to) const = 0;
  virtual int64_t bytes() const = 0;
  // Whether they are these, packed so.
  virtual bool fits(int /*lanes*/, const float* /*weights*/, int32_t /*rows*/, int64_t /*depth*/) const {
    return false;
  }

 protected:
  int lanes_;
  int32_t rows_;
};

// The weights stay until they are packed.
std::shared_ptr<VectorWeights> make_dense_vectors(int lanes, std::shared_ptr<Pages>, const Array& weights,
                                                  int32_t rows, int64_t depth);
std::shared_ptr<VectorWeights> make_sparse_vectors(int lanes, const std::shared_ptr<Pages>&, std::shared_ptr<Pruned>,
                                                   const std::vector<float>& bias);

// `bias` is that of dense weights; sparse ones have theirs in their own order.
std::unique_ptr<Operation> make_vector_conv(Program&, int32_t in, int32_t out, const secateur_window&,
                                            std::shared_ptr<VectorWeights>, const std::vector<float>& bias,
                                            const Finish&, int32_t residual);

}  // namespace secateur
