// What a thread does with weights before anybody needs them.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "ahead.h"
#include "columns.h"
#include "pages.h"
#include "pruned.h"
#include "vector_conv.h"

namespace secateur {

// Some weights without their zeros, and all of them packed where one asked for that.
struct Prepared {
  std::shared_ptr<Pruned> weights;  // programs have a share in them
  std::shared_ptr<VectorWeights> packed;
};

// Refuses what is no matrix of so many rows. Flags are secateur_prune_flags.
Prepared make_prepared(const float* weights, int64_t count, int32_t rows, int32_t flags);
// The same of a kernel of a file, however that holds it; null where it is none of float32.
std::shared_ptr<Prepared> make_prepared(const Columns& columns, int32_t kernel, int32_t flags);

class Preparation {
 public:
  // What it reads may be gone afterwards, even if a program still has the thread.
  ~Preparation() { thread_->stop(); }
  const std::shared_ptr<Ahead>& thread() const { return thread_; }
  void prune(const Prepared& each);
  // Prunes the kernels of a file, where one has zeros. Returns how many.
  int32_t prune(const Columns& columns, int32_t flags);
  // Those of them; null for others.
  std::shared_ptr<Prepared> prepared(int32_t tensor) const;
  // Packs all weights for convolutions with one output pixel.
  void pack(Prepared& each);

 private:
  std::shared_ptr<Ahead> thread_ = std::make_shared<Ahead>();
  std::shared_ptr<Pages> pages_ = std::make_shared<Pages>();  // of what is pruned
  std::map<int32_t, std::shared_ptr<Prepared>> kernels_;      // by their tensors
};

}  // namespace secateur

struct secateur_ahead : secateur::Preparation {};
struct secateur_pruned : secateur::Prepared {};
