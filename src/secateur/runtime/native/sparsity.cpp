#include "sparsity.h"

#include <algorithm>

#include "refuse.h"

namespace secateur {
namespace {

enum SparsityField { kOrder, kBlocks, kLevels };
const TableKind kSparsities({4, 4, 4}, {});
enum LevelField { kFormat, kLength, kSegmentsType, kSegments, kIndicesType, kIndices };
const TableKind kLevelTables({1, 4, 1, 4, 1, 4}, {});
const TableKind kNumbers({4}, {});
enum Format { kDense, kCompressed };

std::vector<int64_t> words(Flatbuffer& file, const Vector& found) {
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < found.count; i++) numbers.push_back(file.word(found.begin + 4 * i));
  return numbers;
}

// All axes come first, in any order, and then levels within blocks of rising axes.
void check_order(const std::vector<int64_t>& order, const std::vector<int64_t>& blocks, size_t rank) {
  if (order.size() != rank + blocks.size()) refuse("The order of levels has another length");
  std::vector<int64_t> sorted(order);
  std::sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(rank));
  for (size_t i = 0; i < sorted.size(); i++)
    if (sorted[i] != static_cast<int64_t>(i)) refuse("Levels are not in an order of all axes");
  for (size_t i = 0; i < blocks.size(); i++)
    if (blocks[i] < (i ? blocks[i - 1] + 1 : 0) || blocks[i] >= static_cast<int64_t>(rank))
      refuse("Blocks are not of rising axes");
}

template <class T>
struct Reader {
  int64_t operator()(const uint8_t* data, int64_t i) const { return number_at<T>(data, i); }
};

// Calls f with what reads numbers of this width.
template <class F>
void with_width(int32_t width, const F& f) {
  switch (width) {
    case 1: return f(Reader<uint8_t>());
    case 2: return f(Reader<uint16_t>());
    default: return f(Reader<int32_t>());
  }
}

}  // namespace

Sparsity::Numbers Sparsity::read_numbers(Flatbuffer& file, const Table& level, int field) {
  if (!level.has(field)) return {};
  static const int32_t widths[] = {0, 4, 2, 1};
  const int32_t type = level.byte(field - 1);  // in front of it
  if (type < 1 || type > 3) refuse("Indices are of no known type", "type", type);
  const Vector found = Table(file, kNumbers, level.target(field)).vector(0, widths[type]);
  return {file.data() + found.begin, found.count, widths[type]};
}

Sparsity::Sparsity(Flatbuffer& file, int64_t at, const std::vector<int64_t>& shape, int64_t stored) {
  const Table table(file, kSparsities, at);
  if (!table.has(kOrder) || !table.has(kLevels)) refuse("A sparse tensor has no levels");
  const std::vector<int64_t> order = words(file, table.vector(kOrder, 4)), blocks = words(file, table.vector(kBlocks, 4));
  const Vector tables = table.vector(kLevels, 4);
  const size_t rank = shape.size(), depth = rank + blocks.size();
  int64_t total = 1;
  for (int64_t length : shape) {
    if (length < 1 || total > INT32_MAX / length) refuse("A sparse tensor is of no values, or too many");
    total *= length;
  }
  if (tables.count != static_cast<int64_t>(depth)) refuse("Levels are missing");
  check_order(order, blocks, rank);

  // By axes first, and then levels within blocks.
  std::vector<Level> axes(depth);
  for (size_t i = rank, stride = 1; i-- > 0; stride *= static_cast<size_t>(shape[i])) {
    axes[i].length = shape[i];
    axes[i].stride = static_cast<int64_t>(stride);
  }
  std::vector<Table> levels;
  for (int64_t i = 0; i < tables.count; i++) levels.emplace_back(file, kLevelTables, file.target(tables.begin + 4 * i));
  for (size_t i = rank; i < depth; i++) {
    const int64_t length = levels[i].word(kLength);
    Level& whole = axes[static_cast<size_t>(blocks[i - rank])];
    if (length < 1 || whole.length % length) refuse("Blocks do not divide an axis", "length", length);
    axes[i].length = length;
    axes[i].stride = whole.stride;
    whole.length /= length;
    whole.stride *= length;
  }

  int64_t visitors = 1;
  for (size_t i = 0; i < depth; i++) {
    Level level = axes[static_cast<size_t>(order[i])];
    level.segments = read_numbers(file, levels[i], kSegments);
    level.indices = read_numbers(file, levels[i], kIndices);
    level.dense = levels[i].byte(kFormat) == kDense;
    if (level.dense) {
      if (levels[i].word(kLength) != level.length) refuse("A level has another length");
      visitors *= level.length;
    } else {
      if (levels[i].byte(kFormat) != kCompressed || i >= rank) refuse("A level is of no known format");
      check(level, visitors);
      visitors = level.indices.count;
    }
    if (visitors > total) refuse("More values are stored than there are");
    if (!level.dense || level.length > 1) levels_.push_back(level);
  }
  if (visitors != stored) refuse("Another number of values is stored", "stored", stored, "described", visitors);
}

void Sparsity::check(const Level& level, int64_t visitors) {
  const Numbers &segments = level.segments, &indices = level.indices;
  if (segments.count != visitors + 1) refuse("Not every visitor has a segment");
  with_width(segments.width, [&](auto at) {
    bool rising = at(segments.data, 0) == 0;
    for (int64_t i = 0; i < visitors; i++) rising &= at(segments.data, i) <= at(segments.data, i + 1);
    if (!rising || at(segments.data, visitors) != indices.count) refuse("Segments do not rise to the number of indices");
  });
  with_width(indices.width, [&](auto at) {
    bool inside = true;
    for (int64_t i = 0; i < indices.count; i++) {
      const int64_t index = at(indices.data, i);
      inside &= index >= 0 && index < level.length;
    }
    if (!inside) refuse("An index lies outside of its axis");
  });
}

// Segments are looked at once more, as somebody may have written to the file.
std::vector<int32_t> Sparsity::places() const {
  std::vector<int32_t> found(1), next;
  for (const Level& level : levels_) {
    next.clear();
    if (level.dense) {
      next.reserve(found.size() * static_cast<size_t>(level.length));
      for (int32_t place : found)
        for (int64_t i = 0; i < level.length; i++) next.push_back(place + static_cast<int32_t>(i * level.stride));
    } else {
      next.resize(static_cast<size_t>(level.indices.count));
      with_width(level.segments.width, [&](auto segment) {
        with_width(level.indices.width, [&](auto index) {
          for (size_t visitor = 0; visitor < found.size(); visitor++) {
            const auto i = static_cast<int64_t>(visitor);
            const int64_t begin = segment(level.segments.data, i), end = segment(level.segments.data, i + 1);
            if (begin < 0 || end > level.indices.count) refuse("Segments have changed");
            for (int64_t k = begin; k < end; k++)
              next[static_cast<size_t>(k)] =
                  found[visitor] + static_cast<int32_t>(index(level.indices.data, k) * level.stride);
          }
        });
      });
    }
    found.swap(next);
  }
  return found;
}

}  // namespace secateur
