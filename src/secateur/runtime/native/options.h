// The options of operators: tables of the union BuiltinOptions in tflite/converter/schema/schema.fbs of
// google-ai-edge/LiteRT.
#pragma once

#include "flatbuffer.h"

namespace secateur {
namespace tflite {

// A kind of them: its number in the union, and the bytes of its fields.
struct Options {
  int32_t number;
  TableKind kind;
  // A field that leads to a vector, of numbers of so many bytes.
  int vector = -1;
  int32_t width = 4;
};
// Padding, strides along the width and the height, function, dilations likewise.
inline const Options kConvOptions{1, TableKind({1, 4, 4, 1, 4, 4, 1}, {})};
// The same, with a multiplier before the function.
inline const Options kDepthwiseOptions{2, TableKind({1, 4, 4, 4, 1, 4, 4}, {})};
// Padding, strides, width and height of the window, function.
inline const Options kPoolOptions{5, TableKind({1, 4, 4, 4, 4, 1}, {})};
// Function, format of the weights, whether all axes are kept.
inline const Options kDenseOptions{8, TableKind({1, 1, 1, 1, 1, 4}, {}), 5, 1};
inline const Options kSoftmaxOptions{9, TableKind({4}, {})};            // beta
inline const Options kConcatenationOptions{10, TableKind({4, 1}, {})};  // axis, function
inline const Options kAddOptions{11, TableKind({1, 1}, {})};            // function
inline const Options kBilinearOptions{15, TableKind({0, 0, 1, 1}, {})};  // corners aligned, half pixel centers
inline const Options kReshapeOptions{17, TableKind({4}, {}), 0};        // shape
inline const Options kMulOptions{21, TableKind({1}, {})};
inline const Options kMeanOptions{27, TableKind({1}, {})};  // whether all axes are kept
inline const Options kSubOptions{28, TableKind({1, 1}, {})};
inline const Options kDivOptions{29, TableKind({1}, {})};
inline const Options kSqueezeOptions{30, TableKind({4}, {}), 0};  // axes
inline const Options kStridedSliceOptions{32, TableKind({4, 4, 4, 4, 4, 1}, {})};
inline const Options kShapeOptions{55, TableKind({1}, {})};
inline const Options kPackOptions{59, TableKind({4, 4}, {})};
inline const Options kNearestOptions{74, TableKind({1, 1}, {})};  // as kBilinearOptions, from field 0
inline const Options kLeakyReluOptions{75, TableKind({4}, {})};   // alpha
inline const Options kGeluOptions{116, TableKind({1}, {})};       // whether by tanh

// Refuses a damaged table, and rare ones.
void check_options(Flatbuffer& file, int32_t number, int64_t at);

}  // namespace tflite
}  // namespace secateur
