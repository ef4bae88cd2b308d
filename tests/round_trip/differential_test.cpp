// SPDX-License-Identifier: BSD-2-Clause
// Next to kernels in the field: on random machines, whatever FreeBSD or Linux would do, a capture
// is never less safe. Their choices are small models here, of what their sources do with the map
// and with boot data (FreeBSD's sys/x86/xen/pv.c after D35800, Linux's arch/x86/platform/pvh), and
// kind ones: where a source leaves room for doubt the model takes the safe way.
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/round_trip/world.hpp"

namespace pvh::round_trip {
namespace {

using guest::testing::BootBuilder;
using guest::testing::FakeMachine;
using guest::testing::FakeXen;
using guest::testing::ModuleRecord;

constexpr int kMachines = 3000;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
constexpr std::size_t kPeersCapacity = 128;  // of both, for Xen's answer

// A machine, as its monitor made it.
struct Scene {
  std::uint32_t version = 1;
  bool on_xen = false;
  std::vector<MapLine> lines;  // of the table, and what Xen answers
  std::uint64_t start_info = 0;
  std::uint64_t memmap = 0;
  std::uint32_t entries = 0;  // as start_info says; of version 0 what lies behind it
  std::uint64_t stale_memmap = 0;
  std::uint64_t modlist = 0;
  std::uint64_t command_line = 0;
  std::string text;
  std::vector<ModuleRecord> modules;
  std::uint64_t image_first = 0;
  std::uint64_t image_end = 0;
  std::size_t room = 0;  // for the map, of the capture
};

// ---- what is drawn

std::vector<MapLine> draw_lines(Random& random) {
  std::vector<MapLine> lines{{0, random.one_in(2) ? 0x9fc00u : 0xa0000u, 1}, {kMiB, 255 * kMiB, 1}};
  if (random.one_in(3)) {
    lines.push_back({4 * kGiB, (1 + random.upto(3)) * kGiB, 1});
  }
  constexpr std::array<std::uint64_t, 7> kCounts{0, 1, 3, 8, 130, 180, 310};
  const std::uint64_t more = random.one_of<std::uint64_t>(kCounts);
  const bool disjoint = random.one_in(3);
  for (std::uint64_t i = 0; i < more; ++i) {
    const std::uint64_t first = (2 + i) * 0x80000 + (disjoint ? 0 : random.upto(0x90000));
    const std::uint64_t size = 1 + random.upto(disjoint ? 0x7ffff : 0xa0000);
    const auto type = static_cast<std::uint32_t>(random.one_in(3) ? 1 : random.upto(9));
    lines.push_back({(disjoint ? 512 * kMiB : 0) + first, random.one_in(30) ? 0 : size, type});
  }
  if (random.one_in(12)) {
    lines.push_back({UINT64_MAX - random.upto(kGiB), kGiB, random.one_in(2) ? 1u : 2u});
  }
  if (more > kPeersCapacity && random.one_in(4)) {
    lines.resize(256, {512 * kMiB, 0, 1});
  }
  if (random.one_in(2)) {
    std::ranges::sort(lines, {}, &MapLine::addr);
  } else {
    for (std::size_t i = lines.size(); i > 1; --i) {
      std::swap(lines[i - 1], lines[random.upto(i - 1)]);
    }
  }
  return lines;
}

// Boot data in one of the families of places that monitors have: low, or behind kernel and modules.
void draw_places(Random& random, Scene& scene) {
  scene.image_first = (2 + random.upto(14)) * kMiB;
  scene.image_end = scene.image_first + 0x1000 * (1 + random.upto(0x400));
  std::uint64_t at = scene.image_end;
  const auto next = [&](std::uint64_t size) {
    at += 0x1000 * random.upto(0x100);
    const std::uint64_t place = at;
    at += (size + 0xfff) / 0x1000 * 0x1000;
    return place;
  };
  const std::uint64_t modules = random.one_in(3) ? 0 : 1 + random.upto(3);
  for (std::uint64_t i = 0; i < modules; ++i) {
    const std::uint64_t size = 1 + random.upto(0x40000);
    const bool high = random.one_in(8);
    const std::uint64_t place = high ? 4 * kGiB + 0x100000 * (1 + i) : next(size);
    scene.modules.push_back({place, size, random.one_in(2) ? 0x30000 + 0x100 * i : 0, 0});
  }
  const std::uint64_t table = scene.lines.size() * 24;
  const bool low = random.one_in(2);
  scene.start_info = low ? 0x6000 : next(0x1000);
  scene.modlist = low ? 0x6040 : next(0x1000);
  scene.memmap = low ? 0x7000 : next(table);
  scene.command_line = low ? 0x20000 : next(0x1000);
  scene.text = std::string(random.upto(2000), 'x');
}

Scene draw_scene(Random& random) {
  Scene scene;
  scene.lines = draw_lines(random);
  draw_places(random, scene);
  scene.version = static_cast<std::uint32_t>(random.upto(2));
  scene.on_xen = random.one_in(scene.version == 0 ? 1 : 3);
  if (scene.version == 0) {
    scene.stale_memmap = random.one_in(2) ? 0 : random.upto(64 * kMiB);
  }
  scene.entries = random.one_in(12) ? 0 : static_cast<std::uint32_t>(scene.lines.size());
  constexpr std::array<std::size_t, 3> kRooms{128, 256, 1024};
  scene.room = random.one_of<std::size_t>(kRooms);
  return scene;
}

ByteSet span_of(std::uint64_t first, std::uint64_t size) {
  ByteSet set;
  set.add(first, Wide{first} + size);
  return set;
}

// ---- the truth

struct Truth {
  ByteSet ram;       // whole pages of nothing else
  ByteSet reserved;  // pages that a line calls something else
  ByteSet in_use;    // pages of what a kernel was handed and itself
  // Of these, what the peers have not copied away before they allocate.
  ByteSet in_use_for_freebsd;
  ByteSet in_use_for_linux;
};

Truth truth_of(const Scene& scene) {
  Truth truth;
  truth.ram = strict_ram(scene.lines, 52);
  for (const MapLine& line : scene.lines) {
    if (line.type != 1) {
      truth.reserved.add(line.addr, std::min(Wide{line.addr} + line.size, kSpace));
    }
  }
  truth.reserved = truth.reserved.touched_pages();
  const ByteSet start_info = span_of(scene.start_info, scene.version == 0 ? 40 : 56);
  const ByteSet command_line = span_of(scene.command_line, scene.text.size() + 1);
  ByteSet late = span_of(scene.image_first, scene.image_end - scene.image_first);
  ByteSet early = start_info;
  early.add_all(command_line);
  for (const ModuleRecord& module : scene.modules) {
    late.add_all(span_of(module.paddr, module.size));
    early.add_all(span_of(scene.modlist, scene.modules.size() * 32));
    if (module.cmdline_paddr != 0) {
      early.add_all(span_of(module.cmdline_paddr, 8));
    }
  }
  if (scene.version > 0) {
    early.add_all(span_of(scene.memmap, std::uint64_t{scene.entries} * 24));
  }
  truth.in_use_for_linux = late.touched_pages();
  truth.in_use = late.touched_pages();
  truth.in_use.add_all(early.touched_pages());
  late.add_all(start_info);
  late.add_all(command_line);
  truth.in_use_for_freebsd = late.touched_pages();
  return truth;
}

bool is_unsafe(const std::optional<ByteSet>& uses, const Truth& truth, const ByteSet& in_use) {
  return uses && (uses->has_any(truth.reserved) || uses->has_any(in_use));
}

// ---- the peers: the pages that they allocate from; nothing when they stop before

struct Peer {
  std::optional<ByteSet> uses;
  bool overruns = false;  // writes behind its own table
};

std::vector<MapLine> first_lines(const std::vector<MapLine>& lines, std::size_t most) {
  return {lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(std::min(lines.size(), most))};
}

// Takes lines of RAM as they come; one that touches an earlier one is ignored, and what is not RAM
// is not subtracted from what is. Allocates below the kernel, and above the last thing that it
// knows of; keeps start_info, and the command line where it is parsed.
Peer freebsd(const Scene& scene) {
  std::vector<MapLine> lines;
  if (scene.version >= 1) {
    lines = first_lines(scene.lines, scene.entries);  // none, then it finds no memory
  } else if (scene.on_xen) {
    lines = first_lines(scene.lines, kPeersCapacity);
  } else {
    return {};
  }
  ByteSet ram;
  for (const MapLine& line : lines) {
    const Wide end = Wide{line.addr} + line.size;
    if (line.type == 1 && line.size != 0 && end <= kSpace && !ram.has_any(line.addr, end)) {
      ram.add(line.addr, end);
    }
  }
  if (ram.empty() || (!scene.modules.empty() && scene.modules[0].cmdline_paddr == 0)) {
    return {};  // it compares that text without looking whether there is one
  }
  Wide free_from = std::max<Wide>(scene.image_end, Wide{scene.start_info} + 56);
  // Without a look at the version.
  const std::uint64_t memmap = scene.version == 0 ? scene.stale_memmap : scene.memmap;
  if (memmap != 0) {
    free_from = std::max(free_from, Wide{memmap} + Wide{scene.entries} * 24);
  }
  for (const ModuleRecord& module : scene.modules) {
    free_from = std::max(free_from, Wide{module.paddr} + module.size);
  }
  ByteSet uses = ram.whole_pages();
  uses.remove(0, kPage);
  uses.remove(scene.image_first, (free_from + kPage - 1) / kPage * kPage);
  return {.uses = uses};
}

// Counts entries in eight bits, in a table of 128. Has copied start_info, map and command line
// before it allocates; keeps the first module as its initrd, by 32 bits of address and size, and
// knows of no other.
Peer linux_kernel(const Scene& scene) {
  std::vector<MapLine> lines;
  if (scene.version >= 1 && scene.entries > 0) {
    const std::size_t seen = scene.entries & 0xff;
    if (seen > kPeersCapacity) {
      return {.uses = {}, .overruns = true};
    }
    lines = first_lines(scene.lines, seen);
  } else if (scene.on_xen) {
    lines = first_lines(scene.lines, kPeersCapacity);
  }
  ByteSet uses = strict_ram(lines, 52);
  if (uses.empty()) {
    return {};
  }
  uses.remove(0, kMiB);
  uses.remove_all(span_of(scene.image_first, scene.image_end - scene.image_first).touched_pages());
  if (!scene.modules.empty()) {
    uses.remove_all(
        span_of(scene.modules[0].paddr & UINT32_MAX, scene.modules[0].size).touched_pages());
  }
  return {.uses = uses};
}

// ---- ours

std::optional<ByteSet> ours(const Scene& scene) {
  FakeMachine fake;
  std::optional<FakeXen> xen;
  if (scene.on_xen) {
    xen.emplace(fake);
  }
  fake.set_physical_bits(52);
  BootBuilder builder(fake);
  builder.version = scene.version;
  builder.map.clear();
  for (const MapLine& line : scene.lines) {
    builder.map.push_back({line.addr, line.size, line.type});
  }
  if (xen) {
    xen->map = builder.map;
  }
  builder.image =
      *base::Range::from_end(base::PhysAddr(scene.image_first), base::PhysAddr(scene.image_end));
  builder.start_info = scene.start_info;
  builder.memmap = scene.memmap;
  builder.memmap_entries = scene.entries;
  builder.modlist = scene.modlist;
  builder.modules = scene.modules;
  builder.command_line = scene.text;
  builder.command_line_address = scene.command_line;
  builder.sizes = {.entries = scene.room, .modules = 8, .reservations = 80, .strings = 4096};
  // Memory behind a version 0 that means something else, and the BIOS's, where an RSDP is sought.
  builder.low_memory = 0;
  fake.add_memory(scene.start_info, 0x40);
  fake.add_memory(0xe0000, 0x20000);
  const base::PhysAddr ebx = builder.place();
  if (scene.version == 0) {
    fake.put(scene.start_info + 40, base::Le64(scene.stale_memmap));
    fake.put(scene.start_info + 48, base::Le32(scene.entries));
  }
  for (const ModuleRecord& module : scene.modules) {
    if (module.cmdline_paddr != 0) {
      fake.put(module.cmdline_paddr, std::string_view("initrd.\0", 8));
    }
  }
  const auto boot = builder.capture_at(ebx);
  return boot ? std::optional(free_of(*boot)) : std::nullopt;
}

std::string text_of(const Scene& scene) {
  std::string text = fmt::format(
      "version {}, Xen {}, kernel {:#x}-{:#x}, start_info {:#x}, map of {} at {:#x}, room {}\n",
      scene.version, scene.on_xen, scene.image_first, scene.image_end, scene.start_info,
      scene.entries, scene.memmap, scene.room);
  for (const MapLine& line : scene.lines) {
    text += fmt::format("  {:#x} +{:#x} type {}\n", line.addr, line.size, line.type);
  }
  return text;
}

TEST(Differential, ACaptureIsNeverLessSafeThanFreeBsdOrLinux) {
  Random random(20261126);
  std::map<std::string, int> counts;
  for (int round = 0; round < kMachines; ++round) {
    const Scene scene = draw_scene(random);
    const Truth truth = truth_of(scene);
    const auto free = ours(scene);
    counts["ours boots"] += free ? 1 : 0;
    if (free) {
      const ByteSet wrong = free->minus(truth.ram);
      ASSERT_TRUE(wrong.empty()) << "round " << round << ": not RAM but free:\n"
                                 << wrong.text() << text_of(scene);
      ASSERT_FALSE(free->has_any(truth.reserved)) << "round " << round << text_of(scene);
      ASSERT_FALSE(free->has_any(truth.in_use)) << "round " << round << text_of(scene);
    }
    const Peer bsd = freebsd(scene);
    const Peer lx = linux_kernel(scene);
    const bool bsd_is_unsafe = is_unsafe(bsd.uses, truth, truth.in_use_for_freebsd);
    const bool lx_is_unsafe = lx.overruns || is_unsafe(lx.uses, truth, truth.in_use_for_linux);
    const auto count = [&](const char* what, bool is) { counts[what] += is ? 1 : 0; };
    count("FreeBSD uses what is reserved", bsd.uses && bsd.uses->has_any(truth.reserved));
    count("FreeBSD uses what is in use", bsd.uses && bsd.uses->has_any(truth.in_use_for_freebsd));
    count("FreeBSD is unsafe and ours boots", free && bsd_is_unsafe);
    count("FreeBSD stops and ours boots", free && !bsd.uses);
    count("Linux uses what is reserved", lx.uses && lx.uses->has_any(truth.reserved));
    count("Linux uses what is in use", lx.uses && lx.uses->has_any(truth.in_use_for_linux));
    count("Linux overruns its table", lx.overruns);
    count("Linux is unsafe and ours boots", free && lx_is_unsafe);
    count("Linux stops and ours boots", free && !lx.uses && !lx.overruns);
    count("all boot and are safe", free && bsd.uses && lx.uses && !bsd_is_unsafe && !lx_is_unsafe);
  }
  // Each kind of danger came up, or this would say nothing about it.
  for (const auto& [what, how_many] : counts) {
    EXPECT_GT(how_many, 20) << what;
    std::string key = what;
    std::ranges::replace(key, ' ', '_');
    RecordProperty(key, how_many);
  }
  EXPECT_GT(counts["ours boots"], kMachines / 2);
}

}  // namespace
}  // namespace pvh::round_trip
