// SPDX-License-Identifier: BSD-2-Clause
// Verdicts in TAP (testanything.org), a line for each claim in claims.inc:
//
//   ok 1 - entry/ebx
//   not ok 9 - entry/tr-loaded # TR selector is 0
//   ok 23 - modules/content # SKIP no module was passed
//   # note map/unsorted: entry 5 begins below entry 4
//   1..47
//   verdict deviating 1
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <pvh/guest/console.hpp>
#include <pvh/memory_map/print.hpp>

namespace pvh::kernels::probe {

using memory_map::Line;

#define CLAIM(enumerator, id, source, text) enumerator,
#define NOTE(enumerator, id, text)
enum class Claim : std::uint8_t {
#include "probe/claims.inc"
};
#undef CLAIM
#undef NOTE

#define CLAIM(enumerator, id, source, text)
#define NOTE(enumerator, id, text) enumerator,
enum class Note : std::uint8_t {
#include "probe/claims.inc"
};
#undef CLAIM
#undef NOTE

#define CLAIM(enumerator, id, source, text) +1
#define NOTE(enumerator, id, text)
inline constexpr std::size_t kClaims = 0
#include "probe/claims.inc"
    ;
#undef CLAIM
#undef NOTE

#define CLAIM(enumerator, id, source, text)
#define NOTE(enumerator, id, text) +1
inline constexpr std::size_t kNotes = 0
#include "probe/claims.inc"
    ;
#undef CLAIM
#undef NOTE

// Good until the first complaint, which is the one that is told.
class Finding {
 public:
  constexpr void complain(const Line& why) {
    if (good_) {
      good_ = false;
      why_ = why;
    }
  }
  [[nodiscard]] constexpr bool good() const { return good_; }
  [[nodiscard]] constexpr std::string_view why() const { return why_.view(); }

 private:
  bool good_ = true;
  Line why_;
};

class Claims {
 public:
  explicit Claims(guest::Console& console) : console_(&console) {}

  void judge(Claim claim, const Finding& finding);
  // `why` is told when it does not hold.
  void judge(Claim claim, bool holds, const Line& why);
  // There is nothing here to judge it by.
  void skip(Claim claim, std::string_view why);
  // Once for each note: the first is told.
  void note(Note note, const Line& what);

  // The plan and the verdict. True: conforming. A claim that nobody judged is a deviation.
  bool finish();

 private:
  void line(bool ok, Claim claim, std::string_view separator, std::string_view rest);

  guest::Console* console_;
  bool judged_[kClaims] = {};
  bool noted_[kNotes] = {};
  std::uint32_t count_ = 0;
  std::uint32_t deviations_ = 0;
};

}  // namespace pvh::kernels::probe
