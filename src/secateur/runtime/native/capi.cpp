// The C functions for programs and weights.
#include <algorithm>
#include <chrono>
#include <new>

#include "guard.h"
#include "isa.h"
#include "operations.h"
#include "preparation.h"
#include "refuse.h"

using namespace secateur;

namespace {

thread_local std::string last_error;

// For functions that need weights to be pruned by now.
template <class F>
int32_t finishing(const secateur_pruned* pruned, const F& f) noexcept {
  return adding(&pruned, [&] {
    if (!pruned) refuse("Weights are missing", "weights", "NULL");
    pruned->weights->finish();
    f(*pruned->weights);
  });
}

}  // namespace

void secateur::remember(const char* text) noexcept {
  try {
    last_error = text;
  } catch (...) {
  }
}

const char* secateur_error(void) { return last_error.c_str(); }
int32_t secateur_api_version(void) { return SECATEUR_API_VERSION; }
const char* secateur_isas(void) { return kernel_names().c_str(); }
const char* secateur_maker(void) { return is_amd() ? "amd" : ""; }

secateur_pruned* secateur_prune(const float* weights, int64_t count, int32_t rows, int32_t flags) {
  secateur_pruned* pruned = nullptr;
  adding(&pruned, [&] { pruned = new secateur_pruned{make_prepared(weights, count, rows, flags)}; });
  return pruned;
}
int64_t secateur_pruned_count(const secateur_pruned* pruned) {
  int64_t count = SECATEUR_INVALID;
  const int32_t status = finishing(pruned, [&](const Pruned& p) { count = p.count(); });
  return status == SECATEUR_OK ? count : status;
}
int32_t secateur_pruned_kept(const secateur_pruned* pruned) {
  bool kept = false;
  const int32_t status = finishing(pruned, [&](const Pruned& p) { kept = p.kept(); });
  return status == SECATEUR_OK ? kept : status;
}
void secateur_pruned_free(secateur_pruned* pruned) { delete pruned; }

secateur_ahead* secateur_ahead_create(void) {
  secateur_ahead* ahead = nullptr;
  adding(&ahead, [&] { ahead = new secateur_ahead; });
  return ahead;
}
int32_t secateur_prune_ahead(secateur_ahead* ahead, int32_t n, const float* const* weights,
                             const int64_t* counts, const int32_t* rows, int32_t flags,
                             secateur_pruned** pruned) {
  return adding(ahead, [&] {
    if (n < 0 || (n && (!weights || !counts || !rows || !pruned))) refuse("Arrays are missing", "n", n);
    std::vector<std::unique_ptr<secateur_pruned>> made;
    for (int32_t i = 0; i < n; i++)
      made.push_back(std::make_unique<secateur_pruned>(
          secateur_pruned{make_prepared(weights[i], counts[i], rows[i], flags)}));
    for (auto& each : made) {
      ahead->prune(*each);
      *pruned++ = each.release();
    }
  });
}
int32_t secateur_pack_ahead(secateur_ahead* ahead, secateur_pruned* pruned) {
  return adding(ahead, [&] {
    if (!pruned) refuse("Weights are missing", "weights", "NULL");
    ahead->pack(*pruned);
  });
}
void secateur_ahead_free(secateur_ahead* ahead) { delete ahead; }

double secateur_peak(const char* isa) {
  double best = SECATEUR_INVALID;
  guard(&best, [&] {
    const Kernels& kernels = choose_kernels(isa);
    for (int i = 0; i < 10; i++) {
      using Clock = std::chrono::steady_clock;
      const Clock::time_point start = Clock::now();
      const double done = kernels.peak(300000);
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      best = std::max(best, done / seconds / 1e9);
    }
    return SECATEUR_OK;
  });
  return best;
}

secateur_program* secateur_create(const char* isa) {
  secateur_program* program = nullptr;
  guard(&program, [&] {
    program = new secateur_program(choose_kernels(isa));
    return SECATEUR_OK;
  });
  return program;
}
void secateur_destroy(secateur_program* p) { delete p; }

int32_t secateur_input(secateur_program* p, int32_t c, int32_t h, int32_t w) {
  return guard(p, [&] { return p->add_value(Kind::kInput, {c, h, w}, nullptr, 0); });
}
int32_t secateur_output(secateur_program* p, int32_t c, int32_t h, int32_t w) {
  return guard(p, [&] { return p->add_value(Kind::kOutput, {c, h, w}, nullptr, 0); });
}
int32_t secateur_value(secateur_program* p, int32_t c, int32_t h, int32_t w) {
  return guard(p, [&] { return p->add_value(Kind::kInner, {c, h, w}, nullptr, 0); });
}
int32_t secateur_constant(secateur_program* p, int32_t c, int32_t h, int32_t w, const float* data,
                          int64_t count) {
  return guard(p, [&] { return p->add_value(Kind::kConstant, {c, h, w}, data, count); });
}

