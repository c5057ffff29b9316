// Sparse matrices, packed for the kernels.
#include <algorithm>
#include <numeric>

#include "caches.h"
#include "conv_weights.h"

namespace secateur {
namespace {

// Rows begin to end in the order of their lengths, those of one length as they were: counted, as lengths are
// small numbers.
void sort_rows(const int32_t* lengths, int32_t begin, int32_t end, int32_t* order) {
  const int32_t longest = *std::max_element(lengths + begin, lengths + end);
  std::vector<int32_t> next(static_cast<size_t>(longest) + 2);
  for (int32_t o = begin; o < end; o++) next[static_cast<size_t>(lengths[o]) + 1]++;
  std::partial_sum(next.begin(), next.end(), next.begin());
  for (int32_t o = begin; o < end; o++) order[begin + next[static_cast<size_t>(lengths[o])]++] = o;
}

// Numbers `begin` to `end` of the rows are of one tap of row o and of one block of channels;
// `place` is block * rows + o.
struct Stretch {
  size_t place, tap;
  int32_t begin, end;
};
std::vector<Stretch> find_stretches(const Rows& r, int32_t rows, int64_t channels, int64_t width) {
  std::vector<Stretch> found;
  for (int32_t o = 0; o < rows; o++) {
    size_t place = static_cast<size_t>(o), tap = 0;
    int64_t first = 0, behind = std::min(width, channels);  // columns: of the tap, and behind the block
    for (int32_t i = r.starts[o], begin = i; i < r.starts[o + 1]; begin = i) {
      for (; r.columns[i] >= first + channels; first += channels, tap++) {
        place = static_cast<size_t>(o);
        behind = first + channels + std::min(width, channels);
      }
      for (; r.columns[i] >= behind; place += static_cast<size_t>(rows))
        behind = std::min(behind + width, first + channels);
      while (i < r.starts[o + 1] && r.columns[i] < behind) i++;
      found.push_back({place, tap, begin, i});
    }
  }
  return found;
}

// Where a row's entries are: `common` of them are every second one from `first` on, in turns with another row's; the
// others lie together.
struct Turns {
  int32_t first = 0, common = 0, rest = 0;
};

// Fewer columns, or fewer entries of a column, are not worth a copy.
constexpr int64_t kPairColumns = 64, kPairEntries = 20;

// What a tile reads stays in the nearer caches: the columns are cut into blocks of which all rows are
// computed before the next one's turn. In each block the rows of a unit go in the order of their lengths
// there, which makes the inner loop's end predictable.
class SparseMatrix : public Matrix {
 public:
  SparseMatrix(const Kernels& k, std::shared_ptr<Pruned> pruned, int64_t channels, int64_t pixels,
               int32_t unit, Offsets offsets, std::vector<float> bias)
      : pruned_(std::move(pruned)),
        count_(pruned_->count()),
        depth_(channels),
        offsets_(std::move(offsets)),
        bias_(std::move(bias)) {
    rows = pruned_->row_count();
    rows_a_unit = unit;
    units = static_cast<int32_t>(ceil_div(rows, unit));
    choose_tile(k, pruned_->count(), channels, pixels);
  }

  void multiply(const Kernels& kernels, const Tile& tile) const override {
    SparseTile t{};
    t.in = tile.in;
    t.out = tile.out;
    t.residual = tile.residual;
    t.pitch = tile.pitch;
    t.residual_pitch = tile.residual_pitch;
    t.entries = tile.gated ? reinterpret_cast<const Entry*>(tile.gated) : entries();
    t.begin = tile.begin * rows_a_unit;
    t.end = std::min(rows, tile.end * rows_a_unit);
    t.vectors = tile.vectors;
    t.copy = tile.copy;
    t.in_pitch = pitch_;
    const int64_t width = block_width();
    for (int64_t block = 0; block < blocks_; block++) {
      t.starts = starts_.data() + block * rows;
      t.rows = (tile.from_begin ? places_ : order_).data() + block * rows;
      t.bias = block ? nullptr : bias_.data();
      t.finish = block + 1 == blocks_ ? tile.finish : nullptr;
      if (!pairs_) {
        kernels.sparse(t);
        continue;
      }
      t.in = tile.in + block * width * pitch_;
      t.columns = static_cast<int32_t>(std::min(width, depth_ - block * width));
      kernels.sparse_pairs(t);
    }
  }

  void set_pitch(int64_t before, int64_t pitch) override {
    pitch_ = pitch_ / before * pitch;
    if (pairs_) return;
    for (Entry* e = entries(); e != entries() + count_; e++)
      e->offset = static_cast<int32_t>(e->offset / before * pitch + e->offset % before);
  }
  int64_t bytes() const override {
    return static_cast<int64_t>(
        static_cast<size_t>(count_) * sizeof(Entry) +
        (bias_.size() + starts_.size() + order_.size() + places_.size() + channels_.size()) * 4);
  }
  int64_t copy_size() const override { return pairs_ ? align(block_width() * stride_) : 0; }
  void keep_channels() override {
    const int64_t apart = pairs_ ? stride_ : pitch_;
    for (int64_t block = 0, i = 0; block < blocks_; block++) {
      const int64_t first = pairs_ ? block * block_width() : 0;
      for (; i < starts_[static_cast<size_t>((block + 1) * rows)]; i++)
        channels_.push_back(static_cast<int32_t>(first + entries()[i].offset / apart));
    }
  }
  int64_t gated_size() const override {
    return count_ * static_cast<int64_t>(sizeof(Entry) / sizeof(float));
  }
  void gate(const float* gates, int64_t step, float* to) const override {
    Entry* const gated = reinterpret_cast<Entry*>(to);
    const Entry* const plain = entries();
    for (int64_t i = 0; i < count_; i++)
      gated[i] = {plain[i].offset, plain[i].weight * gates[channels_[static_cast<size_t>(i)] * step]};
  }

