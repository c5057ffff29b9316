/* The C interface of secateur's native runtime: programs of float32 operations on channel-major images.
 *
 * A *program* is made once and run many times:
 *
 *     secateur_program* p = secateur_create(NULL);
 *     int x = secateur_input(p, 3, 224, 224);              // what the caller hands in: NHWC
 *     int y = secateur_value(p, 32, 112, 112);             // held by the program: channel-major
 *     secateur_conv2d(p, x, y, &window, weights, count, bias, bias_count, NULL, NULL);
 *     ...
 *     int z = secateur_output(p, 1000, 1, 1);              // NHWC again
 *     secateur_to_nhwc(p, y, z);
 *     secateur_finalize(p, 1);                             // batch 1
 *     secateur_run(p, inputs, outputs, threads, NULL);
 *     secateur_destroy(p);
 *
 * Values. Each has channels, height and width, and the program's batch in front. Inputs and outputs lie in
 * the caller's memory, contiguous float32 in TFLite's order (batch, height, width, channels). All others
 * are channel-major and the program's own; how they are padded is nobody's business. A value is written
 * by exactly one operation, before any operation that reads it; operations run in the order of the calls.
 * Only secateur_to_chw and convolutions that are not depthwise read inputs, only secateur_to_nhwc
 * writes outputs. A matrix [rows, features] is a value with channels = features, height = 1, width = rows
 * (or with the rows as batch); a fully connected layer on it is a convolution with a 1 x 1 kernel.
 *
 * Errors. Functions return a status, or a value's id that is 0 or more; negative means failed, and
 * secateur_error() then has the reason. A call that failed left the program as it was. Every size, id,
 * index, pointer and enum is checked; arrays come with their length. Data are copied: arrays may
 * go once the call returns. NULL programs are errors too, except for secateur_destroy.
 *
 * Threads. One program may be used by one thread at a time (secateur_run waits for its turn), different
 * programs by different threads at once.
 */
#ifndef SECATEUR_H_
#define SECATEUR_H_

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define SECATEUR_API __declspec(dllexport)
#else
#define SECATEUR_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised with every change to this file that a caller can notice. */
#define SECATEUR_API_VERSION 11

typedef struct secateur_program secateur_program;
typedef struct secateur_pruned secateur_pruned;
typedef struct secateur_ahead secateur_ahead;
typedef struct secateur_columns secateur_columns;
typedef struct secateur_units secateur_units;

typedef enum {
  SECATEUR_OK = 0,
  SECATEUR_INVALID = -1, /* an argument is wrong, or the call comes at the wrong time */
  SECATEUR_MEMORY = -2,  /* out of memory */
  SECATEUR_FAILED = -3   /* anything else; a bug here */
} secateur_status;

/* What happened in this thread's last failed call; never NULL, valid until its next failed call. */
SECATEUR_API const char* secateur_error(void);
SECATEUR_API int32_t secateur_api_version(void);

/* Instruction sets this build has and this processor runs, best first: "avx512,avx2,portable". */
SECATEUR_API const char* secateur_isas(void);
/* Who made this processor: "amd", or "" for others, which are not told apart. */
SECATEUR_API const char* secateur_maker(void);
/* Billions of multiply-adds a second one thread reaches in registers, measured now (about 20 ms). */
SECATEUR_API double secateur_peak(const char* isa);

/* ---- files ---- */
/* Columns: of each tensor and of each operator one number, or how many it has and, in another column, all of
 * them. Places are bytes from the beginning of the file. */
