// SPDX-License-Identifier: BSD-2-Clause
// Numbers that a seed decides (splitmix64), so that an attack can be told again by its seed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pvh::kernels::hostile {

class Random {
 public:
  constexpr explicit Random(std::uint64_t seed) : state_(seed) {}

  constexpr std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  constexpr std::uint32_t below(std::uint32_t end) {
    return static_cast<std::uint32_t>(next() % end);
  }
  constexpr bool one_in(std::uint32_t many) { return below(many) == 0; }
  template <typename T, std::size_t N>
  constexpr const T& of(const T (&choices)[N]) {
    return choices[next() % N];
  }

 private:
  std::uint64_t state_;
};

}  // namespace pvh::kernels::hostile
