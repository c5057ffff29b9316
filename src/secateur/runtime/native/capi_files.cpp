// The C functions for files: columns and units.
#include <algorithm>

#include "cut.h"
#include "guard.h"
#include "units.h"

using namespace secateur;

namespace {

Part part(const int32_t* numbers, int64_t count) {
  if (count < 0 || (count && !numbers)) refuse("Numbers are missing", "count", count);
  return {numbers, numbers + count};
}

// Lists one behind the other, each behind its length.
Lists lists(const Part& all) {
  Lists found;
  for (int64_t i = 0; i < all.size(); i += 1 + found.back().size()) {
    if (all[i] < 0 || all[i] >= all.size() - i) refuse("A list is longer than all of them", "length", all[i]);
    found.push_back({all.first + i + 1, all.first + i + 1 + all[i]});
  }
  return found;
}

const int32_t* numbers(const std::vector<int32_t>& column, int64_t* length) {
  static const int32_t none = 0;
  *length = static_cast<int64_t>(column.size());
  return column.empty() ? &none : column.data();
}

void check(const secateur_rates& rates) {
  for (double rate : {rates.dense, rates.windowed, rates.sparse, rates.depthwise, rates.image, rates.stream,
                      rates.function, rates.pool})
    if (!(rate > 0)) refuse("A rate is above 0", "rate", rate);
}

}  // namespace

secateur_columns* secateur_columns_read(const uint8_t* data, int64_t bytes) {
  secateur_columns* columns = nullptr;
  adding(&columns, [&] { columns = new secateur_columns(data, bytes); });
  return columns;
}
int32_t secateur_columns_infer(secateur_columns* columns, const int32_t* given, int64_t count, const int32_t* believed,
                               int64_t believed_count, int32_t known) {
  return adding(columns, [&] { columns->infer(lists(part(given, count)), part(believed, believed_count), known); });
}
int32_t secateur_columns_set_shapes(secateur_columns* columns, const int32_t* lengths, int64_t length_count,
                                    const int32_t* words, int64_t word_count) {
  return adding(columns, [&] { columns->set_shapes(part(lengths, length_count), part(words, word_count)); });
}
const int32_t* secateur_columns_get(const secateur_columns* columns, int32_t column, int64_t* length) {
  if (!columns || !length || column < 0 || column >= SECATEUR_COLUMNS) return nullptr;
  return numbers(columns->column(static_cast<secateur_column>(column)), length);
}
const char* secateur_columns_names(const secateur_columns* columns, int64_t* length) {
  if (!columns || !length) return nullptr;
  *length = static_cast<int64_t>(columns->names().size());
  return columns->names().data();
}
void secateur_columns_free(secateur_columns* columns) { delete columns; }

int32_t secateur_prune_columns(secateur_ahead* ahead, const secateur_columns* columns, int32_t flags) {
  return guard(ahead, [&] {
    if (!columns) refuse("Columns are missing");
    return ahead->prune(*columns, flags);
  });
}

int32_t secateur_units_find(secateur_units** found, const secateur_columns* columns, secateur_ahead* ahead,
                            int32_t known) {
  return guard(columns, [&] {
    if (!found) refuse("A place for the units is missing");
    *found = new secateur_units(*columns, ahead, known);
    return (*found)->count();
  });
}
const int32_t* secateur_units_get(const secateur_units* units, int32_t column, int64_t* length) {
  if (!units || !length || column < 0 || column >= SECATEUR_UNIT_COLUMNS) return nullptr;
  return numbers(units->column(static_cast<secateur_unit_column>(column)), length);
}
int32_t secateur_units_price(secateur_units* units, const secateur_rates* native, const secateur_rates* litert,
                             int32_t threads, double* natively, double* in_litert) {
  return adding(units, [&] {
    if (!native || !litert || !natively || !in_litert) refuse("Rates or arrays are missing");
    check(*native);
    check(*litert);
    units->price(*native, *litert, threads, natively, in_litert);
  });
}
int32_t secateur_units_build(secateur_units* units, secateur_program* program, const int32_t* members, int64_t count,
                             const int32_t* outputs, int64_t output_count, int32_t* failed) {
  return adding(units, [&] {
    if (!program || !failed) refuse("A program is missing", "program", "NULL");
    *failed = -1;
    units->build(*program, part(members, count), part(outputs, output_count), failed);
  });
}
void secateur_units_free(secateur_units* units) { delete units; }

int32_t secateur_cut(int32_t nodes, const double* pays, const int32_t* ends, const double* costs, int64_t edges,
                     uint8_t* sides) {
  return adding(sides, [&] {
    if (nodes < 0 || edges < 0 || !pays || !ends || !costs) refuse("Nodes or edges are missing", "nodes", nodes);
    std::vector<CutEdge> all;
    for (int64_t i = 0; i < edges; i++) all.push_back({ends[2 * i], ends[2 * i + 1], costs[i]});
    const std::vector<bool> found = minimum_cut({pays, pays + nodes}, all);
    std::copy(found.begin(), found.end(), sides);
  });
}