typedef enum {
  SECATEUR_INPUTS = 0, /* of the subgraph */
  SECATEUR_OUTPUTS = 1,
  SECATEUR_POSITION = 2, /* of tensors: where the table is */
  SECATEUR_TYPE = 3,
  SECATEUR_SHAPE_LENGTH = 4,
  SECATEUR_SHAPE = 5,
  SECATEUR_SIGNATURE_LENGTH = 6,
  SECATEUR_SIGNATURE = 7,
  SECATEUR_NAME_LENGTH = 8,
  SECATEUR_DATA_BEGIN = 9,
  SECATEUR_DATA_LENGTH = 10,
  SECATEUR_FLAGS = 11, /* of secateur_tensor_flags */
  SECATEUR_KIND = 12,  /* of operators: their numbers in the schema */
  SECATEUR_READ_LENGTH = 13,
  SECATEUR_READ = 14,
  SECATEUR_WRITE_LENGTH = 15,
  SECATEUR_WRITE = 16,
  SECATEUR_OPTIONS_TYPE = 17,
  SECATEUR_OPTIONS = 18,         /* where they are, -1 without any */
  SECATEUR_INFERRED_LENGTH = 19, /* of tensors, what secateur_columns_infer found; -1 where nothing */
  SECATEUR_INFERRED = 20,
  SECATEUR_PACKED = 21, /* of tensors: the constant that operators only unpack to it, or -1 */
  SECATEUR_NEEDED = 22, /* the operators that the outputs depend on, in their order */
  SECATEUR_TARGETS = 23, /* of reshapes whose targets are computed, and known all the same: their places, how many
                            lengths follow, and these, of which the first one is -1 */
  SECATEUR_WRITER = 24, /* of tensors: the operator that writes each, -1 for none */
  SECATEUR_COLUMNS = 25
} secateur_column;
typedef enum { SECATEUR_VARIABLE = 1, SECATEUR_QUANTIZED = 2, SECATEUR_SPARSE = 4 } secateur_tensor_flags;

/* Reads those of a .tflite file. Every offset and index is checked, and whether what is said of tensors and operators
 * can be. NULL where something is wrong, or rare: several subgraphs, custom operators, variants, values outside of the
 * flatbuffer and the like. The data must stay as long as the columns. */
SECATEUR_API secateur_columns* secateur_columns_read(const uint8_t* data, int64_t bytes);
/* Finds the shapes of all tensors. `given` are those of the subgraph's inputs: for each how many lengths it has, and
 * these. `believed` are operators, in ascending order, which write what the file says if what they read is as the file
 * says; only those of a kind without a rule are looked at. What operators write from place `known` on stays unknown.
 * SECATEUR_INVALID where there is no rule for an operator that is needed and is not believed, or it does not go with what
 * it reads. */
SECATEUR_API int32_t secateur_columns_infer(secateur_columns*, const int32_t* given, int64_t count,
                                            const int32_t* believed, int64_t believed_count, int32_t known);
/* Sets what that would find: of each tensor how many lengths it has, -1 where it is not known, and all of them. */
SECATEUR_API int32_t secateur_columns_set_shapes(secateur_columns*, const int32_t* lengths, int64_t length_count,
                                                 const int32_t* words, int64_t word_count);
/* One column and its length; NULL if there is no such column. */
SECATEUR_API const int32_t* secateur_columns_get(const secateur_columns*, int32_t column, int64_t* length);
/* The names of all tensors, one behind the other, and their length; NULL is an error. */
SECATEUR_API const char* secateur_columns_names(const secateur_columns*, int64_t* length);
SECATEUR_API void secateur_columns_free(secateur_columns*);

/* ---- weights ---- */
typedef enum {
  SECATEUR_KEEP = 1,  /* however many are not 0 */
  SECATEUR_MAPPED = 2, /* the weights lie in a file that is mapped, whose pages need not stay */
  SECATEUR_THREAD = 4  /* secateur_prune_columns has its thread work, however few the weights are */
} secateur_prune_flags;
/* `count` weights without those that are 0, in so many rows; NULL if they do not divide. They are copied,
 * but without SECATEUR_KEEP only counted where many are not 0, as leaving out the others would not pay.
 * That is done when somebody first asks for it: until then the weights stay where they are. */
SECATEUR_API secateur_pruned* secateur_prune(const float* weights, int64_t count, int32_t rows, int32_t flags);
/* How many are not 0; SECATEUR_INVALID if one of them is infinite or no number, SECATEUR_MEMORY. */
SECATEUR_API int64_t secateur_pruned_count(const secateur_pruned*);
/* Whether secateur_sparse_conv2d takes them: 1 or 0, or SECATEUR_MEMORY. It takes them once, as they are
 * packed where they are. */
SECATEUR_API int32_t secateur_pruned_kept(const secateur_pruned*);
SECATEUR_API void secateur_pruned_free(secateur_pruned*);

/* A thread that prunes before anybody asks, in the order of the calls. NULL when out of memory. */
SECATEUR_API secateur_ahead* secateur_ahead_create(void);
/* secateur_prune for `n` arrays of weights, which must stay until somebody asked for what they are pruned to, or
 * the thread is freed. `pruned` gets what secateur_prune returns; none where one of the arrays is wrong. */
SECATEUR_API int32_t secateur_prune_ahead(secateur_ahead*, int32_t n, const float* const* weights,
                                          const int64_t* counts, const int32_t* rows, int32_t flags,
                                          secateur_pruned** pruned);
