// What a .tflite file says of the tensors and operators of its one subgraph, as columns of numbers: Python would
// take as long for the hundreds of tables of a network as the network to run.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "head.h"
#include "packed.h"
#include "secateur.h"

namespace secateur {

// The numbers of one tensor or operator.
struct Part {
  const int32_t *first, *last;
  const int32_t* begin() const { return first; }
  const int32_t* end() const { return last; }
  int64_t size() const { return last - first; }
  int32_t operator[](int64_t i) const { return first[i]; }
  bool operator==(const Part& other) const;
  int32_t least() const;  // of one number at least
  // Their product, or something above 2^62.
  int64_t product() const;
};

// Larger constants are left to LiteRT: a small file may say that it holds many zeros.
constexpr int64_t kMostWeights = int64_t{1} << 28;

using Lists = std::vector<Part>;
using Dims = std::vector<int64_t>;

class Columns {
 public:
  // Refuses files that are damaged or make no sense, and those in which a table has something rare.
  Columns(const uint8_t* data, int64_t bytes);

  const std::vector<int32_t>& column(secateur_column name) const { return columns_[name]; }
  const std::string& names() const { return names_; }
  int32_t at(secateur_column name, int64_t i) const { return columns_[name][static_cast<size_t>(i)]; }
  // Of columns of words, those of one tensor or operator.
  Part part(secateur_column words, int64_t i) const;
  // An operator's number in the schema.
  int32_t kind(int64_t place) const { return at(SECATEUR_KIND, place); }
  // Kernels whose first axis is the output channels and whose values are in the file, each once.
  std::vector<int32_t> kernels() const;
  // Where a constant's values of float32 are, and how many rows they are along the first axis.
  const float* floats(int64_t tensor) const;
  int64_t size(int64_t tensor) const { return shape(tensor).product(); }
  int32_t rows(int64_t tensor) const { return shape(tensor)[0]; }
  // Whether a tensor, which may be left out, is a constant of whole numbers; and its values, none if it is not.
  bool has_whole_numbers(int32_t tensor) const;
  Dims whole_numbers(int32_t tensor) const;
  // Whether the file has a tensor's values.
  bool is_stored(int64_t tensor) const { return at(SECATEUR_DATA_LENGTH, tensor); }
  // Whether it has them as they are used: float32, and all of them.
  bool is_plain(int64_t tensor) const;
  // Those of a constant of float32 that are not there as they are used; null where it is none, or they are.
  std::shared_ptr<const Packed> packed(int32_t tensor) const;
  // The constant that operators only unpack to a tensor; that tensor where there is none.
  int32_t source(int32_t tensor) const;
  bool is_constant(int32_t tensor) const { return is_stored(tensor) || source(tensor) != tensor; }
  // The operator that writes a tensor, -1 for none.
  int32_t writer(int32_t tensor) const { return at(SECATEUR_WRITER, tensor); }
  bool is_output(int32_t tensor) const { return outputs_[static_cast<size_t>(tensor)]; }
  Part shape(int64_t tensor) const { return part(SECATEUR_SHAPE, tensor); }
  int64_t tensors() const { return static_cast<int64_t>(column(SECATEUR_TYPE).size()); }
  int64_t operators() const { return static_cast<int64_t>(column(SECATEUR_KIND).size()); }
  const Flatbuffer& file() const { return file_; }

  // The target of a reshape whose own is computed while the model runs and known all the same; null without one.
  const Dims* target(int64_t place) const;
  // What an operator reads; without such a target.
  Part reads(int64_t place) const;
  // Sets the columns of shapes to what operators make of inputs of the given shapes. Refuses what it has no rule for.
  // Of some operators without one, in ascending order, what the file says is believed, where they read what it says.
  // Only the first `known` operators are looked at.
  void infer(const Lists& given, const Part& believed, int64_t known);
  // Sets them to what somebody else has found: how many lengths each tensor has, -1 where it is not known, and these.
  void set_shapes(const Part& lengths, const Part& words);

 private:
  const uint8_t* data(int64_t tensor) const { return file_.data() + at(SECATEUR_DATA_BEGIN, tensor); }

  void read_buffers(int64_t at);
  void read_tensors(int64_t at);
  void read_quantization(int64_t at);
  void read_operators(int64_t at);
  void read_sparsity(int64_t at);
  bool take_scales(int32_t tensor, Packed& to) const;
  void find_writers();
  void find_packed();
  void find_targets();
  void find_needed();
  void add_words(const Vector& found, secateur_column words);
  void add_words(const Vector& found, secateur_column words, secateur_column lengths);
  void add(secateur_column name, int64_t number) { columns_[name].push_back(static_cast<int32_t>(number)); }

  void check_head() const;
  void check_tensor(int64_t tensor) const;
  void check_quantization(int64_t tensor) const;
  void check_order() const;
  void check_operator(int64_t place) const;
  void check_types(const Part& reads, const Part& writes, int64_t data) const;
  void check_unpacking(const Part& reads, const Part& writes, bool dense) const;
  void check_weights(const Part& reads, int64_t axis) const;
  bool needs_no_writer(int64_t tensor) const;

  // Of tensors with scales or zero points.
  struct Quantization {
    Vector scales, zeros;
    int32_t axis;
  };

  Flatbuffer file_;
  Head head_;
  std::vector<Vector> buffers_;
  std::map<int32_t, Quantization> quantizations_;  // by their tensors, as the next ones
  std::map<int32_t, Sparsity> sparsities_;
  std::string names_;
  std::vector<bool> outputs_;  // of tensors, whether they are some of the subgraph
  std::array<std::vector<int32_t>, SECATEUR_COLUMNS> columns_;
  std::map<int32_t, Dims> targets_;  // of reshapes, by their places
  std::array<std::vector<size_t>, SECATEUR_COLUMNS> ends_;  // of the parts of columns of words
};

}  // namespace secateur

struct secateur_columns : secateur::Columns {
  using Columns::Columns;
};
