#include "preparation.h"

#include <algorithm>

#include "isa.h"
#include "refuse.h"

namespace secateur {

Prepared make_prepared(const float* weights, int64_t count, int32_t rows, int32_t flags) {
  if (!weights) refuse("Weights are missing", "weights", "NULL");
  if (rows < 1 || count < 0 || count % rows || count > INT32_MAX / 2)
    refuse("Weights are so many for each row", "count", count, "rows", rows);
  const bool keep = flags & SECATEUR_KEEP;
  Prepared made{std::make_shared<Pruned>(best_kernels(), weights, rows, count / rows, keep), nullptr};
  if (flags & SECATEUR_MAPPED) made.weights->set_mapped();
  return made;
}

void Preparation::prune(const Prepared& each) {
  each.weights->set_pages(pages_);
  add(each.weights);
}

int32_t Preparation::prune(const Columns& columns, int32_t flags) {
  const std::vector<int32_t> kernels = columns.kernels();
  // Each part is a page or two, which must be mapped for it; models without zeros have nothing from that.
  const auto parts = std::clamp<int64_t>(256 / static_cast<int64_t>(std::max<size_t>(kernels.size(), 1)), 4, 16);
  const auto zeros = [&](int32_t kernel) { return columns.has_zeros(kernel, parts); };
  if (std::none_of(kernels.begin(), kernels.end(), zeros)) return 0;
  for (int32_t kernel : kernels)
    kernels_[kernel] = std::make_shared<Prepared>(
        make_prepared(columns.floats(kernel), columns.size(kernel), columns.rows(kernel), flags));
  for (int32_t kernel : kernels) prune(*kernels_[kernel]);
  return static_cast<int32_t>(kernels.size());
}

std::shared_ptr<Prepared> Preparation::prepared(int32_t tensor) const {
  const auto found = kernels_.find(tensor);
  return found == kernels_.end() ? nullptr : found->second;
}

void Preparation::pack(Prepared& each) {
  const Pruned& p = *each.weights;
  const Array weights{p.weights(), p.row_count() * p.depth(), p.mapped()};
  each.packed = make_dense_vectors(best_kernels().lanes, pages_, weights, p.row_count(), p.depth());
  add(each.packed);
}

}  // namespace secateur
