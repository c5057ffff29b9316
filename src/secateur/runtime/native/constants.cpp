// What a file says of constants: of which kind they are, and their values.
#include "constants.h"

#include "tflite.h"

namespace secateur {

bool Columns::is_plain(int64_t tensor) const {
  return is_stored(tensor) && !(at(SECATEUR_FLAGS, tensor) & SECATEUR_SPARSE) &&
         at(SECATEUR_TYPE, tensor) == tflite::kFloat32 && reinterpret_cast<uintptr_t>(data(tensor)) % sizeof(float) == 0;
}

std::shared_ptr<const Packed> Columns::packed(int32_t tensor) const {
  const int32_t stored = source(tensor), type = at(SECATEUR_TYPE, stored);
  if (at(SECATEUR_TYPE, tensor) != tflite::kFloat32 || !is_stored(stored) || is_plain(tensor)) return nullptr;
  if (type != tflite::kFloat32 && type != tflite::kFloat16 && type != tflite::kInt8) return nullptr;
  const Part dims = shape(stored);
  const int64_t rows = dims.size() ? dims[0] : 1, size = dims.product();
  if (size > kMostWeights) return nullptr;
  Packed found{data(stored), type, at(SECATEUR_DATA_LENGTH, stored) / tflite::bytes_of(type), rows, rows ? size / rows : 0,
               std::nullopt, {}, {}};
  if (const auto sparse = sparsities_.find(stored); sparse != sparsities_.end()) found.sparsity = sparse->second;
  if (type == tflite::kInt8 && !take_scales(stored, found)) return nullptr;
  return std::make_shared<const Packed>(std::move(found));
}

// False where int8 needs more than a scale to become float32.
bool Columns::take_scales(int32_t tensor, Packed& to) const {
  const auto found = quantizations_.find(tensor);
  if (found == quantizations_.end() || !found->second.scales.count) return false;
  const Quantization& quantization = found->second;
  for (int64_t i = 0; i < quantization.scales.count; i++)
    to.scales.push_back(number_at<float>(file_.data() + quantization.scales.begin, i));
  bool shifted = false;
  for (int64_t i = 0; i < quantization.zeros.count; i++) {
    const auto zero = number_at<int64_t>(file_.data() + quantization.zeros.begin, i);
    to.zeros.push_back(static_cast<float>(zero));
    shifted |= zero != 0;
  }
  if (to.scales.size() > 1) {
    const Part dims = shape(tensor);
    to.channels = static_cast<int64_t>(to.scales.size());
    to.each_channel = Part{dims.begin() + quantization.axis + 1, dims.end()}.product();
  }
  return !(shifted && to.sparsity);
}

int32_t Columns::source(int32_t tensor) const {
  const int32_t found = at(SECATEUR_PACKED, tensor);
  return found < 0 ? tensor : found;
}

void Columns::find_packed() {
  outputs_.assign(static_cast<size_t>(tensors()), false);
  for (int32_t tensor : column(SECATEUR_OUTPUTS)) outputs_[static_cast<size_t>(tensor)] = true;
  columns_[SECATEUR_PACKED].assign(static_cast<size_t>(tensors()), -1);
  for (int64_t place = 0; place < operators(); place++) {
    if (kind(place) != tflite::kDensify && kind(place) != tflite::kDequantize) continue;
    const Part reads = part(SECATEUR_READ, place), writes = part(SECATEUR_WRITE, place);
    if (reads.size() != 1 || writes.size() != 1 || reads[0] < 0 || writes[0] < 0) continue;
    const int32_t from = reads[0], to = writes[0];
    if (is_stored(source(from)) && !is_output(to)) columns_[SECATEUR_PACKED][static_cast<size_t>(to)] = source(from);
  }
}

bool Columns::has_whole_numbers(int32_t tensor) const {
  if (tensor < 0 || !is_stored(tensor) || at(SECATEUR_FLAGS, tensor) & SECATEUR_SPARSE) return false;
  return at(SECATEUR_TYPE, tensor) == tflite::kInt32 || at(SECATEUR_TYPE, tensor) == tflite::kInt64;
}

Dims Columns::whole_numbers(int32_t tensor) const {
  Dims found;
  if (!has_whole_numbers(tensor)) return found;
  const bool large = at(SECATEUR_TYPE, tensor) == tflite::kInt64;
  for (int64_t i = 0; i < shape(tensor).product(); i++)
    found.push_back(large ? number_at<int64_t>(data(tensor), i) : number_at<int32_t>(data(tensor), i));
  return found;
}

const float* Columns::floats(int64_t tensor) const { return reinterpret_cast<const float*>(data(tensor)); }

Array Constants::values(int32_t tensor, int64_t most) {
  if (columns_.is_plain(tensor)) return {columns_.floats(tensor), columns_.size(tensor)};
  const auto packed = columns_.packed(tensor);
  if (!packed || packed->size() > most) return {nullptr, 0};
  unpacked_.resize(static_cast<size_t>(packed->size()));
  Unpacking(packed).all(unpacked_.data());
  return {unpacked_.data(), packed->size()};
}

}  // namespace secateur
