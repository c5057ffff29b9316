#include "constants.h"

#include <cstring>
#include <new>

#include "tflite.h"

namespace secateur {

Array Constants::values(int32_t tensor) {
  if (columns_.at(SECATEUR_TYPE, tensor) != tflite::kFloat32) return {nullptr, 0};
  if (!columns_.is_plain(tensor)) {
    Array found{nullptr, 0};
    const int32_t status = unpack_ ? unpack_(tensor, &found.data, &found.count) : SECATEUR_INVALID;
    if (status == SECATEUR_MEMORY) throw std::bad_alloc();
    return status == SECATEUR_OK ? found : Array{nullptr, 0};
  }
  const int64_t count = columns_.size(tensor);
  const float* const data = columns_.floats(tensor);
  if (reinterpret_cast<uintptr_t>(data) % sizeof(float) == 0) return {data, count};
  std::vector<float>& copy = copies_[tensor];
  if (copy.empty() && count) {
    copy.resize(static_cast<size_t>(count));
    std::memcpy(copy.data(), static_cast<const void*>(data), copy.size() * sizeof(float));
  }
  return {copy.data(), count};
}

}  // namespace secateur
