#include "flatbuffer.h"

#include <algorithm>
#include <cstring>

#include "refuse.h"

namespace secateur {

// A flatbuffer counts tables from 1; the C++ verifier gives up at the same number.
static constexpr int64_t kMostTables = 1'000'000;

TableKind::TableKind(std::initializer_list<uint8_t> all, std::initializer_list<int> without)
    : fields(static_cast<int>(all.size())) {
  std::copy(all.begin(), all.end(), widths.begin());
  for (int field : without) refused |= uint32_t{1} << field;
}

Flatbuffer::Flatbuffer(const uint8_t* data, int64_t bytes)
    : data_(data),
      bytes_(bytes),
      tables_left_(std::min(bytes / 4 + 16, kMostTables)),
      bytes_left_(4 * bytes + 65536) {
  if (!data || bytes < 0 || bytes > INT32_MAX) refuse("A flatbuffer has up to 2^31 - 1 bytes", "bytes", bytes);
}

void Flatbuffer::within(int64_t at, int64_t length) const {
  if (at < 0 || at > bytes_ - length) refuse("An offset points out of the file", "byte", at);
}

int32_t Flatbuffer::word(int64_t at) const {
  within(at, 4);
  if (at & 3) refuse("A number lies at no multiple of its size", "byte", at);
  int32_t value;
  std::memcpy(&value, data_ + at, 4);
  return value;
}

int32_t Flatbuffer::half(int64_t at) const {
  within(at, 2);
  uint16_t value;
  std::memcpy(&value, data_ + at, 2);
  return value;
}

int32_t Flatbuffer::byte(int64_t at) const {
  within(at, 1);
  return static_cast<int8_t>(data_[at]);
}

int64_t Flatbuffer::distance(int64_t at) const {
  const int32_t found = word(at);
  if (found < 0) refuse("An offset points out of the file", "byte", at);
  return found;
}

Vector Flatbuffer::vector(int64_t at, int32_t width) {
  const int64_t count = distance(at), size = count * width;
  within(at + 4, size);
  bytes_left_ -= size;
  if (bytes_left_ < 0) refuse("Vectors are longer than a file of this size can hold");
  return {at + 4, count};
}

void Flatbuffer::count_table() {
  if (--tables_left_ < 0) refuse("There are more tables than a file of this size can hold");
}

Table::Table(Flatbuffer& file, const TableKind& kind, int64_t at) : file_(file), at_(at) {
  file.count_table();
  const int64_t vtable = at - file.word(at);
  const int32_t length = file.half(vtable), size = file.half(vtable + 2);
  // Larger tables than the 64 bits of `taken` are no table that is read here.
  if (length < 4 || length % 2 || size < 4 || size > 64) refuse("A layout is malformed", "byte", vtable);
  file.within(vtable, length);
  file.within(at, size);
  uint64_t taken = 15;  // bytes of the table that are in use: the first four lead to the vtable
  for (int field = 0; field < std::min(kind.fields, length / 2 - 2); field++) {
    const int32_t place = file.half(vtable + 4 + 2 * field), width = kind.widths[static_cast<std::size_t>(field)];
    if (!place || !width) continue;
    if (kind.refused >> field & 1) refuse("A field is rare", "field", field);
    if (place + width > size) refuse("A field lies outside of its table", "byte", at);
    const uint64_t mine = ((uint64_t{1} << width) - 1) << place;
    if (taken & mine) refuse("Two fields share a place", "byte", at);
    taken |= mine;
    places_[static_cast<std::size_t>(field)] = static_cast<uint16_t>(place);
  }
}

float Table::number(int field) const {
  const int32_t bits = word(field);
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

}  // namespace secateur
