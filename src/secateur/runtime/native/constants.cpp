#include "constants.h"

#include "tflite.h"

namespace secateur {

Array Constants::values(int32_t tensor) {
  if (columns_.is_plain(tensor)) return {columns_.floats(tensor), columns_.size(tensor)};
  const auto packed = columns_.packed(tensor);
  if (!packed) return {nullptr, 0};
  unpacked_.resize(static_cast<size_t>(packed->size()));
  Unpacking(packed).all(unpacked_.data());
  return {unpacked_.data(), packed->size()};
}

}  // namespace secateur
