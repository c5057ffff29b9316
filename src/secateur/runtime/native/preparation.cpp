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

std::shared_ptr<Prepared> make_prepared(const Columns& columns, int32_t kernel, int32_t flags) {
  if (const auto packed = columns.packed(kernel)) {
    auto pruned = std::make_shared<Pruned>(best_kernels(), packed, flags & SECATEUR_KEEP);
    return std::make_shared<Prepared>(Prepared{std::move(pruned), nullptr});
  }
  if (!columns.is_plain(kernel)) return nullptr;
  return std::make_shared<Prepared>(
      make_prepared(columns.floats(kernel), columns.size(kernel), columns.rows(kernel), flags));
}

void Preparation::prune(const Prepared& each) {
  each.weights->set_pages(pages_);
  thread_->add(each.weights);
}

// So many values are looked at together.
static constexpr int64_t kPart = 1024;

// To prune and pack so many values takes less time than a thread takes to begin.
static constexpr int64_t kForOne = 1 << 16;

static bool enough(int64_t zeros, int64_t of) { return 10 * zeros >= 3 * of; }

static bool has_zeros(const std::shared_ptr<const Packed>& packed, int64_t parts) {
  const int64_t rows = packed->rows, depth = packed->depth;
  // What a sparse one does not store; more of it may be 0.
  if (packed->sparsity && enough(packed->size() - packed->stored, packed->size())) return true;
  const Unpacking from(packed);
  const int64_t looked = std::min(rows, std::max(parts, parts * kPart / depth));
  std::vector<float> row(static_cast<size_t>(depth));
  int64_t zeros = 0;
  for (int64_t i = 0; i < looked; i++) {
    from.row(looked > 1 ? (rows - 1) * i / (looked - 1) : 0, row.data());
    zeros += std::count(row.begin(), row.end(), 0.0f);
  }
  return enough(zeros, looked * depth);
}

// Whether 30 % of a kernel's values or more are 0, in so many parts of it, two at least.
static bool has_zeros(const Columns& columns, int32_t kernel, int64_t parts) {
  if (const auto packed = columns.packed(kernel)) return has_zeros(packed, parts);
  if (!columns.is_plain(kernel)) return false;
  const int64_t all = columns.size(kernel), each = std::min(all, kPart), last = all - each;
  int64_t zeros = 0;
  for (int64_t i = 0; i < parts; i++) {
    const float* const from = columns.floats(kernel) + last * i / (parts - 1);
    zeros += std::count(from, from + each, 0.0f);
  }
  return enough(zeros, parts * each);
}

int32_t Preparation::prune(const Columns& columns, int32_t flags) {
  const std::vector<int32_t> kernels = columns.kernels();
  // Each part is a page or two, which must be mapped for it; models without zeros have nothing from that.
  const auto parts = std::clamp<int64_t>(64 / static_cast<int64_t>(std::max<size_t>(kernels.size(), 1)), 2, 16);
  const auto zeros = [&](int32_t kernel) { return has_zeros(columns, kernel, parts); };
  if (std::none_of(kernels.begin(), kernels.end(), zeros)) return 0;
  int64_t all = 0;
  for (int32_t kernel : kernels) all += columns.size(columns.source(kernel));
  if (all <= kForOne && !(flags & SECATEUR_THREAD)) thread_->stop();
  for (int32_t kernel : kernels)
    if (auto made = make_prepared(columns, kernel, flags)) kernels_[kernel] = std::move(made);
  for (int32_t kernel : kernels)
    if (kernels_.count(kernel)) prune(*kernels_[kernel]);
  return static_cast<int32_t>(kernels_.size());
}

std::shared_ptr<Prepared> Preparation::prepared(int32_t tensor) const {
  const auto found = kernels_.find(tensor);
  return found == kernels_.end() ? nullptr : found->second;
}

void Preparation::pack(Prepared& each) {
  const Pruned& p = *each.weights;
  const Array weights{p.weights(), p.row_count() * p.depth(), p.mapped()};
  each.packed = make_dense_vectors(best_kernels().lanes, pages_, weights, p.row_count(), p.depth());
  thread_->add(each.packed);
}

}  // namespace secateur
