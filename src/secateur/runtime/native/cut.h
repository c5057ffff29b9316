// The cheapest way to divide things between two sides: a minimum cut of a graph.
#pragma once

#include <cstdint>
#include <vector>

namespace secateur {

// An edge costs something where its start is on the source's side and its end on the sink's.
struct CutEdge {
  int32_t start, end;
  double cost;
};

// `pays` says of each node how much more it costs on the source's side, infinity where it cannot be there, and less than
// nothing where it costs less. Returns for each whether it is on that side, so that all costs least. Refuses what has
// no end.
std::vector<bool> minimum_cut(const std::vector<double>& pays, const std::vector<CutEdge>& edges);

}  // namespace secateur
