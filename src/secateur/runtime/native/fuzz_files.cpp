// Random files, sound and damaged ones: read, their shapes found, and made programs of.
#include "fuzz_files.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "fuzz_graph.h"
#include "secateur.h"

namespace {

void damage(std::vector<uint8_t>& bytes, File& file) {
  static const int32_t trouble[] = {0, 1, -1, 2, 255, 1 << 15, 1 << 16, 1 << 24, INT32_MAX, INT32_MIN};
  for (int i = file.range(1, 5); i > 0; i--) {
    const auto at = static_cast<size_t>(file.range(0, static_cast<int>(bytes.size()) - 4));
    if (file.chance(50))
      bytes[at] = static_cast<uint8_t>(bytes[at] ^ 1 << file.range(0, 7));
    else
      std::memcpy(bytes.data() + at / 4 * 4, trouble + file.range(0, 9), 4);
  }
  if (file.chance(10)) bytes.resize(static_cast<size_t>(file.range(1, static_cast<int>(bytes.size()))));
}

// Finds shapes for inputs as they are, or others.
bool infer(secateur_columns* columns, File& file, bool odd) {
  std::vector<int32_t> given = {4};
  for (int32_t length : file.tensors[0].shape)
    given.push_back(odd && file.chance(20) ? file.range(-1, 1 << 20) : length);
  if (odd) given[0] = file.range(0, 5);
  std::vector<int32_t> believed;
  for (int32_t place = odd ? -1 : 0; file.chance(80); place++)
    if (file.chance(50)) believed.push_back(place);
  return secateur_columns_infer(columns, given.data(), static_cast<int64_t>(given.size()), believed.data(),
                                static_cast<int64_t>(believed.size()), odd ? file.range(-1, 9) : INT32_MAX) ==
         SECATEUR_OK;
}

std::vector<int32_t> column(const secateur_units* units, secateur_unit_column name) {
  int64_t length;
  const int32_t* const numbers = secateur_units_get(units, name, &length);
  return {numbers, numbers + length};
}

// Calls f with flags and outputs of each unit.
template <class F>
void each_unit(const secateur_units* units, const F& f) {
  const std::vector<int32_t> all = column(units, SECATEUR_UNITS);
  for (const int32_t* at = all.data(); at != all.data() + all.size();) {
    const int32_t* const outputs = at + 7 + at[4] + at[5];
    f(at[1], outputs, at[6]);
    at = outputs + at[6];
  }
}

bool run(secateur_program* program, const std::vector<int32_t>& shapes, size_t inputs, int threads) {
  std::vector<std::vector<float>> arrays;
  std::vector<const float*> in;
  std::vector<float*> out;
  int64_t all = 0;
  for (size_t i = 0; i < shapes.size(); i += 3) {
    const int64_t size = int64_t{shapes[i]} * shapes[i + 1] * shapes[i + 2];
    all += size;
    if (all > 1 << 20) return false;
    arrays.emplace_back(static_cast<size_t>(size), 0.5f);
  }
  for (size_t i = 0; i < arrays.size(); i++)
    if (i < inputs)
      in.push_back(arrays[i].data());
    else
      out.push_back(arrays[i].data());
  if (secateur_finalize(program, 1) != SECATEUR_OK) return false;
  return secateur_run(program, in.data(), out.data(), threads, nullptr) == SECATEUR_OK;
}

// Makes a program of what can run natively, or of some units; whether it ran.
bool build(const secateur_columns* columns, File& file, bool odd) {
  secateur_ahead* ahead = file.chance(80) ? secateur_ahead_create() : nullptr;
  if (ahead && file.chance(90)) secateur_prune_columns(ahead, columns, file.chance(70) ? SECATEUR_THREAD : 0);
  secateur_units* units = nullptr;
  const int32_t known = file.chance(80) ? 100 : file.range(-1, 9);
  bool ran = false;
  // Runs when all that it was built of is gone but the file.
  secateur_program* last = nullptr;
  std::vector<int32_t> last_shapes;
  size_t last_inputs = 0;
  const int32_t count = secateur_units_find(&units, columns, ahead, known);
  if (count >= 0) {
    const secateur_rates rates{0.2, 0.7, 60, 56, file.chance(50) ? 45.0 : 1e6, 54, 16, 5, 4, 1, 500, 0.6};
    std::vector<double> natively(static_cast<size_t>(count)), in_litert(natively.size());
    const int threads = file.range(1, 2);
    secateur_units_price(units, &rates, &rates, threads, natively.data(), in_litert.data());
    for (int again = file.range(1, 2); again > 0; again--) {
      std::vector<int32_t> members, outputs;
      int32_t number = 0;
      each_unit(units, [&](int32_t flags, const int32_t* written, int32_t count) {
        outputs.insert(outputs.end(), written, written + count);
        if (flags & SECATEUR_UNIT_NATIVE && file.chance(90))
          members.push_back(odd && file.chance(10) ? file.range(-1, 20) : number);
        number++;
      });
      while (outputs.size() > 1 && file.chance(70)) outputs.erase(outputs.begin());
      secateur_program* program = secateur_create(nullptr);
      int32_t failed;
      if (secateur_units_build(units, program, members.data(), static_cast<int64_t>(members.size()), outputs.data(),
                               static_cast<int64_t>(outputs.size()), &failed) == SECATEUR_OK) {
        last_shapes = column(units, SECATEUR_BUILT_SHAPE);
        last_inputs = column(units, SECATEUR_BUILT_INPUT).size();
        if (again == 1 && file.chance(50)) {
          last = program;
          break;
        }
        ran = run(program, last_shapes, last_inputs, threads);
      }
      secateur_destroy(program);
    }
  }
  secateur_units_free(units);
  secateur_ahead_free(ahead);
  if (last) ran = run(last, last_shapes, last_inputs, file.range(1, 2));
  secateur_destroy(last);
  return ran;
}

}  // namespace

FuzzedFile fuzz_file(uint32_t seed) {
  std::mt19937 random(seed);
  File file(random);
  std::vector<uint8_t> written = file.write();
  const bool damaged = file.chance(70);
  if (damaged) damage(written, file);
  // Exactly as large as it must be, and where numbers may lie at multiples of their size.
  const size_t bytes = written.size();
  uint8_t* const data = static_cast<uint8_t*>(std::malloc(bytes));
  std::memcpy(data, written.data(), bytes);
  secateur_columns* columns = secateur_columns_read(data, static_cast<int64_t>(bytes));
  FuzzedFile found{columns != nullptr, false, false};
  if (!columns && !damaged) {
    std::fprintf(stderr, "file of seed %u is sound, but: %s\n", seed, secateur_error());
    std::abort();
  }
  if (columns) {
    found.inferred = infer(columns, file, false);
    found.built = build(columns, file, file.chance(30));
    infer(columns, file, true);
    for (int32_t i = -1; i <= SECATEUR_COLUMNS; i++) {
      int64_t length = 0;
      const int32_t* numbers = secateur_columns_get(columns, i, &length);
      for (int64_t j = 0; numbers && j < length; j++) random_sink += static_cast<uint32_t>(numbers[j]);
    }
    build(columns, file, true);
  }
  secateur_columns_free(columns);
  std::free(data);
  return found;
}

uint32_t random_sink = 0;
