// SPDX-License-Identifier: BSD-2-Clause
// Thousands of random machines, images and requests, for every shape: either a refusal, or a plan
// that keeps every promise of plan.hpp. The seed is fixed, and the number of the round is in the
// message: a failure comes back.
#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <pvh/abi/start_info.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/loader/plan.hpp>
#include <pvh/memory_map/edit.hpp>
#include <pvh/memory_map/normalize.hpp>

#include "lib/loader/testing/plan_request.hpp"

namespace pvh::loader {
namespace {

// The strict shape has more to go wrong.
constexpr int rounds_of(Shape shape) {
  return shape == Shape::kStrict ? 4000 : 1000;
}

class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}

  std::uint64_t upto(std::uint64_t most) {
    return std::uniform_int_distribution<std::uint64_t>(0, most)(engine_);
  }
  // Every order of magnitude up to `most` alike.
  std::uint64_t any_size(std::uint64_t most) {
    const auto bits = std::bit_width(most);
    return std::min(most, upto((std::uint64_t{2} << upto(static_cast<std::uint64_t>(bits))) - 1));
  }
  bool one_in(std::uint64_t n) { return upto(n - 1) == 0; }

 private:
  std::mt19937 engine_;
};

const std::vector<std::byte>& file() {
  static const std::vector<std::byte> bytes(4 * kMiB, std::byte{0x42});
  return bytes;
}

Image random_image(Random& random) {
  constexpr std::array<std::uint64_t, 6> kStarts{0x500,    0x8000,    kMiB,
                                                 2 * kMiB, 16 * kMiB, 4 * kGiB - 16 * kMiB};
  Image image;
  image.elf = file();
  std::uint64_t at = kStarts[random.upto(random.one_in(8) ? 5 : 4)];
  const std::uint64_t segments = 1 + random.upto(5);
  for (std::uint64_t i = 0; i < segments; ++i) {
    const std::uint64_t size = 1 + random.any_size(kMiB);
    at += random.one_in(2) ? random.any_size(kMiB) : 0;
    image.segments.push_back({.index = i,
                              .header_offset = 0,
                              .offset = random.upto(kMiB),
                              .file_size = random.upto(size),
                              .paddr = PhysAddr(at),
                              .memory_size = ByteSize(size),
                              .vaddr = 0,
                              .alignment = 1,
                              .flags = 7});
    at += size;
  }
  std::shuffle(image.segments.begin(), image.segments.end(), std::mt19937(1));
  image.pvh_entry = image.segments[0].paddr;
  if (random.one_in(4)) {
    image.relocation = Relocation{std::uint64_t{0x1000} << random.upto(10),
                                  PhysAddr(random.any_size(16 * kMiB)), PhysAddr(UINT32_MAX)};
  }
  return image;
}

PlanRequest random_request(Random& random, Shape shape) {
  PlanRequest request = request_with(kMiB + random.any_size(8 * kGiB - kMiB), shape);
  request.command_line = std::string(random.any_size(100u << 10), 'c');
  const std::uint64_t modules = shape == Shape::kStrict ? random.upto(40) : random.upto(2);
  for (std::uint64_t i = 0; i < modules; ++i) {
    ModuleRequest module{fmt::format("m{}", i),
                         base::Bytes(file()).first(random.any_size(4 * kMiB)), ""};
    if (shape == Shape::kStrict || shape == Shape::kXen) {
      module.command_line = std::string(random.any_size(2000), 'm');
    }
    request.modules.push_back(module);
  }
  const TablePlacement place = table_placement(shape, request.ram);
  request.table_memory = place.table_memory;
  if (random.one_in(2)) {
    const std::uint64_t size = 1 + random.upto(place.acpi.size().value() - 1);
    request.rsdp = place.rsdp;
    request.tables = {{"ACPI", place.acpi.first(), std::vector<std::byte>(size), Type::kAcpi},
                      {"RSDP", place.rsdp, std::vector<std::byte>(36), Type::kAcpi}};
  }
  if (random.one_in(4) && shape == Shape::kStrict) {
    const std::uint64_t address = random.any_size(32 * kMiB);
    request.tables.push_back({"somewhere", PhysAddr(address), std::vector<std::byte>(0x123),
                              random.one_in(2) ? Type::kNvs : Type::kReserved});
  }
  request.start_info_version = random.one_in(3) ? 0 : 1;
  request.poison = random.one_in(2);
  return request;
}

// ---- The promises ----

