// Numbers of the .tflite format: operators, types and tables of options, as in tflite/converter/schema/schema.fbs of
// google-ai-edge/LiteRT.
#pragma once

#include "flatbuffer.h"

namespace secateur {
namespace tflite {

enum Operator : int32_t {
  kAdd = 0,
  kAveragePool = 1,
  kConcatenation = 2,
  kConv = 3,
  kDepthwiseConv = 4,
  kDequantize = 6,
  kFullyConnected = 9,
  kLogistic = 14,
  kMaxPool = 17,
  kMul = 18,
  kRelu = 19,
  kReluN1To1 = 20,
  kRelu6 = 21,
  kReshape = 22,
  kResizeBilinear = 23,
  kSoftmax = 25,
  kTanh = 28,
  kPad = 34,
  kMean = 40,
  kSub = 41,
  kDiv = 42,
  kSqueeze = 43,
  kExp = 47,
  kLogSoftmax = 50,
  kMaximum = 55,
  kMinimum = 57,
  kNeg = 59,
  kPadV2 = 60,
  kSlice = 65,
  kExpandDims = 70,
  kLog = 73,
  kSqrt = 75,
  kRsqrt = 76,
  kPow = 78,
  kSquare = 92,
  kResizeNearest = 97,
  kLeakyRelu = 98,
  kSquaredDifference = 99,
  kAbs = 101,
  kElu = 111,
  kHardSwish = 117,
  kDensify = 124,
  kGelu = 150
};

enum Type : int32_t { kFloat32 = 0, kInt32 = 2, kInt64 = 4, kResource = 13, kVariant = 14 };
enum PaddingScheme : int32_t { kSame = 0, kValid = 1 };

// A kind of options: its number, and the bytes of its fields.
struct Options {
  int32_t number;
  TableKind kind;
};
// Padding, strides along the width and the height, function, dilations likewise.
inline const Options kConvOptions{1, TableKind({1, 4, 4, 1, 4, 4, 1}, {})};
// The same, with a multiplier before the function.
inline const Options kDepthwiseOptions{2, TableKind({1, 4, 4, 4, 1, 4, 4}, {})};
// Padding, strides, width and height of the window, function.
inline const Options kPoolOptions{5, TableKind({1, 4, 4, 4, 4, 1}, {})};
// Function, format of the weights, whether all axes are kept.
inline const Options kDenseOptions{8, TableKind({1, 1, 1, 1, 1, 4}, {})};
inline const Options kSoftmaxOptions{9, TableKind({4}, {})};         // beta
inline const Options kConcatenationOptions{10, TableKind({4, 1}, {})};  // axis, function
inline const Options kAddOptions{11, TableKind({1, 1}, {})};         // function
inline const Options kBilinearOptions{15, TableKind({0, 0, 1, 1}, {})};  // corners aligned, half pixel centers
inline const Options kReshapeOptions{17, TableKind({4}, {})};        // shape
inline const Options kMulOptions{21, TableKind({1}, {})};
inline const Options kMeanOptions{27, TableKind({1}, {})};           // whether all axes are kept
inline const Options kSubOptions{28, TableKind({1, 1}, {})};
inline const Options kDivOptions{29, TableKind({1}, {})};
inline const Options kSqueezeOptions{30, TableKind({4}, {})};        // axes
inline const Options kNearestOptions{74, TableKind({1, 1}, {})};     // as kBilinearOptions, from field 0
inline const Options kLeakyReluOptions{75, TableKind({4}, {})};      // alpha
inline const Options kGeluOptions{116, TableKind({1}, {})};          // whether by tanh

}  // namespace tflite
}  // namespace secateur
