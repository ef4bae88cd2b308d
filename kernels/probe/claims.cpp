// SPDX-License-Identifier: BSD-2-Clause
#include "probe/claims.hpp"

namespace pvh::kernels::probe {

using std::string_view_literals::operator""sv;

namespace {

std::string_view id_of(Claim claim) {
#define CLAIM(enumerator, id, source, text) \
  case Claim::enumerator:                   \
    return id##sv;
#define NOTE(enumerator, id, text)
  switch (claim) {
#include "probe/claims.inc"
  }
#undef CLAIM
#undef NOTE
  return "unknown"sv;
}

std::string_view id_of(Note note) {
#define CLAIM(enumerator, id, source, text)
#define NOTE(enumerator, id, text) \
  case Note::enumerator:           \
    return id##sv;
  switch (note) {
#include "probe/claims.inc"
  }
#undef CLAIM
#undef NOTE
  return "unknown"sv;
}

}  // namespace

void Claims::line(bool ok, Claim claim, std::string_view separator, std::string_view rest) {
  judged_[static_cast<std::size_t>(claim)] = true;
  ++count_;
  deviations_ += ok ? 0 : 1;
  console_->write(ok ? "ok "sv : "not ok "sv);
  console_->write(Line().decimal(count_).text(" - "sv).text(id_of(claim)).view());
  console_->write(separator);
  console_->write(rest);
  console_->write("\n"sv);
}

void Claims::judge(Claim claim, const Finding& finding) {
  if (finding.good()) {
    line(true, claim, ""sv, ""sv);
  } else {
    line(false, claim, " # "sv, finding.why());
  }
}

void Claims::judge(Claim claim, bool holds, const Line& why) {
  Finding finding;
  if (!holds) {
    finding.complain(why);
  }
  judge(claim, finding);
}

void Claims::skip(Claim claim, std::string_view why) {
  line(true, claim, " # SKIP "sv, why);
}

void Claims::note(Note note, const Line& what) {
  bool& noted = noted_[static_cast<std::size_t>(note)];
  if (noted) {
    return;
  }
  noted = true;
  console_->write("# note "sv);
  console_->write(id_of(note));
  console_->write(": "sv);
  console_->write(what.view());
  console_->write("\n"sv);
}

bool Claims::finish() {
  for (std::size_t i = 0; i < kClaims; ++i) {
    if (!judged_[i]) {
      line(false, static_cast<Claim>(i), " # "sv, "the probe did not judge it"sv);
    }
  }
  console_->write(Line().text("1.."sv).decimal(count_).text("\n"sv).view());
  if (deviations_ == 0) {
    console_->write("verdict conforming\n"sv);
  } else {
    console_->write(Line().text("verdict deviating "sv).decimal(deviations_).text("\n"sv).view());
  }
  console_->flush();
  return deviations_ == 0;
}

}  // namespace pvh::kernels::probe
