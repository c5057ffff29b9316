// The C functions: nothing is thrown over this border.
#include <algorithm>
#include <chrono>
#include <new>

#include "columns.h"
#include "isa.h"
#include "operations.h"
#include "pruned.h"
#include "refuse.h"
#include "vector_conv.h"

struct secateur_program : secateur::Program {
  using Program::Program;
};

struct secateur_pruned {
  std::shared_ptr<secateur::Pruned> weights;  // programs have a share in them
  std::shared_ptr<secateur::VectorWeights> packed;
};

struct secateur_columns : secateur::Columns {
  using Columns::Columns;
};

struct secateur_ahead : secateur::Ahead {
  std::shared_ptr<secateur::Pages> pages = std::make_shared<secateur::Pages>();  // of what is pruned
};

using namespace secateur;

namespace {

thread_local std::string last_error;

void remember(const char* text) noexcept {
  try {
    last_error = text;
  } catch (...) {
  }
}

template <class F>
int32_t guard(const void* program, const F& f) noexcept {
  try {
    if (!program) refuse("A program is missing", "program", "NULL");
    return f();
  } catch (const std::invalid_argument& e) {
    remember(e.what());
    return SECATEUR_INVALID;
  } catch (const std::bad_alloc&) {
    remember("There is not enough memory.");
    return SECATEUR_MEMORY;
  } catch (const std::length_error&) {
    remember("There is not enough memory.");
    return SECATEUR_MEMORY;
  } catch (const std::exception& e) {
    remember(e.what());
    return SECATEUR_FAILED;
  } catch (...) {
    remember("Unknown error.");
    return SECATEUR_FAILED;
  }
}

// For functions that return nothing.
template <class F>
int32_t adding(const void* program, const F& f) noexcept {
  return guard(program, [&] {
    f();
    return SECATEUR_OK;
  });
}

// For functions that need weights to be pruned by now.
template <class F>
int32_t finishing(const secateur_pruned* pruned, const F& f) noexcept {
  return adding(&pruned, [&] {
    if (!pruned) refuse("Weights are missing", "weights", "NULL");
    pruned->weights->finish();
    f(*pruned->weights);
  });
}

std::unique_ptr<secateur_pruned> make_pruned(const float* weights, int64_t count, int32_t rows, int32_t flags) {
  if (!weights) refuse("Weights are missing", "weights", "NULL");
  if (rows < 1 || count < 0 || count % rows || count > INT32_MAX / 2)
    refuse("Weights are so many for each row", "count", count, "rows", rows);
  auto made = std::make_unique<secateur_pruned>();
  const bool keep = flags & SECATEUR_KEEP;
  made->weights = std::make_shared<Pruned>(best_kernels(), weights, rows, count / rows, keep);
  if (flags & SECATEUR_MAPPED) made->weights->set_mapped();
  return made;
}

void prune_all(secateur_ahead& ahead, std::vector<std::unique_ptr<secateur_pruned>>& made,
               secateur_pruned** pruned) {
  for (const auto& each : made) each->weights->set_pages(ahead.pages);
  for (auto& each : made) {
    ahead.add(each->weights);
    *pruned++ = each.release();
  }
}

}  // namespace

const char* secateur_error(void) { return last_error.c_str(); }
int32_t secateur_api_version(void) { return SECATEUR_API_VERSION; }
const char* secateur_isas(void) { return kernel_names().c_str(); }

secateur_columns* secateur_columns_read(const secateur_file* file) {
  secateur_columns* columns = nullptr;
  adding(&columns, [&] {
    if (!file || file->code_count < 0 || file->type_count < 0) refuse("A file is missing");
    if (file->code_count && (!file->code_kinds || !file->code_rules)) refuse("Operator codes are missing");
    if (file->type_count && !file->type_bits) refuse("Types are missing");
    columns = new secateur_columns(*file);
  });
  return columns;
}
int32_t secateur_columns_infer(secateur_columns* columns, const int32_t* given, int64_t given_count,
                               const int32_t* places, int64_t place_count, const int32_t* targets,
                               int64_t target_count) {
  return adding(columns, [&] {
    const auto part = [](const int32_t* numbers, int64_t count) {
      if (count < 0 || (count && !numbers)) refuse("Numbers are missing", "count", count);
      return Part{numbers, numbers + count};
    };
    const auto lists = [&](const Part& all) {
      Lists found;
      for (int64_t i = 0; i < all.size(); i += 1 + found.back().size()) {
        if (all[i] < 0 || all[i] >= all.size() - i) refuse("A list is longer than all of them", "length", all[i]);
        found.push_back({all.first + i + 1, all.first + i + 1 + all[i]});
      }
      return found;
    };
    columns->infer(lists(part(given, given_count)), part(places, place_count), lists(part(targets, target_count)));
  });
}
const int32_t* secateur_columns_get(const secateur_columns* columns, int32_t column, int64_t* length) {
  if (!columns || !length || column < 0 || column >= SECATEUR_COLUMNS) return nullptr;
  const std::vector<int32_t>& found = columns->column(static_cast<secateur_column>(column));
  *length = static_cast<int64_t>(found.size());
  static const int32_t none = 0;
  return found.empty() ? &none : found.data();
}
const char* secateur_columns_names(const secateur_columns* columns, int64_t* length) {
  if (!columns || !length) return nullptr;
  *length = static_cast<int64_t>(columns->names().size());
  return columns->names().data();
}
void secateur_columns_free(secateur_columns* columns) { delete columns; }

secateur_pruned* secateur_prune(const float* weights, int64_t count, int32_t rows, int32_t flags) {
  secateur_pruned* pruned = nullptr;
  adding(&pruned, [&] { pruned = make_pruned(weights, count, rows, flags).release(); });
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
    for (int32_t i = 0; i < n; i++) made.push_back(make_pruned(weights[i], counts[i], rows[i], flags));
    prune_all(*ahead, made, pruned);
  });
}
int32_t secateur_prune_columns(secateur_ahead* ahead, const secateur_columns* columns, int32_t flags,
                               int32_t* tensors, secateur_pruned** pruned) {
  return guard(ahead, [&] {
    if (!columns || !tensors || !pruned) refuse("Columns or arrays are missing");
    const std::vector<int32_t> kernels = columns->kernels();
    const auto zeros = [&](int32_t kernel) { return columns->has_zeros(kernel); };
    if (std::none_of(kernels.begin(), kernels.end(), zeros)) return 0;
    std::vector<std::unique_ptr<secateur_pruned>> made;
    for (int32_t kernel : kernels)
      made.push_back(make_pruned(columns->floats(kernel), columns->size(kernel), columns->rows(kernel), flags));
    prune_all(*ahead, made, pruned);
    std::copy(kernels.begin(), kernels.end(), tensors);
    return static_cast<int32_t>(kernels.size());
  });
}
int32_t secateur_pack_ahead(secateur_ahead* ahead, secateur_pruned* pruned) {
  return adding(ahead, [&] {
    if (!pruned) refuse("Weights are missing", "weights", "NULL");
    const Pruned& p = *pruned->weights;
    const Array weights{p.weights(), p.row_count() * p.depth(), p.mapped()};
    pruned->packed = make_dense_vectors(best_kernels().lanes, ahead->pages, weights, p.row_count(), p.depth());
    ahead->add(pruned->packed);
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
int32_t secateur_values(secateur_program* p, const int32_t* shapes, int32_t count) {
  return guard(p, [&] {
    if (count < 0 || (count && !shapes)) refuse("Shapes are missing", "count", count);
    return p->add_values(shapes, count);
  });
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
