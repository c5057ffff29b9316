// Squeeze and excite: products of images and gates that convolutions take over.
#include <algorithm>

#include "program.h"

namespace secateur {
namespace {

// What another operation does as well.
class Nothing : public Operation {
 public:
  void run(const Run&) const override {}
};

}  // namespace

// A gate of squeeze-and-excite costs less on the weights behind it than on the image.
void Program::take_gates() {
  for (size_t i = 0; i < operations_.size(); i++) {
    int32_t image, gate;
    const int32_t product = operations_[i]->out;
    if (!operations_[i]->is_gated(&image, &gate)) continue;
    int64_t readers = 0;
    for (const auto& o : operations_) readers += std::count(o->reads.begin(), o->reads.end(), product);
    const int32_t last = value(product).last_use;
    if (readers != 1 || !operations_[static_cast<size_t>(last)]->take_gate(product, image, gate)) continue;
    for (int32_t id : {image, gate}) {
      Value& v = values_[static_cast<size_t>(id)];
      v.last_use = std::max(v.last_use, last);
    }
    values_[static_cast<size_t>(product)].writer = -1;  // it needs no memory
    auto nothing = std::make_unique<Nothing>();
    nothing->out = product;
    nothing->text = operations_[i]->text + ", with the weights of the next convolution";
    operations_[i] = std::move(nothing);
  }
}

}  // namespace secateur
