// SPDX-License-Identifier: BSD-2-Clause
// start_info.h: the command line, and what it says of itself: expect.line=CHECKSUM is the checksum
// of all that stands before these words. It is the last argument, so that words which the loader
// has added show.
#include "common/checksum.hpp"
#include "probe/judges.hpp"

namespace pvh::kernels::probe {

using std::string_view_literals::operator""sv;

namespace {

constexpr std::string_view kExpectation = "expect.line="sv;

// string_view's own find() and substr() need a memchr and something to throw with, which a kernel
// has not.
std::optional<std::size_t> find(std::string_view text, std::string_view part) {
  for (std::size_t i = 0; i + part.size() <= text.size(); ++i) {
    if (std::string_view(text.data() + i, part.size()) == part) {
      return i;
    }
  }
  return std::nullopt;
}

void judge_content(std::string_view line, Claims& claims) {
  const auto at = find(line, kExpectation);
  if (!at) {
    claims.skip(Claim::kLineContent, "no expect.line"sv);
    return;
  }
  std::string_view appended = line;
  appended.remove_prefix(*at + kExpectation.size());
  const std::string_view expected(appended.data(), find(appended, " "sv).value_or(appended.size()));
  appended.remove_prefix(expected.size());
  Checksum sum;
  sum.add(std::as_bytes(std::span(line.data(), *at)));
  claims.judge(Claim::kLineContent, guest::parse_number(expected) == sum.value(),
               Line().text("checksum of "sv).decimal(*at).text(" bytes: "sv).hex(sum.value()));
  if (!appended.empty()) {
    claims.note(Note::kNoteLineAppended, Line().text("\""sv).text(appended).text("\""sv));
  }
}

}  // namespace

void judge_command_line(const Facts& facts, Claims& claims) {
  const std::uint64_t address = facts.info().cmdline_paddr.get();
  if (address == 0) {
    claims.skip(Claim::kLineTerminated, "there is none"sv);
  } else {
    claims.judge(Claim::kLineTerminated, facts.string_length(base::PhysAddr(address)).has_value(),
                 Line().text("cmdline_paddr is "sv).hex(address));
  }
  judge_content(facts.boot().command_line(), claims);
}

}  // namespace pvh::kernels::probe
