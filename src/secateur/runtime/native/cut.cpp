#include "cut.h"

#include <algorithm>
#include <cmath>

#include "refuse.h"

namespace secateur {
namespace {

constexpr double kSmall = 1e-9;

// Finds the maximum flow as in Dinic, Soviet Math. Doklady 11 (1970).
class Flow {
 public:
  explicit Flow(size_t nodes) : edges_(nodes + 2), levels_(nodes + 2), source_(nodes), sink_(nodes + 1) {}

  size_t source() const { return source_; }
  size_t sink() const { return sink_; }
  void edge(size_t start, size_t end, double room) {
    edges_[start].push_back(to_.size());
    to_.push_back(end);
    room_.push_back(room);
    edges_[end].push_back(to_.size());
    to_.push_back(start);
    room_.push_back(0);
  }
  void fill() {
    while (level()) {
      following_.assign(edges_.size(), 0);
      while (augment()) {
      }
    }
  }
  // Whether there is a way with room from the source to a node.
  bool is_reached(size_t node) const { return levels_[node] >= 0; }

 private:
  // Says how many edges with room each node is away from the source; whether the sink is reached.
  bool level() {
    std::fill(levels_.begin(), levels_.end(), -1);
    levels_[source_] = 0;
    std::vector<size_t> queue = {source_};
    for (size_t i = 0; i < queue.size(); i++)
      for (size_t edge : edges_[queue[i]]) {
        if (levels_[to_[edge]] >= 0 || !(room_[edge] > kSmall)) continue;
        levels_[to_[edge]] = levels_[queue[i]] + 1;
        queue.push_back(to_[edge]);
      }
    return is_reached(sink_);
  }

  // Sends flow along one more way from the source to the sink; whether there was one.
  bool augment() {
    std::vector<size_t> way;
    for (size_t node = source_; node != sink_;) {
      size_t& next = following_[node];
      while (next < edges_[node].size() && !leads_on(node, edges_[node][next])) next++;
      if (next < edges_[node].size()) {
        way.push_back(edges_[node][next]);
        node = to_[way.back()];
      } else if (!way.empty()) {
        node = to_[way.back() ^ 1];
        way.pop_back();
        following_[node]++;
      } else {
        return false;
      }
    }
    double flow = room_[way[0]];
    for (size_t edge : way) flow = std::min(flow, room_[edge]);
    if (std::isinf(flow)) refuse("There is a node that can be on neither side");
    for (size_t edge : way) {
      room_[edge] -= flow;
      room_[edge ^ 1] += flow;
    }
    return true;
  }
  bool leads_on(size_t node, size_t edge) const {
    return room_[edge] > kSmall && levels_[to_[edge]] == levels_[node] + 1;
  }

  std::vector<std::vector<size_t>> edges_;  // of each node; the way back of edge i is i ^ 1
  std::vector<size_t> to_, following_;
  std::vector<double> room_;
  std::vector<int64_t> levels_;
  size_t source_, sink_;
};

}  // namespace

std::vector<bool> minimum_cut(const std::vector<double>& pays, const std::vector<CutEdge>& edges) {
  Flow flow(pays.size());
  const auto node = [&](int32_t number) {
    if (number < 0 || number >= static_cast<int64_t>(pays.size())) refuse("There is no such node", "node", number);
    return static_cast<size_t>(number);
  };
  for (const CutEdge& each : edges) {
    if (!(each.cost >= 0)) refuse("An edge costs less than nothing", "start", each.start, "end", each.end);
    flow.edge(node(each.start), node(each.end), each.cost);
  }
  for (size_t i = 0; i < pays.size(); i++) {
    if (std::isnan(pays[i])) refuse("What a node costs is no number", "node", i);
    if (pays[i] > 0)
      flow.edge(i, flow.sink(), pays[i]);
    else if (pays[i] < 0)
      flow.edge(flow.source(), i, -pays[i]);
  }
  flow.fill();
  std::vector<bool> sides;
  for (size_t i = 0; i < pays.size(); i++) sides.push_back(flow.is_reached(i));
  return sides;
}

}  // namespace secateur
