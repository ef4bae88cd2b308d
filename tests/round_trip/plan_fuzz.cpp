// SPDX-License-Identifier: BSD-2-Clause
// From a kernel file to a guest's view of it: an ELF, options and modules become a plan, the plan
// becomes memory, and what is there is read back by the runtime and by the reference that shares no
// code with either. Nothing overlaps, everything lies in RAM, all of it is found and no more is in
// use. Then bytes of the boot data go wrong, and both readers have to agree on what is left.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <pvh/loader/image.hpp>

#include "lib/base/testing/fuzz.hpp"
#include "lib/loader/testing/elf_builder.hpp"
#include "tests/round_trip/plan_judge.hpp"
#include "tests/round_trip/world.hpp"

namespace {

using namespace pvh;
using namespace pvh::round_trip;
using fuzz::require;
using loader::testkit::ByteVector;

constexpr int kMostMutations = 8;

struct DrawnSegment {
  std::uint64_t address;
  ByteVector content;
  std::uint64_t size;
};

struct Kernel {
  ByteVector file;
  std::vector<DrawnSegment> segments;
};

Kernel draw_kernel(Random& random) {
  constexpr std::array<std::uint64_t, 7> kStarts{0x8000,   0x40000,   0x100000, 0x100000,
                                                 0x200000, 0x1000000, 0x2800000};
  Kernel kernel;
  loader::testkit::ElfBuilder builder(random.one_in(3) ? loader::ElfClass::k32
                                                       : loader::ElfClass::k64);
  std::uint64_t at = random.one_of<std::uint64_t>(kStarts);
  for (std::uint64_t left = 1 + random.upto(3); left > 0; --left) {
    const std::uint64_t size = 1 + random.upto(random.one_in(4) ? 0x40000 : 0x1fff);
    ByteVector content(random.upto(std::min<std::uint64_t>(size, 0x3000)));
    for (std::size_t i = 0; i < content.size(); ++i) {
      content[i] = std::byte(1 + (i * 7 + left) % 255);
    }
    builder.load(at, content, size);
    kernel.segments.push_back({at, content, size});
    at += size + (random.one_in(8) ? random.upto(0x300000) : random.upto(0x3000));
  }
  std::vector<loader::testkit::NoteSpec> notes{
      loader::testkit::xen_entry(kernel.segments[0].address)};
  if (random.one_in(4)) {
    notes.push_back(loader::testkit::xen_relocation(
        {0x1000u << random.upto(9), static_cast<std::uint32_t>(random.upto(0x1000000)),
         UINT32_MAX}));
  }
  builder.notes(notes);
  kernel.file = builder.build();
  return kernel;
}

bool is_zero(base::Bytes bytes) {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), &bytes[1], bytes.size() - 1) == 0);
}

// Every piece is in RAM, alone, with the bytes that it stands for and then zeroes.
void check_memory(World& world) {
  ByteSet taken;
  ByteSet memory;
  for (const base::Range& range : world.request().ram) {
    memory.add(range.first().value(), Wide{range.last().value()} + 1);
  }
  if (const auto& table = world.request().table_memory) {
    memory.add(table->first().value(), Wide{table->last().value()} + 1);
  }
  for (const loader::Piece& piece : world.plan().pieces) {
    const Wide first = piece.range.first().value();
    const Wide end = Wide{piece.range.last().value()} + 1;
    require(memory.has_all(first, end) && !taken.has_any(first, end));
    taken.add(first, end);
    std::vector<std::byte> bytes(piece.range.size().value());
    require(world.memory().read(piece.range.first(), bytes).has_value());
    require(piece.content.size() <= bytes.size());
    require(std::ranges::equal(std::span(bytes).first(piece.content.size()), piece.content));
    require(is_zero(std::span(bytes).subspan(piece.content.size())));
  }
}

// The kernel is where its file says, moved as a whole if at all.
void check_kernel(World& world, const Kernel& kernel) {
  const auto offset = static_cast<std::uint64_t>(world.plan().load_offset);
  for (const DrawnSegment& segment : kernel.segments) {
    std::vector<std::byte> bytes(segment.size);
    require(world.memory().read(base::PhysAddr(segment.address + offset), bytes).has_value());
    ByteVector expected = segment.content;
    expected.resize(segment.size);
    require(bytes == expected);
  }
  require(world.plan().entry.eip == kernel.segments[0].address + offset);
  require(world.plan().entry.ebx == world.plan().start_info.value());
}

void check_capture(World& world) {
  const Expectation expected = world.expectation();
  const auto captured = world.capture();
  std::string wrong = judge(expected, captured, world);
  if (captured) {
    wrong += compare_with_plan(world, *captured) + name_lost(expected, *captured);
  } else if (!is_interleaved(world)) {
    wrong += "it cannot be captured\n";
  }
  require(wrong.empty() ? "" : wrong + world.text());
}

void mutate(World& world, Random& random, std::span<const Target> targets) {
  const Target& target = random.one_of(targets);
  const base::PhysAddr at(static_cast<std::uint64_t>(target.first) +
                          random.upto(static_cast<std::uint64_t>(target.end - target.first) - 1));
  const std::array value{std::byte(random.upto(255))};
  require(world.memory().write(at, value).has_value());
  const Expectation expected = world.expectation();
  const std::string wrong = judge(expected, world.capture(), world);
  require(wrong.empty() ? "" : target.name + ": " + wrong + world.text());
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  // The test kit speaks by GoogleTest's macros.
  GTEST_FLAG_SET(break_on_failure, true);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Random random(fuzz::to_bytes(data, size));
  const Kernel kernel = draw_kernel(random);
  auto image = loader::parse_image(kernel.file);
  require(image && image->problems.empty());
  const auto world = World::draw(random, std::move(*image));
  if (!world) {
    return 0;
  }
  check_memory(*world);
  check_kernel(*world, kernel);
  check_capture(*world);
  const auto targets = targets_of(*world);
  for (int i = 0; i < kMostMutations && !random.spent(); ++i) {
    mutate(*world, random, targets);
  }
  return 0;
}
