// Follows the offsets of a flatbuffer and trusts none of them. What does not lie within the file, or not as every
// writer puts it, is refused with std::invalid_argument.
//
// https://flatbuffers.dev/internals: a table begins with the distance back to its vtable, which says for each
// field how far behind the table's beginning it is; a field may hold the distance to something else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

namespace secateur {

constexpr int kMostFields = 16;

// The number at a place among numbers that may lie anywhere; who calls has checked that it is there.
template <class T>
T number_at(const uint8_t* data, int64_t i) {
  T value;
  std::memcpy(&value, data + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

// A kind of table.
struct TableKind {
  // The bytes of each field by its number in the schema, 0 for deprecated ones; and the fields that no table may have.
  TableKind(std::initializer_list<uint8_t> widths, std::initializer_list<int> refused);

  std::array<uint8_t, kMostFields> widths{};
  int fields;
  uint32_t refused = 0;
};

struct Vector {
  int64_t begin = 0, count = 0;
};

class Flatbuffer {
 public:
  Flatbuffer(const uint8_t* data, int64_t bytes);

  int64_t bytes() const { return bytes_; }
  const uint8_t* data() const { return data_; }
  // A number of 32, 16 or 8 bits; the second has no sign.
  int32_t word(int64_t at) const;
  int32_t half(int64_t at) const;
  int32_t byte(int64_t at) const;
  // Where the distance at a place leads.
  int64_t target(int64_t at) const { return at + distance(at); }
  // Refuses a part that is not in the file.
  void within(int64_t at, int64_t length) const;

  // Tables are counted, as are the bytes of vectors: parts that are shared again and again must not make a small file
  // a large one.
  void count_table();
  // A vector whose elements take so many bytes each.
  Vector vector(int64_t at, int32_t width);

 private:
  int64_t distance(int64_t at) const;

  const uint8_t* data_;
  int64_t bytes_, tables_left_, bytes_left_;
};

// A table; its places are those of its fields in the file, 0 where one is left out.
class Table {
 public:
  Table(Flatbuffer& file, const TableKind& kind, int64_t at);

  bool has(int field) const { return places_[static_cast<std::size_t>(field)] != 0; }
  int32_t word(int field) const { return has(field) ? file_.word(place(field)) : 0; }
  int32_t byte(int field) const { return has(field) ? file_.byte(place(field)) : 0; }
  float number(int field) const;
  // Where a field leads, -1 where it is left out.
  int64_t target(int field) const { return has(field) ? file_.target(place(field)) : -1; }
  // The vector that a field leads to, empty where it is left out.
  Vector vector(int field, int32_t width) const {
    return has(field) ? file_.vector(target(field), width) : Vector();
  }

 private:
  int64_t place(int field) const { return at_ + places_[static_cast<std::size_t>(field)]; }

  Flatbuffer& file_;
  int64_t at_;
  std::array<uint16_t, kMostFields> places_{};
};

}  // namespace secateur
