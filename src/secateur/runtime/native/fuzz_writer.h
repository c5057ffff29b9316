// Writes flatbuffers for the fuzzer.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

// Writes a flatbuffer from its beginning to its end: tables before what they lead to.
class Writer {
 public:
  std::vector<uint8_t> bytes = std::vector<uint8_t>(8);

  void align(size_t width) {
    while (bytes.size() % width) bytes.push_back(0);
  }
  void word(int32_t value) {
    align(4);
    bytes.resize(bytes.size() + 4);
    std::memcpy(bytes.data() + bytes.size() - 4, &value, 4);
  }
  int32_t here() const { return static_cast<int32_t>(bytes.size()); }
  // Of fields of the given widths, 0 for those that are left out. Returns where the table is; places_ has where
  // the fields are.
  int32_t table(const std::vector<int>& widths) {
    align(4);
    std::vector<uint16_t> vtable = {static_cast<uint16_t>(4 + 2 * widths.size()), 0};
    uint16_t size = 4;
    for (int width : widths) {
      while (width && size % width) size++;
      vtable.push_back(width ? size : 0);
      size = static_cast<uint16_t>(size + width);
    }
    vtable[1] = size;
    const int32_t layout = here();
    bytes.resize(bytes.size() + vtable.size() * 2);
    std::memcpy(bytes.data() + layout, vtable.data(), vtable.size() * 2);
    align(8);
    const int32_t at = here();
    word(at - layout);
    bytes.resize(bytes.size() + size - 4);
    places_.clear();
    for (size_t i = 2; i < vtable.size(); i++) places_.push_back(vtable[i] ? at + vtable[i] : 0);
    return at;
  }
  std::vector<int32_t> places() const { return places_; }
  void lead_table(int32_t place, const std::vector<int>& widths) {
    const int32_t at = table(widths);
    set(place, at - place);
  }
  void set(int32_t place, int32_t value, size_t width = 4) {
    if (place) std::memcpy(bytes.data() + place, &value, width);
  }
  // The next thing is what a field leads to.
  void lead(int32_t place) {
    align(4);
    set(place, here() - place);
  }
  void words(int32_t place, const std::vector<int32_t>& values) {
    lead(place);
    word(static_cast<int32_t>(values.size()));
    for (int32_t value : values) word(value);
  }
  // A vector of so many tables that follow; returns where they are to be led to from.
  std::vector<int32_t> tables(int32_t place, size_t count) {
    lead(place);
    word(static_cast<int32_t>(count));
    std::vector<int32_t> found;
    for (size_t i = 0; i < count; i++) {
      found.push_back(here());
      word(0);
    }
    return found;
  }

 private:
  std::vector<int32_t> places_;
};
