#include "columns.h"

#include <algorithm>
#include <cstring>

#include "options.h"
#include "refuse.h"
#include "tflite.h"

namespace secateur {
namespace {

// Fields by their numbers in tflite/converter/schema/schema.fbs of google-ai-edge/LiteRT.
enum GraphField { kTensors, kGraphInputs, kGraphOutputs, kOperators };
enum BufferField { kData };
enum TensorField { kShape, kType, kBuffer, kName, kQuantization, kIsVariable, kSparsity, kSignature };
enum QuantizationField { kMin, kMax, kScale, kZeroPoint, kDimension = 6 };
enum OperatorField { kCode, kInputs, kOutputs, kOptionsType, kOptions };

const TableKind kGraphs({4, 4, 4, 4, 4, 4}, {});
const TableKind kBuffers({4, 8, 8}, {1, 2});  // without values behind the flatbuffer
const TableKind kTensorTables({4, 1, 4, 4, 4, 1, 4, 4, 1, 4, 4}, {9, 10});  // without variants, external buffers
const TableKind kQuantizations({4, 4, 4, 4, 1, 4, 4}, {4, 5});  // without details
// Without custom options, variables that change, intermediate tensors and options of the second kind.
const TableKind kOperatorTables({4, 4, 4, 1, 4, 4, 1, 4, 4, 8, 8, 1, 4, 4}, {5, 7, 8, 9, 10, 11, 12});

}  // namespace

Columns::Columns(const uint8_t* data, int64_t bytes) : file_(data, bytes), head_(file_) {
  const Table graph(file_, kGraphs, head_.graph);
  if (!graph.has(kTensors) || !graph.has(kOperators)) refuse("A graph has neither tensors nor operators");
  add_words(graph.vector(kGraphInputs, 4), SECATEUR_INPUTS);
  add_words(graph.vector(kGraphOutputs, 4), SECATEUR_OUTPUTS);
  read_buffers(head_.buffers);
  read_tensors(graph.target(kTensors));
  read_operators(graph.target(kOperators));
  check_head();
  for (int64_t i = 0; i < tensors(); i++) check_tensor(i);
  check_order();
  for (int64_t i = 0; i < operators(); i++) check_operator(i);
  find_packed();
  find_targets();
  find_needed();
}

void Columns::read_buffers(int64_t at) {
  const Vector all = file_.vector(at, 4);
  for (int64_t i = 0; i < all.count; i++)
    buffers_.push_back(Table(file_, kBuffers, file_.target(all.begin + 4 * i)).vector(kData, 1));
}

void Columns::read_tensors(int64_t at) {
  const Vector all = file_.vector(at, 4);
  for (int64_t i = 0; i < all.count; i++) {
    const int64_t position = file_.target(all.begin + 4 * i);
    const Table tensor(file_, kTensorTables, position);
    add(SECATEUR_POSITION, position);
    add(SECATEUR_TYPE, tensor.byte(kType));
    add_words(tensor.vector(kShape, 4), SECATEUR_SHAPE, SECATEUR_SHAPE_LENGTH);
    add_words(tensor.vector(kSignature, 4), SECATEUR_SIGNATURE, SECATEUR_SIGNATURE_LENGTH);
    const Vector name = tensor.vector(kName, 1);
    names_.append(reinterpret_cast<const char*>(file_.data()) + name.begin, static_cast<size_t>(name.count));
    add(SECATEUR_NAME_LENGTH, name.count);
    const int32_t buffer = tensor.word(kBuffer);
    if (buffer < 0 || buffer >= static_cast<int64_t>(buffers_.size()))
      refuse("There is no such buffer", "buffer", buffer);
    add(SECATEUR_DATA_BEGIN, buffers_[static_cast<size_t>(buffer)].begin);
    add(SECATEUR_DATA_LENGTH, buffers_[static_cast<size_t>(buffer)].count);
    add(SECATEUR_FLAGS, tensor.byte(kIsVariable) ? SECATEUR_VARIABLE : 0);
    if (tensor.has(kQuantization)) read_quantization(tensor.target(kQuantization));
    if (tensor.has(kSparsity)) read_sparsity(tensor.target(kSparsity));
  }
}

// Of the last tensor.
void Columns::read_quantization(int64_t at) {
  const Table found(file_, kQuantizations, at);
  found.vector(kMin, 4);
  found.vector(kMax, 4);
  const Quantization quantization{found.vector(kScale, 4), found.vector(kZeroPoint, 8), found.word(kDimension)};
  if (!quantization.scales.count && !quantization.zeros.count) return;
  columns_[SECATEUR_FLAGS].back() |= SECATEUR_QUANTIZED;
  quantizations_[static_cast<int32_t>(tensors() - 1)] = quantization;
}

// Of the last tensor, too. What has no values in the file is not looked at, and neither are numbers of unknown width.
void Columns::read_sparsity(int64_t at) {
  const int64_t tensor = tensors() - 1, bytes = this->at(SECATEUR_DATA_LENGTH, tensor);
  const int32_t type = this->at(SECATEUR_TYPE, tensor);
  columns_[SECATEUR_FLAGS].back() |= SECATEUR_SPARSE;
  if (!bytes || !tflite::bits_of(type)) return;
  if (!tflite::bytes_of(type)) refuse("A sparse tensor is of a type without whole bytes", "type", type);
  const Part lengths = shape(tensor);
  const Sparsity found(file_, at, {lengths.begin(), lengths.end()}, bytes / tflite::bytes_of(type));
  sparsities_.emplace(static_cast<int32_t>(tensor), found);
}

void Columns::read_operators(int64_t at) {
  const Vector all = file_.vector(at, 4);
  for (int64_t i = 0; i < all.count; i++) {
    const Table each(file_, kOperatorTables, file_.target(all.begin + 4 * i));
    const int32_t code = each.word(kCode), type = each.byte(kOptionsType) & 255;
    if (code < 0 || code >= static_cast<int64_t>(head_.kinds.size())) refuse("There is no such operator code", "code", code);
    add(SECATEUR_KIND, head_.kinds[static_cast<size_t>(code)]);
    add_words(each.vector(kInputs, 4), SECATEUR_READ, SECATEUR_READ_LENGTH);
    add_words(each.vector(kOutputs, 4), SECATEUR_WRITE, SECATEUR_WRITE_LENGTH);
    const int64_t options = each.target(kOptions);
    if (options >= 0 && !type) refuse("Options are of no kind", "operator", i);
    if (options >= 0) tflite::check_options(file_, type, options);
    add(SECATEUR_OPTIONS_TYPE, type);
    add(SECATEUR_OPTIONS, options);
  }
}

void Columns::add_words(const Vector& found, secateur_column words) {
  for (int64_t i = 0; i < found.count; i++) add(words, file_.word(found.begin + 4 * i));
}

void Columns::add_words(const Vector& found, secateur_column words, secateur_column lengths) {
  add_words(found, words);
  add(lengths, found.count);
  ends_[words].push_back(columns_[words].size());
}

Part Columns::part(secateur_column words, int64_t i) const {
  const std::vector<size_t>& ends = ends_[words];
  const int32_t* const all = columns_[words].data();
  return {all + (i ? ends[static_cast<size_t>(i - 1)] : 0), all + ends[static_cast<size_t>(i)]};
}

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
  for (int64_t i = 0; i < quantization.scales.count; i++) {
    to.scales.emplace_back();
    std::memcpy(&to.scales.back(), file_.data() + quantization.scales.begin + 4 * i, 4);
  }
  bool shifted = false;
  for (int64_t i = 0; i < quantization.zeros.count; i++) {
    int64_t zero;
    std::memcpy(&zero, file_.data() + quantization.zeros.begin + 8 * i, 8);
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

void Columns::find_needed() {
  std::vector<char> wanted(static_cast<size_t>(tensors()));
  for (int32_t tensor : column(SECATEUR_OUTPUTS)) wanted[static_cast<size_t>(tensor)] = true;
  std::vector<int32_t>& needed = columns_[SECATEUR_NEEDED];
  needed.clear();
  const auto is_wanted = [&](int32_t tensor) { return tensor >= 0 && wanted[static_cast<size_t>(tensor)]; };
  for (int64_t place = operators() - 1; place >= 0; place--) {
    const Part writes = part(SECATEUR_WRITE, place);
    if (std::none_of(writes.begin(), writes.end(), is_wanted)) continue;
    for (int32_t tensor : reads(place))
      if (tensor >= 0) wanted[static_cast<size_t>(tensor)] = true;
    needed.push_back(static_cast<int32_t>(place));
  }
  std::reverse(needed.begin(), needed.end());
}

Part Columns::reads(int64_t place) const {
  const Part all = part(SECATEUR_READ, place);
  return all.size() == 2 && target(place) ? Part{all.first, all.first + 1} : all;
}

void Columns::set_shapes(const Part& lengths, const Part& words) {
  if (lengths.size() != tensors()) refuse("There are not as many shapes as tensors", "shapes", lengths.size());
  int64_t all = 0;
  for (int32_t length : lengths) all += std::max(length, 0);
  if (all != words.size()) refuse("There are not as many lengths as shapes have", "lengths", words.size());
  columns_[SECATEUR_INFERRED_LENGTH].assign(lengths.begin(), lengths.end());
  columns_[SECATEUR_INFERRED].assign(words.begin(), words.end());
}

std::vector<int32_t> Columns::kernels() const {
  std::vector<char> seen(static_cast<size_t>(tensors()));
  std::vector<int32_t> found;
  for (int64_t place = 0; place < operators(); place++) {
    if (kind(place) != tflite::kConv && kind(place) != tflite::kFullyConnected) continue;
    const int32_t kernel = part(SECATEUR_READ, place)[1];  // it is there: check_weights
    if (!is_constant(kernel) || shape(source(kernel)).product() > kMostWeights || seen[static_cast<size_t>(kernel)]) continue;
    seen[static_cast<size_t>(kernel)] = true;
    found.push_back(kernel);
  }
  return found;
}

bool Columns::has_whole_numbers(int32_t tensor) const {
  if (tensor < 0 || !is_stored(tensor) || at(SECATEUR_FLAGS, tensor) & SECATEUR_SPARSE) return false;
  return at(SECATEUR_TYPE, tensor) == tflite::kInt32 || at(SECATEUR_TYPE, tensor) == tflite::kInt64;
}

Dims Columns::whole_numbers(int32_t tensor) const {
  Dims found;
  if (!has_whole_numbers(tensor)) return found;
  const bool large = at(SECATEUR_TYPE, tensor) == tflite::kInt64;
  const uint8_t* from = data(tensor);
  for (int64_t i = shape(tensor).product(); i > 0; i--, from += large ? 8 : 4) {
    int32_t number = 0;
    std::memcpy(&number, from, 4);
    found.push_back(number);
    if (large) std::memcpy(&found.back(), from, 8);
  }
  return found;
}

const float* Columns::floats(int64_t tensor) const { return reinterpret_cast<const float*>(data(tensor)); }

bool Part::operator==(const Part& other) const {
  return std::equal(first, last, other.first, other.last);
}

int32_t Part::least() const { return *std::min_element(first, last); }

int64_t Part::product() const {
  constexpr int64_t most = int64_t{1} << 62;
  if (std::find(first, last, 0) != last) return 0;
  int64_t product = 1;
  for (int32_t length : *this) product = product > most / length ? most + 1 : product * length;
  return product;
}

}  // namespace secateur
