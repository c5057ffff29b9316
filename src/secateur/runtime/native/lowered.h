// What operators of a file are natively, and which of them run together.
#pragma once

#include <memory>
#include <vector>

#include "operations.h"
#include "preparation.h"
#include "value.h"

namespace secateur {

class Building;

// Why an operator does not run natively.
enum class Reason : int32_t { kNone, kKind, kType, kShape, kOptions, kBroadcast, kUnknown };

struct NotNative {
  Reason reason;
};

constexpr secateur_activation kIdentity{SECATEUR_IDENTITY, 0, 0};

// The tensors that are read, constants left out, as images, and the one that is written.
struct Images {
  std::vector<int32_t> inputs;
  std::vector<Shape> sources;
  int32_t output;
  Shape target;
};

class Lowered : public Images {
 public:
  explicit Lowered(Images images) : Images(std::move(images)) {}
  virtual ~Lowered() = default;
  // Adds it to a program, to write this value.
  virtual void add(Building& to, int32_t out) = 0;
  // Takes on a function of its output, where it can. Returns whether it did.
  virtual bool then(const secateur_activation&) { return false; }
  // The functions of single numbers that are a part of it.
  virtual std::vector<secateur_activation> functions() const { return {}; }
};

// A fully connected layer is one of 1 x 1.
class Convolution : public Lowered {
 public:
  Convolution(Images images, bool depthwise) : Lowered(std::move(images)), depthwise(depthwise) {}
  void add(Building& to, int32_t out) override;
  bool then(const secateur_activation& function) override;
  std::vector<secateur_activation> functions() const override { return {first, second}; }
  // Adds another image to its output, where it can. Returns whether it did.
  bool take_residual(int32_t tensor, const Shape& shape);
  // Finds how many weights are not 0; false where one of them is no finite number.
  bool count();
  bool is_pointwise() const { return window.kernel_height == 1 && window.kernel_width == 1; }

  bool depthwise;
  bool sparse = false;  // without its zeros
  int32_t kernel = -1;  // the tensor
  int64_t size = 0, nonzeros = 0;
  std::shared_ptr<Prepared> weights;  // null for depthwise ones
  std::vector<float> bias;            // may be empty
  secateur_window window{};
  // Before the residual and behind it.
  secateur_activation first = kIdentity, second = kIdentity;
  int32_t residual = -1;  // the tensor

 private:
  void add_dense(Building& to, int32_t out, const secateur_epilogue& epilogue);
};

class Function : public Lowered {
 public:
  Function(Images images, const secateur_activation& function) : Lowered(std::move(images)), function(function) {}
  void add(Building& to, int32_t out) override;
  std::vector<secateur_activation> functions() const override { return {function}; }
  secateur_activation function;
};

// Two images into one, or an image and a constant.
class Pair : public Lowered {
 public:
  struct Constant {
    Shape shape;
    std::vector<float> values;
  };
  Pair(Images images, int32_t function, const secateur_activation& activation, std::unique_ptr<Constant> left,
       std::unique_ptr<Constant> right)
      : Lowered(std::move(images)),
        function(function),
        activation(activation),
        left(std::move(left)),
        right(std::move(right)) {}
  void add(Building& to, int32_t out) override;
  bool then(const secateur_activation& function) override;
  std::vector<secateur_activation> functions() const override { return {activation}; }
  int32_t function;
  secateur_activation activation;
  std::unique_ptr<Constant> left, right;
};

class Pooling : public Lowered {
 public:
  Pooling(Images images, int32_t function, const secateur_window& window, const secateur_activation& activation)
      : Lowered(std::move(images)), function(function), window(window), activation(activation) {}
  void add(Building& to, int32_t out) override;
  std::vector<secateur_activation> functions() const override { return {activation}; }
  int32_t function;
  secateur_window window;
  secateur_activation activation;
};

class Padding : public Lowered {
 public:
  Padding(Images images, const Shape& before, float fill) : Lowered(std::move(images)), before(before), fill(fill) {}
  void add(Building& to, int32_t out) override;
  Shape before;
  float fill;
};

class Resizing : public Lowered {
 public:
  Resizing(Images images, int32_t function, bool corners, bool centers)
      : Lowered(std::move(images)), function_(function), corners_(corners), centers_(centers) {}
  void add(Building& to, int32_t out) override;

 private:
  int32_t function_;
  bool corners_, centers_;
};

class Slice : public Lowered {
 public:
  Slice(Images images, const Shape& begin) : Lowered(std::move(images)), begin_(begin) {}
  void add(Building& to, int32_t out) override;

 private:
  Shape begin_;
};

class Softmax : public Lowered {
 public:
  Softmax(Images images, float beta) : Lowered(std::move(images)), beta_(beta) {}
  void add(Building& to, int32_t out) override;

 private:
  float beta_;
};

// The mean over all pixels, images behind each other, or the same numbers in another shape.
class Simple : public Lowered {
 public:
  enum Kind { kMean, kConcatenation, kReshape };
  Simple(Images images, Kind kind) : Lowered(std::move(images)), kind_(kind) {}
  void add(Building& to, int32_t out) override;

 private:
  Kind kind_;
};

}  // namespace secateur