int32_t secateur_to_chw(secateur_program* p, int32_t in, int32_t out) {
  return adding(p, [&] { add_to_chw(*p, in, out); });
}
int32_t secateur_to_nhwc(secateur_program* p, int32_t in, int32_t out) {
  return adding(p, [&] { add_to_nhwc(*p, in, out); });
}
int32_t secateur_reshape(secateur_program* p, int32_t in, int32_t out) {
  return adding(p, [&] { add_reshape(*p, in, out); });
}
int32_t secateur_sparse_conv2d(secateur_program* p, int32_t in, int32_t out,
                               const secateur_window* window, const secateur_pruned* weights,
                               const float* bias, int64_t bias_count,
                               const secateur_epilogue* epilogue) {
  return adding(p, [&] {
    if (!weights) refuse("Weights are missing", "weights", "NULL");
    weights->weights->finish();
    add_sparse_conv(*p, in, out, window, weights->weights, {bias, bias_count}, epilogue);
  });
}
int32_t secateur_conv2d(secateur_program* p, int32_t in, int32_t out, const secateur_window* window,
                        const float* weights, int64_t count, const float* bias, int64_t bias_count,
                        const secateur_epilogue* epilogue, const secateur_pruned* same) {
  return adding(p, [&] {
    const bool mapped = same && same->weights->mapped() && same->weights->weights() == weights;
    add_dense_conv(*p, in, out, window, {weights, count, mapped}, {bias, bias_count}, epilogue,
                   same ? same->packed : nullptr);
  });
}
int32_t secateur_depthwise_conv2d(secateur_program* p, int32_t in, int32_t out,
                                  const secateur_window* window, const float* weights, int64_t count,
                                  const float* bias, int64_t bias_count,
                                  const secateur_epilogue* epilogue) {
  return adding(
      p, [&] { add_depthwise(*p, in, out, window, {weights, count}, {bias, bias_count}, epilogue); });
}
int32_t secateur_binary(secateur_program* p, int32_t function, int32_t left, int32_t right, int32_t out,
                        const secateur_activation* activation) {
  return adding(p, [&] { add_binary(*p, function, left, right, out, activation); });
}
int32_t secateur_unary(secateur_program* p, int32_t in, int32_t out,
                       const secateur_activation* activation) {
  return adding(p, [&] { add_unary(*p, in, out, activation); });
}
int32_t secateur_pool(secateur_program* p, int32_t function, int32_t in, int32_t out,
                      const secateur_window* window, const secateur_activation* activation) {
  return adding(p, [&] { add_pool(*p, function, in, out, window, activation); });
}
int32_t secateur_mean(secateur_program* p, int32_t in, int32_t out) {
  return adding(p, [&] { add_mean(*p, in, out); });
}
int32_t secateur_resize(secateur_program* p, int32_t function, int32_t in, int32_t out,
                        int32_t align_corners, int32_t half_pixel_centers) {
  return adding(p, [&] { add_resize(*p, function, in, out, align_corners, half_pixel_centers); });
}
int32_t secateur_concat(secateur_program* p, const int32_t* ins, int32_t count, int32_t out) {
  return adding(p, [&] { add_concat(*p, ins, count, out); });
}
int32_t secateur_pad(secateur_program* p, int32_t in, int32_t out, int32_t c, int32_t h, int32_t w,
                     float fill) {
  return adding(p, [&] { add_pad(*p, in, out, c, h, w, fill); });
}
int32_t secateur_slice(secateur_program* p, int32_t in, int32_t out, int32_t c, int32_t h, int32_t w) {
  return adding(p, [&] { add_slice(*p, in, out, c, h, w); });
}
int32_t secateur_softmax(secateur_program* p, int32_t in, int32_t out, float beta) {
  return adding(p, [&] { add_softmax(*p, in, out, beta); });
}

int32_t secateur_pack(secateur_program* p) {
  return adding(p, [&] { p->pack(); });
}
int32_t secateur_finalize(secateur_program* p, int32_t batch) {
  return adding(p, [&] { p->finalize(batch); });
}
int32_t secateur_run(secateur_program* p, const float* const* inputs, float* const* outputs,
                     int32_t threads, double* seconds) {
  return adding(p, [&] { p->run(inputs, outputs, threads, seconds); });
}

const char* secateur_isa(const secateur_program* p) { return p ? p->kernels.name : ""; }
int32_t secateur_operations(const secateur_program* p) {
  return guard(p, [&] { return static_cast<int32_t>(p->operations().size()); });
}

static const Operation& operation(const Program& p, int32_t index) {
  if (index < 0 || static_cast<size_t>(index) >= p.operations().size())
    refuse("There is no such operation", "index", index);
  return *p.operations()[static_cast<size_t>(index)];
}

const char* secateur_describe(secateur_program* p, int32_t index) {
  const char* text = nullptr;
  adding(p, [&] { text = operation(*p, index).text.c_str(); });
  return text;
}
int64_t secateur_multiply_adds(const secateur_program* p, int32_t index) {
  int64_t count = SECATEUR_INVALID;
  adding(p, [&] { count = operation(*p, index).multiply_adds; });
  return count;
}
int64_t secateur_weight_bytes(const secateur_program* p) {
  int64_t bytes = SECATEUR_INVALID;
  adding(p, [&] { bytes = p->weight_bytes(); });
  return bytes;
}
int64_t secateur_arena_bytes(const secateur_program* p) {
  int64_t bytes = SECATEUR_INVALID;
  adding(p, [&] { bytes = p->arena_bytes(); });
  return bytes;
}
