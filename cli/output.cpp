// SPDX-License-Identifier: BSD-2-Clause
#include "output.hpp"

#include <cerrno>
#include <cstdio>

#include <fmt/format.h>
#include <pvh/base/fault.hpp>

#include "exit_status.hpp"

namespace pvh::cli {

std::string printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n') || byte == 0x7f) {
      fmt::format_to(std::back_inserter(result), "\\x{:02x}", byte);
    } else {
      result.push_back(c);
    }
  }
  return result;
}

std::string ascii(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    result += byte >= 0x20 && byte < 0x7f ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
  }
  return result;
}

void complain(std::string_view subject, std::string_view message) {
  const std::string line =
      subject.empty() ? fmt::format("pvh: {}\n", printable(message))
                      : fmt::format("pvh: {}: {}\n", printable(subject), printable(message));
  // With stderr gone there is nobody left to tell.
  static_cast<void>(std::fwrite(line.data(), 1, line.size(), stderr));
}

int fail(const vmm::Failure& failure) {
  complain(failure.subject, failure.text);
  return exit_status(failure.kind);
}

int print(std::string_view text) {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written) {
    complain("stdout", base::errno_text(errno));
    return kHostIo;
  }
  return kOk;
}

}  // namespace pvh::cli
