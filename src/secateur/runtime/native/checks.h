// Checks that operations share.
#pragma once

#include "program.h"
#include "refuse.h"

namespace secateur {

void check_activation(const secateur_activation& a);
// The identity for null.
secateur_activation checked(const secateur_activation* a);

// Also checks the residual, whose id (or -1) goes to `residual`.
Finish make_finish(const Program& p, const secateur_epilogue* e, const Shape& out, int32_t* residual);
Finish make_finish(const secateur_activation* a);

// A window that fits its image, for which an output of this size is right.
secateur_window checked(const secateur_window* window, const Shape& in, const Shape& out);

// Output rows [begin, end) read image rows [window_first_row(begin), window_last_row(end)), some of which may
// lie below the image.
int32_t window_first_row(const secateur_window& w, int32_t begin);
int32_t window_last_row(const secateur_window& w, int32_t end);

// "3x3 stride 2", and what follows an operation: "+ relu6".
std::string window_text(const secateur_window& w);
std::string finish_text(const Finish& f);
std::string shape_text(const Shape& s);

}  // namespace secateur