void expect_pieces_are_disjoint_and_backed(const Plan& plan, const PlanRequest& request) {
  for (std::size_t i = 0; i < plan.pieces.size(); ++i) {
    const Piece& piece = plan.pieces[i];
    EXPECT_LE(piece.content.size(), piece.range.size().value()) << piece.name;
    if (i != 0) {
      EXPECT_GT(piece.range.first(), plan.pieces[i - 1].range.last()) << piece.name;
    }
    const bool backed =
        std::ranges::any_of(request.ram, [&](Range r) { return r.contains(piece.range); }) ||
        (request.table_memory && request.table_memory->contains(piece.range));
    EXPECT_TRUE(backed) << piece.name;
  }
  for (const Range& poisoned : plan.poisoned) {
    const auto hit = std::ranges::find_if(
        plan.pieces, [&](const Piece& piece) { return piece.range.overlaps(poisoned); });
    EXPECT_EQ(hit, plan.pieces.end());
    EXPECT_TRUE(std::ranges::any_of(request.ram, [&](Range r) { return r.contains(poisoned); }));
  }
}

const Piece* piece_at(const Plan& plan, PieceKind kind, std::uint64_t address) {
  const auto found = std::ranges::lower_bound(
      plan.pieces, PhysAddr(address), {}, [](const Piece& piece) { return piece.range.first(); });
  const bool there = found != plan.pieces.end() && found->range.first() == PhysAddr(address) &&
                     found->kind == kind;
  return there ? &*found : nullptr;
}

void expect_string(const Piece* piece, const std::string& text) {
  ASSERT_NE(piece, nullptr);
  EXPECT_GT(piece->range.size().value(), text.size()) << "room for the terminator";
  EXPECT_TRUE(std::ranges::equal(piece->content, std::as_bytes(std::span(text))));
}

void expect_start_info_leads_to_everything(const Plan& plan, const PlanRequest& request) {
  const auto info = start_info_of(plan);
  EXPECT_EQ(info.magic.get(), abi::XEN_HVM_START_MAGIC_VALUE);
  EXPECT_EQ(info.version.get(), request.start_info_version);
  EXPECT_EQ(info.nr_modules.get(), request.modules.size());
  if (info.cmdline_paddr.get() != 0) {
    expect_string(piece_at(plan, PieceKind::kCommandLine, info.cmdline_paddr.get()),
                  request.command_line);
  } else {
    EXPECT_TRUE(request.command_line.empty());
  }
  if (request.start_info_version == 1) {
    const Piece* map = piece_at(plan, PieceKind::kMemoryMap, info.memmap_paddr.get());
    ASSERT_NE(map, nullptr);
    EXPECT_EQ(map->content.size(), info.memmap_entries.get() * std::size_t{24});
  } else {
    EXPECT_EQ(count(plan, PieceKind::kMemoryMap), 0u);
  }
  if (request.modules.empty()) {
    EXPECT_EQ(info.modlist_paddr.get(), 0u);
    return;
  }
  const Piece* list = piece_at(plan, PieceKind::kModuleList, info.modlist_paddr.get());
  ASSERT_NE(list, nullptr);
  for (std::size_t i = 0; i < request.modules.size(); ++i) {
    const auto entry = base::read_at<abi::hvm_modlist_entry>(list->content, i * 32);
    ASSERT_TRUE(entry);
    const Piece* module = piece_at(plan, PieceKind::kModule, entry->paddr.get());
    ASSERT_NE(module, nullptr);
    EXPECT_EQ(entry->size.get(), request.modules[i].content.size());
    EXPECT_EQ(module->content.data(), request.modules[i].content.data());
    EXPECT_TRUE(module->range.first().is_aligned(base::kPageSize));
    EXPECT_EQ(module->range.size().value() % 4096, 0u);
    if (request.modules[i].command_line.empty()) {
      EXPECT_EQ(entry->cmdline_paddr.get(), 0u);
    } else {
      expect_string(piece_at(plan, PieceKind::kModuleCommandLine, entry->cmdline_paddr.get()),
                    request.modules[i].command_line);
    }
  }
}