/* The same for the kernels of a file; secateur_units_find takes what becomes of them.
 * Returns how many: 0 where no kernel has 30 % zeros among the values that are looked at. Up to 65,536 weights the
 * thread is ended, as who asks has pruned and packed them all by the time that it begins. */
SECATEUR_API int32_t secateur_prune_columns(secateur_ahead*, const secateur_columns*, int32_t flags);
/* That thread packs all of the weights, for a convolution with one output pixel. They must stay until that is
 * finalized, or the thread is freed. */
SECATEUR_API int32_t secateur_pack_ahead(secateur_ahead*, secateur_pruned*);
/* What is not begun is left to who asks for it. */
SECATEUR_API void secateur_ahead_free(secateur_ahead*);

/* ---- units: the operators of a file in groups that run together ---- */

/* How fast one side is: counts a nanosecond, but for weight, nonzero and call, which are nanoseconds, and thread, what
 * each further thread adds to the speed of the first. runtime/_costs.py says what is counted. */
typedef struct {
  double weight, nonzero, dense, windowed, sparse, depthwise, image, stream, function, pool, call, thread;
} secateur_rates;

typedef enum {
  /* All that is said of each unit: why it cannot run natively, 0 where it can (see runtime/_reasons.py); flags, how many
   * weights it has and how many of them are not 0; how many operators, tensors from elsewhere without constants, and
   * tensors for elsewhere there are, and then which. */
  SECATEUR_UNITS = 0,
  SECATEUR_BUILT_WRITTEN = 1, /* what secateur_units_build added: of operations the tensor that each writes, -1 for none */
  SECATEUR_BUILT_INPUT = 2,   /* the tensors that the program takes */
  SECATEUR_BUILT_SHAPE = 3,   /* height, width and channels of these, and of what it gives */
  SECATEUR_UNIT_COLUMNS = 4
} secateur_unit_column;
typedef enum {
  SECATEUR_UNIT_NATIVE = 1,
  SECATEUR_UNIT_DEPTHWISE = 2,
  SECATEUR_UNIT_SPARSE = 4 /* found with its costs */
} secateur_unit_flags;

/* Of the operators that are needed; `known` are those before the first whose output's shape is not known. Shapes are
 * those that the columns have. All that is given must stay as long as the units, and so must the file; `ahead` may be
 * NULL. Returns how many units there are. */
SECATEUR_API int32_t secateur_units_find(secateur_units** found, const secateur_columns*, secateur_ahead* ahead,
                                         int32_t known);
/* One column and its length; NULL if there is no such column. */
SECATEUR_API const int32_t* secateur_units_get(const secateur_units*, int32_t column, int64_t* length);
/* What each is thought to take natively, infinity where it cannot, and in LiteRT, in nanoseconds. Also decides which
 * convolutions leave their zeros out. */
SECATEUR_API int32_t secateur_units_price(secateur_units*, const secateur_rates* native, const secateur_rates* litert,
                                          int32_t threads, double* natively, double* in_litert);
/* Adds units to a program, in an order in which they can run: what they read from elsewhere as inputs, and some tensors
 * as outputs. `failed` gets the unit that the program does not take, -1 if there is none; the program is of no use
 * then. */
SECATEUR_API int32_t secateur_units_build(secateur_units*, secateur_program*, const int32_t* members, int64_t count,
                                          const int32_t* outputs, int64_t output_count, int32_t* failed);
SECATEUR_API void secateur_units_free(secateur_units*);
/* Divides nodes between two sides so that all costs least: `pays` is how much more each costs on the first side, and
 * each edge, of which `ends` has the start and the end, costs something where it leads from the first side to the other.
 * `sides` gets a 1 for those on the first side. */
SECATEUR_API int32_t secateur_cut(int32_t nodes, const double* pays, const int32_t* ends, const double* costs,
                                  int64_t edges, uint8_t* sides);

/* A new program. `isa` is one of secateur_isas(), or NULL for the environment variable SECATEUR_ISA,
 * or, where that is not set, the best. NULL when the name is unknown or not to be had here. */
SECATEUR_API secateur_program* secateur_create(const char* isa);
SECATEUR_API void secateur_destroy(secateur_program* program);

