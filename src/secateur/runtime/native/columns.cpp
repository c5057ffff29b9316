#include "columns.h"

#include <algorithm>

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
  find_writers();
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

void Columns::find_writers() {
  std::vector<int32_t>& writers = columns_[SECATEUR_WRITER];
  writers.assign(static_cast<size_t>(tensors()), -1);
  for (int64_t place = 0; place < operators(); place++)
    for (int32_t tensor : part(SECATEUR_WRITE, place))
      if (tensor >= 0) writers[static_cast<size_t>(tensor)] = static_cast<int32_t>(place);
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
