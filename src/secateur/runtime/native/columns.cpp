#include "columns.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>

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
const TableKind kSparsities({4, 4, 4}, {});
// Without custom options, variables that change, intermediate tensors and options of the second kind.
const TableKind kOperatorTables({4, 4, 4, 1, 4, 4, 1, 4, 4, 8, 8, 1, 4, 4}, {5, 7, 8, 9, 10, 11, 12});
const TableKind kOther({}, {});

}  // namespace

Columns::Columns(const secateur_file& file)
    : file_(file.data, file.bytes),
      code_kinds_(file.code_kinds, file.code_kinds + file.code_count),
      code_rules_(file.code_rules, file.code_rules + file.code_count),
      type_bits_(file.type_bits, file.type_bits + file.type_count) {
  const Table graph(file_, kGraphs, file.graph);
  if (!graph.has(kTensors) || !graph.has(kOperators)) refuse("A graph has neither tensors nor operators");
  add_words(graph.vector(kGraphInputs, 4), SECATEUR_INPUTS);
  add_words(graph.vector(kGraphOutputs, 4), SECATEUR_OUTPUTS);
  read_buffers(file.buffers);
  read_tensors(graph.target(kTensors));
  read_operators(graph.target(kOperators));
  for (int64_t i = 0; i < tensors(); i++) check_tensor(i);
  check_order();
  for (int64_t i = 0; i < operators(); i++) check_operator(i);
  find_packed();
  set_targets({});
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
    if (tensor.has(kSparsity)) Table(file_, kSparsities, tensor.target(kSparsity));
    add(SECATEUR_FLAGS, (tensor.byte(kIsVariable) ? SECATEUR_VARIABLE : 0) | read_quantization(tensor) |
                            (tensor.has(kSparsity) ? SECATEUR_SPARSE : 0));
  }
}

int32_t Columns::read_quantization(const Table& tensor) {
  if (!tensor.has(kQuantization)) return 0;
  const Table found(file_, kQuantizations, tensor.target(kQuantization));
  found.vector(kMin, 4);
  found.vector(kMax, 4);
  const int64_t scales = found.vector(kScale, 4).count, zeros = found.vector(kZeroPoint, 8).count;
  check_quantization(tensors() - 1, found, scales, zeros);
  return scales || zeros ? SECATEUR_QUANTIZED : 0;
}

void Columns::check_quantization(int64_t tensor, const Table& found, int64_t scales, int64_t zeros) const {
  const int32_t axis = found.word(kDimension);
  if (scales > 1 && (axis < 0 || axis >= shape(tensor).size() || shape(tensor)[axis] != scales))
    refuse("A quantized axis has another length", "tensor", tensor);
  if (zeros > 1 && zeros != scales) refuse("There are not as many zero points as scales", "tensor", tensor);
}

void Columns::read_operators(int64_t at) {
  const Vector all = file_.vector(at, 4);
  // Operators of a kind mostly have the same options: the first ones with their kind, layout and bytes.
  std::map<std::tuple<int32_t, std::string_view, std::string_view>, int32_t> first;
  const auto text = [&](int64_t begin, int32_t size) {
    return std::string_view(reinterpret_cast<const char*>(file_.data()) + begin, static_cast<size_t>(size));
  };
  for (int64_t i = 0; i < all.count; i++) {
    const Table each(file_, kOperatorTables, file_.target(all.begin + 4 * i));
    const int32_t code = each.word(kCode), type = each.byte(kOptionsType) & 255;
    if (code < 0 || code >= static_cast<int64_t>(code_rules_.size())) refuse("There is no such operator code", "code", code);
    add(SECATEUR_CODE, code);
    add_words(each.vector(kInputs, 4), SECATEUR_READ, SECATEUR_READ_LENGTH);
    add_words(each.vector(kOutputs, 4), SECATEUR_WRITE, SECATEUR_WRITE_LENGTH);
    const int64_t options = each.target(kOptions);
    int32_t same = static_cast<int32_t>(i);
    if (options >= 0) {
      if (!type) refuse("Options are of no kind", "operator", i);
      const Table checked(file_, kOther, options);
      const int64_t vtable = options - file_.word(options);
      const auto layout = text(vtable, file_.half(vtable));
      const auto content = text(options + 4, file_.half(vtable + 2) - 4);
      same = first.try_emplace({type, layout, content}, same).first->second;
    }
    add(SECATEUR_OPTIONS_TYPE, type);
    add(SECATEUR_OPTIONS, options);
    add(SECATEUR_OPTIONS_SAME, same);
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
         at(SECATEUR_TYPE, tensor) == tflite::kFloat32;
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

void Columns::set_targets(const Lists& targets) {
  targets_.clear();
  for (const Part& each : targets) {
    if (!each.size() || each[0] < 0 || each[0] >= operators() || kind(each[0]) != tflite::kReshape)
      refuse("A target is none of a reshape");
    targets_[each[0]] = Dims(each.first + 1, each.last);
  }
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

const Dims* Columns::target(int64_t place) const {
  const auto found = targets_.find(static_cast<int32_t>(place));
  return found == targets_.end() ? nullptr : &found->second;
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
  constexpr int64_t most = int64_t{1} << 28;
  std::vector<char> seen(static_cast<size_t>(tensors()));
  std::vector<int32_t> found;
  for (int64_t place = 0; place < operators(); place++) {
    const int32_t rules = code_rules_[static_cast<size_t>(at(SECATEUR_CODE, place))];
    if (!(rules & SECATEUR_WEIGHTED) || rules & SECATEUR_LAST_AXIS) continue;
    const int32_t kernel = part(SECATEUR_READ, place)[1];  // it is there: check_weights
    if (!is_plain(kernel) || size(kernel) > most || seen[static_cast<size_t>(kernel)]) continue;
    // Numbers that lie elsewhere than at a multiple of their size are copied before anybody reads them.
    if (reinterpret_cast<uintptr_t>(data(kernel)) % sizeof(float)) continue;
    seen[static_cast<size_t>(kernel)] = true;
    found.push_back(kernel);
  }
  return found;
}

bool Columns::has_zeros(int32_t kernel, int64_t parts) const {
  constexpr int64_t part = 1024;
  const int64_t all = size(kernel), each = std::min(all, part), last = all - each;
  int64_t zeros = 0;
  for (int64_t i = 0; i < parts; i++) {
    const float* const from = floats(kernel) + last * i / (parts - 1);
    zeros += std::count(from, from + each, 0.0f);
  }
  return 10 * zeros >= 3 * parts * each;
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