/* ---- values: each returns an id ---- */
SECATEUR_API int32_t secateur_input(secateur_program*, int32_t channels, int32_t height, int32_t width);
SECATEUR_API int32_t secateur_output(secateur_program*, int32_t channels, int32_t height, int32_t width);
SECATEUR_API int32_t secateur_value(secateur_program*, int32_t channels, int32_t height, int32_t width);
/* A constant, the same for each image of the batch; `data` is (height, width, channels) as in TFLite. */
SECATEUR_API int32_t secateur_constant(secateur_program*, int32_t channels, int32_t height, int32_t width,
                                       const float* data, int64_t count);

/* ---- parts of operations ---- */
typedef enum {
  SECATEUR_IDENTITY = 0,
  SECATEUR_CLAMP = 1, /* min(max(x, a), b): relu is (0, inf), relu6 (0, 6), relu_n1_to_1 (-1, 1) */
  SECATEUR_HARD_SWISH = 2, /* x * min(max(x + 3, 0), 6) / 6 */
  SECATEUR_SIGMOID = 3,
  SECATEUR_TANH = 4,
  SECATEUR_SWISH = 5,      /* x * sigmoid(x) */
  SECATEUR_ELU = 6,        /* x > 0 ? x : exp(x) - 1 */
  SECATEUR_LEAKY_RELU = 7, /* x > 0 ? x : a * x */
  SECATEUR_GELU = 8,       /* x * (1 + erf(x / sqrt 2)) / 2 */
  SECATEUR_GELU_TANH = 9,  /* x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2 */
  SECATEUR_ABS = 10,
  SECATEUR_SQUARE = 11,
  SECATEUR_EXP = 12,
  SECATEUR_SQRT = 13,
  SECATEUR_RSQRT = 14,
  SECATEUR_NEG = 15,
  SECATEUR_HARD_SIGMOID = 16, /* min(max(x + 3, 0), 6) / 6 */
  SECATEUR_LINEAR = 17        /* a * x + b */
} secateur_function;

typedef struct {
  int32_t function; /* a secateur_function */
  float a, b;       /* as the function says; read by no other */
} secateur_activation;

/* What follows an operation within the same pass over its output:
 * out = second(first(result) + residual), or first(result) where residual is -1 (`second` must then be
 * the identity). NULL for nothing. The residual has the output's shape. */
typedef struct {
  secateur_activation first;
  int32_t residual;
  secateur_activation second;
} secateur_epilogue;

/* A window that moves over an image. Output height must be
 * (height + pad_top + pad_bottom - (kernel_height - 1) * dilation_height - 1) / stride_height + 1,
 * rounded down, likewise width: the caller turns TFLite's SAME and VALID into numbers. */
typedef struct {
  int32_t kernel_height, kernel_width;
  int32_t stride_height, stride_width;
  int32_t dilation_height, dilation_width;
  int32_t pad_top, pad_left, pad_bottom, pad_right;
} secateur_window;

/* ---- operations: each returns a status ---- */

/* From an input to a value of the same shape, and from a value to an output. */
SECATEUR_API int32_t secateur_to_chw(secateur_program*, int32_t in, int32_t out);
SECATEUR_API int32_t secateur_to_nhwc(secateur_program*, int32_t in, int32_t out);
/* The same numbers in TFLite's order (height, width, channels) under another shape of equal size. */
SECATEUR_API int32_t secateur_reshape(secateur_program*, int32_t in, int32_t out);

/* Convolution with all weights, (out_channels, kernel_height, kernel_width, in_channels), `count` in all.
 * `bias` has `bias_count` = out_channels numbers or is NULL. Groups: make one operation a group.
 * Another thread packs the weights: they stay where they are until secateur_pack or secateur_finalize.
 * `same` is NULL, or the same weights, of which secateur_pack_ahead was called. */
SECATEUR_API int32_t secateur_conv2d(secateur_program*, int32_t in, int32_t out, const secateur_window*,
                                     const float* weights, int64_t count, const float* bias,
                                     int64_t bias_count, const secateur_epilogue*,
                                     const secateur_pruned* same);
/* The same without those of them that are 0; a row for each of out_channels. */
SECATEUR_API int32_t secateur_sparse_conv2d(secateur_program*, int32_t in, int32_t out,
                                            const secateur_window*, const secateur_pruned*,
                                            const float* bias, int64_t bias_count, const secateur_epilogue*);
/* Depthwise convolution; weights are (kernel_height, kernel_width, out_channels), out_channels a multiple
 * of in_channels; output channel o reads input channel o / multiplier. They stay, too, until packed. */
