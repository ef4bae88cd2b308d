// SPDX-License-Identifier: BSD-2-Clause
// How pvh speaks: results on stdout, everything else on stderr, one line each, "pvh: SUBJECT:
// what".
#pragma once

#include <string>
#include <string_view>

#include <pvh/vmm/failure.hpp>

namespace pvh::cli {

// One diagnostic on stderr. `subject` is a file or an option; empty when the message stands alone.
// What a message quotes from files or the command line cannot smuggle control characters to the
// terminal.
void complain(std::string_view subject, std::string_view message);

// Says it, and gives the exit status.
[[nodiscard]] int fail(const vmm::Failure& failure);

// All of `text` to stdout. The exit status: 0, or kHostIo with a complaint.
[[nodiscard]] int print(std::string_view text);

// `text` with control characters as \xNN; line feeds stay.
[[nodiscard]] std::string printable(std::string_view text);

// `text` with all but printable ASCII as \xNN: strings from a file need not be UTF-8, and JSON must
// be.
[[nodiscard]] std::string ascii(std::string_view text);

}  // namespace pvh::cli
