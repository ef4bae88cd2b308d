// SPDX-License-Identifier: BSD-2-Clause
// Bytes whose number is not known beforehand: the output of an unpacker, the content of a pipe.
//
// Memory comes straight from the kernel: it is not zeroed twice, it costs nothing until it is
// written, and it grows by moving page tables, not bytes. So a wrong guess of the size is cheap in
// both directions, and a size field that lies cannot make us touch memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>

#include <pvh/base/bytes.hpp>
#include <pvh/base/mapping.hpp>

namespace pvh::loader {

class Buffer {
 public:
  // Never holds more than `limit` bytes. `guess` is how many there will probably be.
  Buffer(std::uint64_t limit, std::uint64_t guess);
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  // Where the next bytes go: never empty, and `wanted` bytes long or longer if the limit allows.
  // There is one byte more than the limit, so that a stream of exactly that length can show that it
  // has ended; when that byte is used the answer is EFBIG. ENOMEM when the host has no memory.
  [[nodiscard]] std::expected<base::MutableBytes, int> room(std::size_t wanted = 1);
  // The first `count` bytes of room() have been written.
  void commit(std::size_t count) { size_ += count; }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::uint64_t limit() const { return limit_; }
  [[nodiscard]] bool over_limit() const { return size_ > limit_; }

  // What was written, in memory that the caller now owns; what was not is given back.
  [[nodiscard]] base::Mapping take();

 private:
  std::uint64_t limit_;
  std::uint64_t guess_;
  std::byte* data_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
};

}  // namespace pvh::loader
