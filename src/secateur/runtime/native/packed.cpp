#include "packed.h"

#include <algorithm>
#include <cstring>

#include "refuse.h"
#include "tflite.h"

namespace secateur {
namespace {

float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// Masks instead of branches, for vectors; right also where numbers next to 0 are taken for 0.
float float_of_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, rest = static_cast<uint32_t>(half & 0x7fff) << 13;
  const uint32_t least = 113u << 23;  // 2^-14, the least number with a leading bit
  const float subnormal = float_of(rest + least) - float_of(least);
  uint32_t small;
  std::memcpy(&small, &subnormal, 4);
  const uint32_t is_small = -static_cast<uint32_t>(rest < 0x00800000u);
  const uint32_t is_strange = -static_cast<uint32_t>(rest >= 0x0f800000u);  // infinite, or no number
  const uint32_t large = rest + (112u << 23) + (is_strange & 112u << 23);
  return float_of(sign | (small & is_small) | (large & ~is_small));
}

float stored_at(const Packed& from, int64_t i) {
  switch (from.type) {
    case tflite::kFloat16: return float_of_half(number_at<uint16_t>(from.data, i));
    case tflite::kInt8: return static_cast<float>(number_at<int8_t>(from.data, i));
    default: return number_at<float>(from.data, i);
  }
}

void convert(const Packed& from, int64_t first, int64_t count, float* to) {
  switch (from.type) {
    case tflite::kFloat16:
      for (int64_t i = 0; i < count; i++) to[i] = float_of_half(number_at<uint16_t>(from.data, first + i));
      break;
    case tflite::kInt8:
      for (int64_t i = 0; i < count; i++) to[i] = static_cast<float>(number_at<int8_t>(from.data, first + i));
      break;
    default: std::memcpy(to, from.data + 4 * first, static_cast<size_t>(count) * sizeof(float));
  }
}

}  // namespace

Unpacking::Unpacking(std::shared_ptr<const Packed> packed) : packed_(std::move(packed)) {
  if (packed_->sparsity) sort();
}

void Unpacking::sort() {
  const auto depth = static_cast<int32_t>(packed_->depth);
  columns_ = packed_->sparsity->places();
  std::vector<int32_t> rows(columns_.size());
  starts_.assign(static_cast<size_t>(packed_->rows) + 1, 0);
  bool sorted = true;
  int32_t row = 0;
  int64_t begin = 0;  // of the row
  for (size_t i = 0; i < rows.size(); i++) {
    const int32_t place = columns_[i];
    if (place < 0 || place >= packed_->size()) refuse("Indices have changed");
    if (place < begin || place >= begin + depth) {
      sorted &= place >= begin;
      row = place / depth;
      begin = int64_t{row} * depth;
    }
    columns_[i] = static_cast<int32_t>(place - begin);
    rows[i] = row;
    starts_[static_cast<size_t>(row) + 1]++;
  }
  for (size_t next = 1; next < starts_.size(); next++) starts_[next] += starts_[next - 1];
  if (sorted) return;
  std::vector<int32_t> next(starts_);
  order_.resize(rows.size());
  for (size_t i = 0; i < rows.size(); i++) {
    int32_t& place = next[static_cast<size_t>(rows[i])];
    order_[static_cast<size_t>(place++)] = static_cast<int32_t>(i);
  }
}

void Unpacking::row(int64_t number, float* to) const {
  const Packed& from = *packed_;
  const int64_t first = number * from.depth;
  if (!from.sparsity) {
    convert(from, first, from.depth, to);
  } else {
    std::fill(to, to + from.depth, 0.0f);
    for (int32_t i = starts_[static_cast<size_t>(number)]; i < starts_[static_cast<size_t>(number) + 1]; i++) {
      const int32_t stored = order_.empty() ? i : order_[static_cast<size_t>(i)];
      to[columns_[static_cast<size_t>(stored)]] = stored_at(from, stored);
    }
  }
  if (from.type == tflite::kInt8) scale(first, from.depth, to);
}

void Unpacking::scale(int64_t first, int64_t count, float* values) const {
  const Packed& from = *packed_;
  for (int64_t i = 0; i < count;) {
    const int64_t place = first + i, channel = place / from.each_channel % from.channels;
    const int64_t end = std::min(count, i + from.each_channel - place % from.each_channel);
    const auto of = [&](const std::vector<float>& all) { return all[all.size() > 1 ? static_cast<size_t>(channel) : 0]; };
    const float scale = of(from.scales), zero = from.zeros.empty() ? 0.0f : of(from.zeros);
    for (; i < end; i++) values[i] = (values[i] - zero) * scale;
  }
}

void Unpacking::all(float* to) const {
  for (int64_t number = 0; number < packed_->rows; number++) row(number, to + number * packed_->depth);
}

}  // namespace secateur