SECATEUR_API int32_t secateur_depthwise_conv2d(secateur_program*, int32_t in, int32_t out,
                                               const secateur_window*, const float* weights,
                                               int64_t count, const float* bias,
                                               int64_t bias_count, const secateur_epilogue*);

typedef enum {
  SECATEUR_ADD = 0,
  SECATEUR_SUB = 1,
  SECATEUR_MUL = 2,
  SECATEUR_DIV = 3,
  SECATEUR_MAXIMUM = 4,
  SECATEUR_MINIMUM = 5,
  SECATEUR_SQUARED_DIFFERENCE = 6
} secateur_binary_function;
/* Either operand may have 1 channel, or a 1 x 1 image, or both, where the output has more. */
SECATEUR_API int32_t secateur_binary(secateur_program*, int32_t function, int32_t left, int32_t right,
                                     int32_t out, const secateur_activation*);
SECATEUR_API int32_t secateur_unary(secateur_program*, int32_t in, int32_t out,
                                    const secateur_activation*);

typedef enum { SECATEUR_MAX_POOL = 0, SECATEUR_AVERAGE_POOL = 1 } secateur_pool_function;
/* Padding counts for nothing, as in TFLite: averages are over the pixels inside. Dilation is 1; each
 * padding is smaller than the kernel. */
SECATEUR_API int32_t secateur_pool(secateur_program*, int32_t function, int32_t in, int32_t out,
                                   const secateur_window*, const secateur_activation*);
/* The mean over all pixels; the output is a 1 x 1 image. */
SECATEUR_API int32_t secateur_mean(secateur_program*, int32_t in, int32_t out);

typedef enum { SECATEUR_BILINEAR = 0, SECATEUR_NEAREST = 1 } secateur_resize_function;
/* TFLite's RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR; not both flags at once. */
SECATEUR_API int32_t secateur_resize(secateur_program*, int32_t function, int32_t in, int32_t out,
                                     int32_t align_corners, int32_t half_pixel_centers);
/* Along the channels. */
SECATEUR_API int32_t secateur_concat(secateur_program*, const int32_t* ins, int32_t count, int32_t out);
/* `before` and the output's shape say where the input lies in it; the rest is `fill`. */
SECATEUR_API int32_t secateur_pad(secateur_program*, int32_t in, int32_t out, int32_t before_channels,
                                  int32_t before_height, int32_t before_width, float fill);
/* The part of the input, of the output's shape, that begins there. */
SECATEUR_API int32_t secateur_slice(secateur_program*, int32_t in, int32_t out, int32_t begin_channel,
                                    int32_t begin_height, int32_t begin_width);
/* exp(beta x) / sum(exp(beta x)) over the channels of each pixel. */
SECATEUR_API int32_t secateur_softmax(secateur_program*, int32_t in, int32_t out, float beta);

/* ---- running ---- */

/* Packs the weights that wait for it: those that were given are not needed any more. */
SECATEUR_API int32_t secateur_pack(secateur_program*);
/* Packs, and plans the memory for this many images; nothing can be added afterwards. May be called again with
 * another batch: weights stay as they are. */
SECATEUR_API int32_t secateur_finalize(secateur_program*, int32_t batch);
/* `inputs` and `outputs` in the order they were made; aligned as float is. `threads` is at least 1, the
 * caller's included. `seconds`, if not NULL, gets the time of each operation, secateur_operations() of
 * them. */
SECATEUR_API int32_t secateur_run(secateur_program*, const float* const* inputs, float* const* outputs,
                                  int32_t threads, double* seconds);

/* ---- what a program is ---- */
SECATEUR_API const char* secateur_isa(const secateur_program*);
SECATEUR_API int32_t secateur_operations(const secateur_program*);
/* What operation `index` runs, for people: "sparse 1x1 512>512 90.1% zeros, tile 64". NULL if there is
 * none; valid until the program changes or goes. */
SECATEUR_API const char* secateur_describe(secateur_program*, int32_t index);
/* Multiply-adds that operation `index` does for one image; 0 for operations that have none; -1 if wrong. */
SECATEUR_API int64_t secateur_multiply_adds(const secateur_program*, int32_t index);
/* Bytes of packed weights, and of memory for values; 0 before secateur_finalize. */
SECATEUR_API int64_t secateur_weight_bytes(const secateur_program*);
SECATEUR_API int64_t secateur_arena_bytes(const secateur_program*);

#ifdef __cplusplus
}
#endif

#endif /* SECATEUR_H_ */