void expect_image_is_where_it_said(const Plan& plan, const Image& image) {
  const auto offset = static_cast<std::uint64_t>(plan.load_offset);
  EXPECT_EQ(plan.entry.eip, static_cast<std::uint32_t>(image.pvh_entry->value() + offset));
  EXPECT_EQ(plan.entry.ebx, plan.start_info.value());
  EXPECT_NE(piece_at(plan, PieceKind::kStartInfo, plan.start_info.value()), nullptr);
  for (const Segment& segment : image.segments) {
    const Piece* piece = piece_at(plan, PieceKind::kSegment, segment.paddr.value() + offset);
    ASSERT_NE(piece, nullptr);
    EXPECT_EQ(piece->range.size(), segment.memory_size);
    EXPECT_EQ(piece->content.size(), segment.file_size);
    EXPECT_EQ(piece->content.data(), image.elf.data() + segment.offset);
    if (image.relocation && plan.load_offset != 0) {
      EXPECT_EQ(offset % image.relocation->alignment, 0u);
      EXPECT_GE(piece->range.first(), image.relocation->min);
      EXPECT_LE(piece->range.last(), image.relocation->max);
    }
  }
  if (!image.relocation) {
    EXPECT_EQ(plan.load_offset, 0);
  }
}

// kStrict only: nothing is odd about the map, and every byte lies in an entry of its type.
void expect_map_is_honest(const Plan& plan, const PlanRequest& request) {
  std::vector<memory_map::Entry> out(memory_map::output_size(plan.memory_map.size()));
  std::vector<memory_map::Scratch> scratch(memory_map::scratch_size(plan.memory_map.size()));
  memory_map::Report report;
  const auto map =
      memory_map::normalize(plan.memory_map, out, scratch,
                            {.withhold_page_zero = false, .withhold_legacy_hole = false}, report);
  ASSERT_TRUE(map);
  EXPECT_TRUE(report.clean());
  ASSERT_EQ(map->size(), plan.memory_map.size());
  for (std::size_t i = 0; i < map->size(); ++i) {
    EXPECT_EQ(to_raw((*map)[i]), plan.memory_map[i]) << "sorted, disjoint, merged, whole pages";
  }
  for (const Piece& piece : plan.pieces) {
    if (piece.kind != PieceKind::kTable) {
      EXPECT_TRUE(memory_map::is_ram(*map, piece.range)) << piece.name;
      EXPECT_FALSE(piece.range.overlaps(range(0x9f000, 0x61000))) << piece.name;
    }
  }
  for (const TableRequest& table : request.tables) {
    const memory_map::Entry* entry = memory_map::lookup(*map, table.address);
    ASSERT_NE(entry, nullptr) << table.name;
    EXPECT_NE(entry->type, Type::kRam) << table.name;
    EXPECT_LE(memory_map::precedence(table.type), memory_map::precedence(entry->type));
  }
  for (const memory_map::Entry& entry : *map) {
    EXPECT_EQ(entry.range.first().value() % 4096, 0u);
    EXPECT_EQ(entry.range.size().value() % 4096, 0u);
    const bool is_request_ram =
        std::ranges::any_of(request.ram, [&](Range r) { return r.contains(entry.range); });
    EXPECT_TRUE(entry.type != Type::kRam || is_request_ram);
  }
}

class RandomPlans : public testing::TestWithParam<Shape> {};

TEST_P(RandomPlans, KeepEveryPromiseOrAreRefused) {
  const Shape shape = GetParam();
  Random random(20260000u + static_cast<std::uint32_t>(shape));
  int made = 0;
  std::map<PlanError, int> refused;
  for (int round = 0; round < rounds_of(shape); ++round) {
    SCOPED_TRACE(fmt::format("{}, round {}", to_string(shape), round));
    const Image image = random_image(random);
    const PlanRequest request = random_request(random, shape);
    const auto plan = make_plan(image, request);
    if (!plan) {
      ++refused[plan.error().code];
      EXPECT_FALSE(base::to_text(plan.error()).empty());
      continue;
    }
    ++made;
    expect_pieces_are_disjoint_and_backed(*plan, request);
    expect_start_info_leads_to_everything(*plan, request);
    expect_image_is_where_it_said(*plan, image);
    if (shape == Shape::kStrict) {
      expect_map_is_honest(*plan, request);
    }
    if (HasFailure()) {
      break;  // one is enough to read
    }
  }
  // Neither side may starve, or the test would say nothing.
  EXPECT_GT(made, rounds_of(shape) / 20);
  EXPECT_GT(refused[PlanError::kOutsideRam], 0);
  EXPECT_EQ(refused[PlanError::kBadImage], 0);
  if (shape == Shape::kStrict) {
    EXPECT_GT(made, rounds_of(shape) / 5);
    EXPECT_GT(refused[PlanError::kModuleTooLarge], 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, RandomPlans,
                         testing::Values(Shape::kStrict, Shape::kQemu, Shape::kQboot,
                                         Shape::kFirecracker, Shape::kCloudHypervisor, Shape::kXen),
                         [](const auto& test) {
                           std::string name(to_string(test.param));
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace pvh::loader
