// What units are thought to take natively and in LiteRT. Rates are given: runtime/_costs.py has them, and says how
// they were measured.
#include <algorithm>
#include <limits>

#include "units.h"

namespace secateur {

using namespace tflite;

namespace {

// Whether a function that takes more than a few instructions is a part of an operation.
bool curves(const Lowered& native) {
  for (const secateur_activation& each : native.functions()) switch (each.function) {
      case SECATEUR_SIGMOID:
      case SECATEUR_TANH:
      case SECATEUR_SWISH:
      case SECATEUR_ELU:
      case SECATEUR_GELU:
      case SECATEUR_GELU_TANH:
      case SECATEUR_EXP: return true;
      default: break;
    }
  return false;
}

double values(const Shape& shape) { return static_cast<double>(shape.size()); }

double rate(const Convolution& c, const secateur_rates& rates) { return c.is_pointwise() ? rates.dense : rates.windowed; }

// One image: its arithmetic, and its larger image.
double depthwise(const Convolution& c, const secateur_rates& rates) {
  const double work = static_cast<double>(c.size) * static_cast<double>(c.target.pixels());
  return work / rates.depthwise + std::max(values(c.sources[0]), values(c.target)) / rates.image;
}

// How many values are under the windows of one image.
double under(const Pooling& p) { return values(p.target) * p.window.kernel_height * p.window.kernel_width; }

// One image in this library.
double convolution(const Convolution& c, const secateur_rates& rates, bool sparse) {
  const auto pixels = static_cast<double>(c.target.pixels());
  double cost = values(c.target) / rates.image;
  if (c.depthwise)
    cost = depthwise(c, rates);
  else if (sparse)
    cost += static_cast<double>(c.nonzeros) * (pixels / rates.sparse + rates.nonzero);
  else
    cost += static_cast<double>(c.size) * (pixels / rate(c, rates) + rates.weight);
  if (c.residual >= 0) cost += values(c.target) / rates.image;
  return cost + (curves(c) ? values(c.target) / rates.function : 0);
}

bool is_weighted(int32_t kind) { return kind == kConv || kind == kDepthwiseConv || kind == kFullyConnected; }

bool is_function(int32_t kind) {
  switch (kind) {
    case kLogistic:
    case kTanh:
    case kElu:
    case kGelu:
    case kExp:
    case kSoftmax:
    case kLogSoftmax:
    case kPow:
    case kLog: return true;
    default: return false;
  }
}

// XNNPACK makes nothing of these, or a part of another operator.
bool is_free(int32_t kind) {
  return kind == kReshape || kind == kSqueeze || kind == kExpandDims || kind == kDequantize || kind == kDensify;
}

}  // namespace

double Units::native_cost(const Lowered& native, const secateur_rates& rates) const {
  if (const auto* c = dynamic_cast<const Convolution*>(&native)) return convolution(*c, rates, c->sparse);
  if (const auto* pooling = dynamic_cast<const Pooling*>(&native)) return under(*pooling) / rates.pool;
  double most = values(native.target);
  for (const Shape& each : native.sources) most = std::max(most, values(each));
  const bool slow = dynamic_cast<const Softmax*>(&native) || curves(native);
  return most / (slow ? rates.function : rates.stream);
}

double Units::litert_cost(const Unit& unit, const secateur_rates& rates) const {
  const double batch = lower_.batch();
  const Convolution* const c = unit.convolution();
  const auto* const pooling = dynamic_cast<const Pooling*>(unit.native.get());
  double total = 0;
  for (int32_t place : unit.places) {
    const int32_t kind = file_.kind(place);
    if (is_weighted(kind) && c && c->depthwise) {
      total += rates.call + batch * depthwise(*c, rates);
    } else if (is_weighted(kind) && c) {
      const double pixels = batch * static_cast<double>(c->target.pixels());
      total += rates.call + batch * values(c->target) / rates.image;
      total += static_cast<double>(c->size) * (pixels / rate(*c, rates) + rates.weight);
    } else if (pooling) {
      total += rates.call + batch * under(*pooling) / rates.pool;
    } else if (kind == kMean) {
      const Part reads = file_.part(SECATEUR_READ, place);
      total += rates.call + (reads.size() && reads[0] >= 0 ? lower_.count(reads[0]) : 0) / rates.stream;
    } else if (!is_free(kind)) {
      double written = 0;
      for (int32_t tensor : file_.part(SECATEUR_WRITE, place)) written += tensor < 0 ? 0 : lower_.count(tensor);
      total += rates.call + written / (is_function(kind) ? rates.function : rates.stream);
    }
  }
  return total;
}

void Units::price(const secateur_rates& native, const secateur_rates& litert, int32_t threads, double* natively,
                  double* in_litert) {
  const double speed = 1 + native.thread * (threads - 1), litert_speed = 1 + litert.thread * (threads - 1);
  for (size_t i = 0; i < all_.size(); i++) {
    Convolution* const c = all_[i].convolution();
    if (c && !c->depthwise) {
      c->sparse = convolution(*c, native, true) < convolution(*c, native, false);
      // Large ones that keep all are packed before it is known where they will run.
      const bool large = c->target.pixels() == 1 && c->size >= 1 << 16 && file_.is_plain(c->kernel);
      const bool waits = c->weights->weights && !c->weights->packed;
      if (ahead_ && large && waits && !c->sparse) ahead_->pack(*c->weights);
    }
    const double infinite = std::numeric_limits<double>::infinity();
    natively[i] = !all_[i].native ? infinite
                                  : lower_.batch() * (native.call + native_cost(*all_[i].native, native)) / speed;
    in_litert[i] = litert_cost(all_[i], litert) / litert_speed;
  }
  describe();
}

}  // namespace secateur
