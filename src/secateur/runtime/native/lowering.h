// Operators of a file as operations of this library, or why they are none.
#pragma once

#include "constants.h"
#include "lowered.h"
#include "options.h"
#include "tflite.h"

namespace secateur {

class Lowering {
 public:
  // For shapes that the columns have by now; `ahead` may be null.
  Lowering(const Columns& columns, const Preparation* ahead, Constants& constants);
  // Throws NotNative.
  std::unique_ptr<Lowered> operator()(int64_t place);
  // Two operators as one, a sigmoid and the product with what it reads. Throws NotNative.
  std::unique_ptr<Lowered> swish(int64_t sigmoid, int64_t product);

  int32_t batch() const { return batch_; }
  // How many values a tensor has, 1 where that is not known.
  double count(int32_t tensor) const;

 private:
  const Part* shape(int32_t tensor) const;
  int64_t rank(int32_t tensor) const;
  Shape image(int32_t tensor) const;
  Images images(int64_t place, int64_t operands, int64_t data = 1) const;
  Images images(int64_t place) const { return images(place, reads(place).size()); }
  Part reads(int64_t place) const { return columns_.part(SECATEUR_READ, place); }
  int32_t output(int64_t place) const { return columns_.part(SECATEUR_WRITE, place)[0]; }
  Table options(int64_t place, const tflite::Options& expected);

  std::unique_ptr<Lowered> convolution(int64_t place, bool depthwise);
  std::unique_ptr<Lowered> fully_connected(int64_t place);
  std::unique_ptr<Convolution> weighted(int64_t place, bool depthwise) const;
  Part kernel(const Convolution& convolution, int64_t rank) const;
  void take_weights(Convolution& convolution, int64_t size);
  void take_bias(Convolution& convolution, int64_t place);
  std::unique_ptr<Lowered> function(int64_t place);
  std::unique_ptr<Lowered> pair(int64_t place, int32_t function, const tflite::Options* expected);
  std::unique_ptr<Pair::Constant> constant(int32_t tensor, int64_t rank);
  std::unique_ptr<Lowered> pool(int64_t place);
  std::unique_ptr<Lowered> mean(int64_t place);
  std::unique_ptr<Lowered> resize(int64_t place, bool bilinear);
  std::unique_ptr<Lowered> concatenation(int64_t place);
  std::unique_ptr<Lowered> pad(int64_t place);
  std::unique_ptr<Lowered> slice(int64_t place);
  std::unique_ptr<Lowered> reshape(int64_t place);
  std::unique_ptr<Lowered> softmax(int64_t place);

  const Columns& columns_;
  const Preparation* ahead_;
  Constants& constants_;
  Flatbuffer file_;
  std::vector<Part> shapes_;
  std::vector<bool> known_;
  int32_t batch_ = 1;
  std::map<int32_t, std::shared_ptr<Prepared>> prepared_;  // that nobody has made ahead
};

// Gives up where something needed is not so.
inline void need(bool so, Reason reason) {
  if (!so) throw NotNative{reason};
}

// A function that an operator applies to its output, by its number.
secateur_activation fused(int32_t number);

// The window of a convolution or pooling, with its padding in numbers, checked against shapes. The pads of `asked`
// are not read.
secateur_window padded(secateur_window asked, int32_t padding, const Shape& from, const Shape& to);

}  // namespace secateur
