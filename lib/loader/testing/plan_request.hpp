// SPDX-License-Identifier: BSD-2-Clause
// What the tests of the plan share: images made by hand, requests, and a way to find a piece.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <pvh/abi/start_info.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/loader/plan.hpp>

namespace pvh::loader {

using base::ByteSize;
using base::PhysAddr;
using base::Range;
using memory_map::Type;

inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

inline Range range(std::uint64_t first, std::uint64_t size) {
  return *Range::from_size(PhysAddr(first), ByteSize(size));
}

// At most 4 KiB of it are in the file.
inline void add_segment(Image& image, std::uint64_t address, std::uint64_t size) {
  image.segments.push_back({.index = 3 + image.segments.size(),
                            .header_offset = 64,
                            .offset = 0,
                            .file_size = std::min<std::uint64_t>(size, 0x1000),
                            .paddr = PhysAddr(address),
                            .memory_size = ByteSize(size),
                            .vaddr = address,
                            .alignment = 0x1000,
                            .flags = 7});
}

// One segment, entered at its first byte.
inline Image image_at(std::uint64_t address, std::uint64_t size) {
  static const std::vector<std::byte> file(0x1000, std::byte{0x90});
  Image image;
  image.elf = file;
  image.pvh_entry = PhysAddr(address);
  add_segment(image, address, size);
  return image;
}

inline PlanRequest request_with(std::uint64_t memory, Shape shape = Shape::kStrict) {
  PlanRequest request;
  request.ram = ram_ranges(ByteSize(memory));
  request.shape = shape;
  return request;
}

inline std::size_t count(const Plan& plan, PieceKind kind) {
  return static_cast<std::size_t>(std::ranges::count(plan.pieces, kind, &Piece::kind));
}

// The lowest of its kind. There must be one.
inline const Piece& find(const Plan& plan, PieceKind kind) {
  return *std::ranges::find(plan.pieces, kind, &Piece::kind);
}

// As a guest reads it: what version 0 does not have is 0.
inline abi::hvm_start_info start_info_of(const Plan& plan) {
  std::vector<std::byte> bytes(abi::kStartInfoSizeV1);
  std::ranges::copy(find(plan, PieceKind::kStartInfo).content, bytes.begin());
  return *base::read_at<abi::hvm_start_info>(bytes, 0);
}

}  // namespace pvh::loader
