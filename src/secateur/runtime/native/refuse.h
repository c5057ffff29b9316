// Errors: what happened, then "Received: name=value".
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace secateur {

inline void append_received(std::ostringstream&) {}

template <class V, class... More>
void append_received(std::ostringstream& text, const char* name, const V& value, const More&... more) {
  text << name << "=" << value;
  if constexpr (sizeof...(more) > 0) text << ", ";
  append_received(text, more...);
}

template <class... Received>
[[noreturn]] void refuse(const std::string& what, const Received&... received) {
  std::ostringstream text;
  text << what << ".";
  if constexpr (sizeof...(received) > 0) {
    text << " Received: ";
    append_received(text, received...);
  }
  throw std::invalid_argument(text.str());
}

}  // namespace secateur
