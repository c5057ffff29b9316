#include "head.h"

#include <algorithm>

#include "refuse.h"

namespace secateur {
namespace {

constexpr int32_t kVersion = 3, kCustom = 32;

enum ModelField { kVersionField, kCodes, kGraphs, kDescription, kBuffers, kMetadataBuffers, kMetadata, kSignatures };
const TableKind kModels({4, 4, 4, 4, 4, 4, 4, 4, 4, 4}, {8, 9});  // without values outside of the file
enum CodeField { kDeprecated, kName, kCodeVersion, kBuiltin };
const TableKind kCodeTables({1, 4, 4, 4}, {kName});
enum EntryField { kEntryName, kNumber };  // of metadata a buffer, of signatures a tensor
const TableKind kEntries({4, 4}, {});
enum SignatureField { kInputs, kOutputs, kKey, kSubgraph = 4 };
const TableKind kSignatureTables({4, 4, 4, 0, 4}, {});

template <class F>
void each_table(Flatbuffer& file, const Table& of, int field, const TableKind& kind, const F& f) {
  const Vector all = of.vector(field, 4);
  for (int64_t i = 0; i < all.count; i++) f(Table(file, kind, file.target(all.begin + 4 * i)));
}

// The numbers of named entries.
void add_entries(Flatbuffer& file, const Table& of, int field, std::vector<int32_t>& numbers) {
  each_table(file, of, field, kEntries, [&](const Table& entry) {
    entry.vector(kEntryName, 1);
    numbers.push_back(entry.word(kNumber));
  });
}

}  // namespace

Head::Head(Flatbuffer& file) {
  const Table model(file, kModels, file.target(0));
  if (model.word(kVersionField) != kVersion) refuse("A file is of another version", "version", model.word(kVersionField));
  if (!model.has(kCodes) || !model.has(kGraphs) || !model.has(kBuffers)) refuse("A file lacks a part");
  each_table(file, model, kCodes, kCodeTables, [&](const Table& code) {
    // A byte names the older kinds.
    const int32_t kind = std::max(code.byte(kDeprecated), code.word(kBuiltin));
    if (kind == kCustom) refuse("An operator is no built-in one");
    kinds.push_back(kind);
  });
  const Vector graphs = model.vector(kGraphs, 4);
  if (graphs.count != 1) refuse("A file has not one subgraph", "subgraphs", graphs.count);
  graph = file.target(graphs.begin);
  buffers = model.target(kBuffers);
  model.vector(kDescription, 1);
  const Vector numbers = model.vector(kMetadataBuffers, 4);
  for (int64_t i = 0; i < numbers.count; i++) metadata.push_back(file.word(numbers.begin + 4 * i));
  add_entries(file, model, kMetadata, metadata);
  each_table(file, model, kSignatures, kSignatureTables, [&](const Table& signature) {
    if (signature.word(kSubgraph)) refuse("A signature is of another subgraph");
    signature.vector(kKey, 1);
    add_entries(file, signature, kInputs, tensors);
    add_entries(file, signature, kOutputs, tensors);
  });
}

}  // namespace secateur
