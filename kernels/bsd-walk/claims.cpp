// SPDX-License-Identifier: BSD-2-Clause
#include "bsd-walk/claims.hpp"

#include "bsd-walk/uart.hpp"

namespace pvh::kernels::bsd {

namespace {

constexpr std::string_view kIds[] = {
#define CLAIM(enumerator, id, source, text) id##sv,
#include "bsd-walk/claims.inc"
#undef CLAIM
};
constexpr std::size_t kClaims = sizeof(kIds) / sizeof(kIds[0]);

bool judged[kClaims];
std::uint32_t count;
std::uint32_t deviations;

void tell(bool ok, Claim claim, std::string_view separator, std::string_view rest) {
  const auto index = static_cast<std::size_t>(claim);
  judged[index] = true;
  ++count;
  deviations += ok ? 0u : 1u;
  uart::print(ok ? "ok "sv : "not ok "sv);
  uart::print(Line().decimal(count).text(" - "sv).text(kIds[index]).view());
  uart::print(separator);
  uart::print(rest);
  uart::print("\n"sv);
}

}  // namespace

void judge(Claim claim, bool holds, const Line& why) {
  if (holds) {
    tell(true, claim, ""sv, ""sv);
  } else {
    tell(false, claim, " # "sv, why.view());
  }
}

void skip(Claim claim, std::string_view why) {
  tell(true, claim, " # SKIP "sv, why);
}

void note(const Line& what) {
  uart::print("# "sv);
  uart::print(what.view());
  uart::print("\n"sv);
}

bool finish_claims() {
  for (std::size_t i = 0; i < kClaims; ++i) {
    if (!judged[i]) {
      tell(false, static_cast<Claim>(i), " # "sv, "FreeBSD does not get so far"sv);
    }
  }
  uart::print(Line().text("1.."sv).decimal(count).text("\nverdict "sv).view());
  uart::print(deviations == 0
                  ? "conforming\n"sv
                  : Line().text("deviating "sv).decimal(deviations).text("\n"sv).view());
  return deviations == 0;
}

}  // namespace pvh::kernels::bsd
