// SPDX-License-Identifier: BSD-2-Clause
// Compilers call these for 64-bit division in 32-bit code.
#include <bit>
#include <cstdint>

extern "C" {
std::uint64_t __udivmoddi4(std::uint64_t dividend, std::uint64_t divisor, std::uint64_t* remainder);
std::uint64_t __udivdi3(std::uint64_t dividend, std::uint64_t divisor);
std::uint64_t __umoddi3(std::uint64_t dividend, std::uint64_t divisor);
std::int64_t __divdi3(std::int64_t dividend, std::int64_t divisor);
std::int64_t __moddi3(std::int64_t dividend, std::int64_t divisor);
}

namespace {

struct Division {
  std::uint32_t quotient;
  std::uint32_t remainder;
};

// `high` must be less than `divisor`: the processor knows no larger quotient.
Division divide(std::uint32_t high, std::uint32_t low, std::uint32_t divisor) {
  Division result;
  asm("divl %[divisor]"
      : "=a"(result.quotient), "=d"(result.remainder)
      : "a"(low), "d"(high), [divisor] "rm"(divisor)
      : "cc");
  return result;
}

std::uint64_t magnitude(std::int64_t value) {
  const auto bits = static_cast<std::uint64_t>(value);
  return value < 0 ? 0 - bits : bits;
}

std::int64_t with_sign(std::uint64_t magnitude, bool negative) {
  return static_cast<std::int64_t>(negative ? 0 - magnitude : magnitude);
}

}  // namespace

std::uint64_t __udivmoddi4(std::uint64_t dividend, std::uint64_t divisor,
                           std::uint64_t* remainder) {
  const auto high = static_cast<std::uint32_t>(dividend >> 32);
  const auto low = static_cast<std::uint32_t>(dividend);
  if (divisor >> 32 == 0) {
    // Digit by digit, as on paper. A divisor of 0 is a divide error here, as it should be.
    const auto digit = static_cast<std::uint32_t>(divisor);
    const Division upper = divide(0, high, digit);
    const Division lower = divide(upper.remainder, low, digit);
    if (remainder != nullptr) {
      *remainder = lower.remainder;
    }
    return std::uint64_t{upper.quotient} << 32 | lower.quotient;
  }
  // The quotient has at most 32 bits: subtract where it fits.
  std::uint64_t quotient = 0;
  int shift = std::countl_zero(divisor) - std::countl_zero(dividend | 1);
  for (; shift >= 0; --shift) {
    if (dividend >> shift >= divisor) {
      dividend -= divisor << shift;
      quotient |= std::uint64_t{1} << shift;
    }
  }
  if (remainder != nullptr) {
    *remainder = dividend;
  }
  return quotient;
}

std::uint64_t __udivdi3(std::uint64_t dividend, std::uint64_t divisor) {
  return __udivmoddi4(dividend, divisor, nullptr);
}

std::uint64_t __umoddi3(std::uint64_t dividend, std::uint64_t divisor) {
  std::uint64_t remainder = 0;
  (void)__udivmoddi4(dividend, divisor, &remainder);
  return remainder;
}

std::int64_t __divdi3(std::int64_t dividend, std::int64_t divisor) {
  return with_sign(__udivmoddi4(magnitude(dividend), magnitude(divisor), nullptr),
                   (dividend < 0) != (divisor < 0));
}

std::int64_t __moddi3(std::int64_t dividend, std::int64_t divisor) {
  std::uint64_t remainder = 0;
  (void)__udivmoddi4(magnitude(dividend), magnitude(divisor), &remainder);
  return with_sign(remainder, dividend < 0);
}
