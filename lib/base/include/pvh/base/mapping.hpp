// SPDX-License-Identifier: BSD-2-Clause
// Memory from mmap that somebody owns. (Hosted.)
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace pvh::base {

class Mapping {
 public:
  Mapping() = default;
  // Takes over `size` bytes at `data`, as mmap returned them.
  Mapping(std::byte* data, std::size_t size) : data_(data), size_(size) {}
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      reset();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  ~Mapping() { reset(); }

  [[nodiscard]] std::span<std::byte> bytes() { return {data_, size_}; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  void reset();

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace pvh::base