 private:
  void work() override {
    const PrunedCopy copy(*pruned_);
    const Rows r = copy.rows();
    const int64_t width = block_width();
    const auto count = static_cast<size_t>(rows), all = static_cast<size_t>(blocks_) * count;
    std::vector<int32_t> lengths(all);  // [block][row]
    const std::vector<Stretch> stretches = find_stretches(r, rows, depth_, width);
    for (const Stretch& s : stretches) lengths[s.place] += s.end - s.begin;
    order_.resize(all);
    places_.resize(all);
    starts_.resize(all + 1);
    std::vector<Turns> turns(all);  // [block][row]
    int32_t entry = 0;
    for (size_t block = 0; block < all; block += count) {
      for (int32_t begin = 0; begin < rows; begin += rows_a_unit) {
        const int32_t end = std::min(rows, begin + rows_a_unit);
        sort_rows(lengths.data() + block, begin, end, order_.data() + block);
        for (size_t i = block + static_cast<size_t>(begin); i < block + static_cast<size_t>(end); i++) {
          const auto o = block + static_cast<size_t>(order_[i]);
          places_[i] = order_[i] - begin;
          starts_[i] = turns[o].rest = entry;
          entry += lengths[o];
        }
        if (pairs_) take_turns(block, begin, end, lengths, turns);
      }
    }
    starts_[all] = entry;
    for (const Stretch& s : stretches) {
      Turns& turn = turns[s.place];
      const int64_t first = static_cast<int64_t>(s.tap) * depth_, block = static_cast<int64_t>(s.place / count) * width;
      const auto entry_of = [&](int32_t i) -> Entry {
        const int64_t c = r.columns[i] - first;
        return {pairs_ ? static_cast<int32_t>((c - block) * stride_) : offsets_.of(s.tap, c), r.values[i]};
      };
      int32_t i = s.begin;
      for (Entry* to = entries() + turn.first; i < s.begin + turn.common; to += 2) *to = entry_of(i++);
      for (; i < s.end; i++) entries()[turn.rest++] = entry_of(i);
    }
    std::vector<float> bias(count);
    for (size_t i = 0; i < count; i++) bias[i] = bias_[static_cast<size_t>(order_[i])];
    bias_ = std::move(bias);
  }

  // Rows begin to end of a block, two by two in their order; the last one may be alone.
  void take_turns(size_t block, int32_t begin, int32_t end, const std::vector<int32_t>& lengths,
                  std::vector<Turns>& turns) const {
    for (int32_t i = begin; i + 2 <= end; i += 2) {
      const auto a = block + static_cast<size_t>(order_[block + static_cast<size_t>(i)]);
      const auto b = block + static_cast<size_t>(order_[block + static_cast<size_t>(i) + 1]);
      const int32_t begin_of_both = turns[a].rest, common = lengths[a];
      turns[a] = {begin_of_both, common, 0};
      turns[b] = {begin_of_both + 1, common, begin_of_both + 2 * common};
    }
  }

  int64_t block_width() const { return ceil_div(depth_, blocks_); }

  // Where the pruned weights were, that take as much memory: no other pages are touched.
  Entry* entries() { return reinterpret_cast<Entry*>(pruned_->memory()); }
  const Entry* entries() const { return reinterpret_cast<const Entry*>(pruned_->memory()); }

  void choose_tile(const Kernels& k, int64_t count, int64_t channels, int64_t pixels) {
    // A block's part of a tile fits the first-level cache; rows of few non-zeros are not cut up.
    constexpr int64_t least = 12;
    const int64_t cache = first_level_cache();
    // To copy a column takes as long as some of its entries.
    const bool worth = channels >= kPairColumns && count >= kPairEntries * channels;
    pairs_ = k.max_pair_vectors && worth && offsets_.taps == std::vector<int64_t>{0};
    widest = pairs_ ? k.max_pair_vectors : k.max_vectors;
    stride_ = int64_t{k.max_pair_vectors} * k.lanes;
    pitch_ = offsets_.channel;
    const int64_t vectors = tile(ceil_div(pixels, k.lanes));
    const int64_t bytes = channels * vectors * k.lanes * 4;
    blocks_ = std::max<int64_t>(1, std::min(ceil_div(bytes, cache), count / rows / least));
  }

  std::shared_ptr<Pruned> pruned_;
  int64_t count_;
  int64_t depth_;  // of each tap
  Offsets offsets_;
  std::vector<int32_t> channels_;  // of each entry, if there is a gate
  std::vector<int32_t> starts_;
  // Output channels, and where they are in their unit, as the rows of each block come.
  std::vector<int32_t> order_, places_;
  std::vector<float> bias_;
  int64_t blocks_ = 1;
  // Whether rows are multiplied two by two, with columns copied `stride_` apart; and how far apart they are before.
  bool pairs_ = false;
  int64_t stride_ = 0, pitch_ = 0;
};

}  // namespace

std::shared_ptr<Matrix> make_sparse(const Kernels& k, std::shared_ptr<Pruned> pruned, int64_t channels,
                                    int64_t pixels, int32_t rows_a_unit, Offsets offsets,
                                    std::vector<float> bias) {
  return std::make_shared<SparseMatrix>(k, std::move(pruned), channels, pixels, rows_a_unit, std::move(offsets),
                                        std::move(bias));
}

}  // namespace secateur
