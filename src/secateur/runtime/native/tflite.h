// Numbers of the .tflite format: operators and types, as in tflite/converter/schema/schema.fbs of
// google-ai-edge/LiteRT.
#pragma once

#include <cstdint>

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
// Those that only LiteRT runs, and of which something is known here.
enum OtherOperator : int32_t {
  kDepthToSpace = 5, kFloor = 8, kL2Normalization = 11, kSpaceToDepth = 26, kTranspose = 39, kStridedSlice = 45,
  kPrelu = 54, kSin = 66, kTransposeConv = 67, kTile = 69, kSum = 74, kShape = 77, kReduceMax = 82, kPack = 83,
  kUnpack = 88, kReduceMin = 89, kMirrorPad = 100, kCeil = 104, kCos = 108, kRound = 116, kBatchMatmul = 126,
  kBroadcastTo = 130
};

enum Type : int32_t { kFloat32 = 0, kFloat16 = 1, kInt32 = 2, kInt64 = 4, kInt8 = 9, kResource = 13, kVariant = 14 };
enum PaddingScheme : int32_t { kSame = 0, kValid = 1 };

// Those of whole bytes that numpy has: how many bytes a value takes, 0 for others.
inline int32_t bytes_of(int32_t type) {
  static constexpr int8_t bytes[] = {4, 2, 4, 1, 8, 0, 1, 2, 8, 1, 8, 16, 8, 0, 0, 4, 2};
  return type >= 0 && type <= 16 ? bytes[type] : 0;
}
// How many bits a value takes; 0 where that is not fixed, as of strings, or not known.
inline int32_t bits_of(int32_t type) {
  static constexpr int8_t bits[] = {4, 16, 2, 4, 8, 8};
  return type >= 17 && type <= 22 ? bits[type - 17] : 8 * bytes_of(type);
}

}  // namespace tflite
}  // namespace secateur
