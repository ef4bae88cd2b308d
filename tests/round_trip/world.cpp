// SPDX-License-Identifier: BSD-2-Clause
#include "tests/round_trip/world.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace pvh::round_trip {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kGiB = 1024 * kMiB;

constexpr std::size_t kMapEntries = 1024;
constexpr std::size_t kModules = 1024;

// Where kernels and modules get their bytes from.
const std::vector<std::byte>& content() {
  static const auto bytes = [] {
    std::vector<std::byte> made(3 * kMiB);
    std::uint32_t state = 1;
    for (std::byte& byte : made) {
      state = state * 1664525 + 1013904223;
      byte = std::byte(state >> 24);
    }
    return made;
  }();
  return bytes;
}

base::Bytes some_content(Random& random, std::uint64_t size) {
  return base::Bytes(content()).subspan(random.upto(content().size() - size), size);
}

// Without a NUL, and often with bytes above 127.
std::string some_text(Random& random, std::uint64_t size) {
  std::string text(size, ' ');
  for (char& c : text) {
    c = static_cast<char>(1 + random.upto(254));
  }
  return text;
}

std::uint64_t some_size(Random& random, std::uint64_t most) {
  return random.upto((std::uint64_t{1} << random.upto(std::bit_width(most) - 1)) - 1);
}

Wide end_of(base::Range range) {
  return Wide{range.last().value()} + 1;
}

// Segments near each other, as linkers make them; rarely so far apart that the loader puts
// something in between.
loader::Image some_image(Random& random) {
  loader::Image kernel;
  constexpr std::array<std::uint64_t, 7> kStarts{0x8000,   0x40000,   kMiB,     kMiB,
                                                 2 * kMiB, 16 * kMiB, 40 * kMiB};
  std::uint64_t at = random.one_of<std::uint64_t>(kStarts);
  const std::uint64_t segments = 1 + random.upto(3);
  kernel.elf = content();
  for (std::uint64_t i = 0; i < segments; ++i) {
    const std::uint64_t size = 1 + some_size(random, 256 * kKiB);
    const std::uint64_t in_file = random.upto(std::min<std::uint64_t>(size, 64 * kKiB));
    kernel.segments.push_back({.index = i,
                               .header_offset = 0,
                               .offset = random.upto(kMiB),
                               .file_size = in_file,
                               .paddr = base::PhysAddr(at),
                               .memory_size = base::ByteSize(size),
                               .vaddr = 0,
                               .alignment = 1,
                               .flags = 7});
    at += size + (random.one_in(20) ? random.upto(3 * kMiB) : random.upto(3 * 4096));
  }
  kernel.pvh_entry = kernel.segments[0].paddr;
  if (random.one_in(4)) {
    kernel.relocation = loader::Relocation{.alignment = std::uint64_t{0x1000} << random.upto(9),
                                           .min = base::PhysAddr(some_size(random, 16 * kMiB)),
                                           .max = base::PhysAddr(UINT32_MAX)};
  }
  return kernel;
}

}  // namespace

// ---- the machine

bool GuestMachine::read(base::PhysAddr address, base::MutableBytes out) {
  const auto wanted = base::Range::from_size(address, base::ByteSize(out.size()));
  if (!wanted) {
    return out.empty();
  }
  std::uint64_t answered = 0;
  if (holes_read_as_ones) {
    std::memset(out.data(), 0xff, out.size());
  }
  for (const auto& region : std::as_const(memory_).regions()) {
    const auto part = region.range.intersection(*wanted);
    if (!part) {
      continue;
    }
    const std::uint64_t size = part->size().value();
    const auto bytes = region.mapping.bytes().subspan(
        part->first().offset_from(region.range.first())->value(), size);
    std::memcpy(out.data() + part->first().offset_from(address)->value(), bytes.data(), size);
    answered += size;
  }
  return holes_read_as_ones || answered == out.size();
}

bool GuestMachine::write(base::PhysAddr address, base::Bytes bytes) {
  ADD_FAILURE() << fmt::format("{} bytes are written to {:#x}", bytes.size(), address.value());
  return false;
}

std::optional<base::MutableBytes> GuestMachine::view(base::Range range) {
  if (range.last().value() >= 4 * kGiB) {
    return std::nullopt;
  }
  for (auto& region : memory_.regions()) {
    if (region.range.contains(range)) {
      return region.mapping.bytes().subspan(
          range.first().offset_from(region.range.first())->value(), range.size().value());
    }
  }
  return std::nullopt;
}

std::optional<std::uint32_t> GuestMachine::read_mmio32(base::PhysAddr address) {
  ADD_FAILURE() << fmt::format("a device at {:#x} is read", address.value());
  return std::nullopt;
}

bool GuestMachine::write_mmio32(base::PhysAddr address, std::uint32_t /*value*/) {
  ADD_FAILURE() << fmt::format("a device at {:#x} is written", address.value());
  return false;
}

guest::CpuidResult GuestMachine::cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
  return processor_.machine().cpuid(leaf, subleaf);
}
std::uint64_t GuestMachine::read_msr(std::uint32_t index) {
  return processor_.machine().read_msr(index);
}
void GuestMachine::write_msr(std::uint32_t index, std::uint64_t value) {
  processor_.machine().write_msr(index, value);
}
std::uint64_t GuestMachine::read_tsc() {
  return processor_.machine().read_tsc();
}
std::uint32_t GuestMachine::in(std::uint16_t port, int width) {
  return static_cast<Backend&>(processor_).in(port, width);
}
void GuestMachine::out(std::uint16_t port, std::uint32_t value, int width) {
  static_cast<Backend&>(processor_).out(port, value, width);
}
std::intptr_t GuestMachine::hypercall(std::uint32_t number, guest::Word a, guest::Word b,
                                      guest::Word c, guest::Word d, guest::Word e) {
  return static_cast<Backend&>(processor_).hypercall(number, a, b, c, d, e);
}
void GuestMachine::pause() {
  processor_.machine().pause();
}

// ---- the world

std::unique_ptr<World> World::draw(Random& random) {
  return draw(random, some_image(random));
}

std::unique_ptr<World> World::draw(Random& random, loader::Image kernel) {
  std::unique_ptr<World> world(new World);
  world->kernel_ = std::move(kernel);
  world->draw_options(random);
  auto boot = vmm::plan_boot(world->kernel_, world->options_);
  if (!boot) {
    return nullptr;
  }
  world->boot_ = std::move(*boot);

  std::vector<base::Range> ranges = world->request().ram;
  if (world->request().table_memory) {
    ranges.push_back(*world->request().table_memory);
  }
  auto memory = guest_memory::GuestMemory::create(ranges);
  if (!memory) {
    return nullptr;
  }
  world->memory_.emplace(std::move(*memory));
  if (!loader::write(world->plan(), *world->memory_)) {
    return nullptr;
  }
  std::optional<base::Range> image;
  for (const loader::Piece& piece : world->plan().pieces) {
    if (piece.kind == loader::PieceKind::kSegment) {
      image =
          *base::Range::from_last(image ? image->first() : piece.range.first(), piece.range.last());
    }
  }
  world->image_ = *image;
  world->guest_.emplace(*world->memory_);
  world->guest_->holes_read_as_ones = random.one_in(2);
  world->draw_xen(random);
  return world;
}

void World::draw_options(Random& random) {
  using loader::Shape;
  constexpr std::array kShapes{Shape::kStrict, Shape::kStrict,      Shape::kQemu,
                               Shape::kQboot,  Shape::kFirecracker, Shape::kCloudHypervisor,
                               Shape::kXen,    Shape::kXen};
  options_.shape = random.one_of<Shape>(kShapes);
  const bool large = random.one_in(6);
  options_.memory = base::ByteSize(large ? 3 * kGiB + 4096 * random.upto(kGiB / 4096)
                                         : 4 * kMiB + some_size(random, 256 * kMiB));
  options_.cpus = 1 + static_cast<unsigned>(some_size(random, 64));
  options_.command_line =
      some_text(random, random.one_in(16) ? 65530 + random.upto(20) : some_size(random, 2040));
  options_.start_info_version = random.one_in(4) ? 0 : 1;
  options_.poison = random.one_in(2);

  const bool strict = options_.shape == Shape::kStrict;
  const bool xen = options_.shape == Shape::kXen;
  const std::uint64_t modules = random.upto(strict ? 8 : xen ? 2 : 1);
  for (std::uint64_t i = 0; i < modules; ++i) {
    const std::uint64_t size =
        random.one_in(16) ? random.upto(2 * kMiB) : some_size(random, 16 * kKiB);
    loader::ModuleRequest module{fmt::format("module {}", i), some_content(random, size), ""};
    if ((strict || xen) && !random.one_in(3)) {
      module.command_line = some_text(random, some_size(random, 1023));
    }
    options_.modules.push_back(std::move(module));
  }
}

void World::draw_xen(Random& random) {
  physical_bits_ = 36 + static_cast<std::uint32_t>(random.upto(10));
  on_xen_ = random.one_in(options_.start_info_version == 0 ? 1 : 3);
  auto& processor = guest_->processor();
  if (on_xen_) {
    using guest::testing::FakeXen;
    xen_.emplace(processor,
                 random.one_in(3) ? FakeXen::Viridian::kInFront : FakeXen::Viridian::kAbsent);
    xen_->map = plan().memory_map;
    if (random.one_in(2)) {
      // The rings' pages: at Xen's own place, or in RAM.
      constexpr std::uint64_t kConsole = 17;
      constexpr std::uint64_t kStore = 1;
      const std::uint64_t frames = request().ram.front().size().value() / 4096;
      const std::uint64_t console = random.one_in(2) ? 0xfefff : 1 + random.upto(frames - 2);
      xen_->params = {{kConsole, console}, {kStore, console - 1}};
      xen_pages_ = {console * 4096};
      if (console > 1) {
        xen_pages_.push_back((console - 1) * 4096);
      }
    }
  } else {
    processor.set_vendor("AuthenticAMD");
    processor.add_hypervisor(0x40000000, 0x40000001, std::string_view("KVMKVMKVM\0\0\0", 12));
  }
  processor.set_physical_bits(physical_bits_);
}

std::string World::text() const {
  std::string text = fmt::format(
      "{}, {:#x} bytes of RAM, version {}, {} modules, command line of {}, poison {}, xen {}, "
      "holes "
      "of ones {}\nkernel {:#x}-{:#x}\n",
      loader::to_string(options_.shape), options_.memory.value(), options_.start_info_version,
      options_.modules.size(), options_.command_line.size(), options_.poison, on_xen_,
      guest_->holes_read_as_ones, image_.first().value(), image_.last().value());
  for (const loader::Piece& piece : plan().pieces) {
    text += fmt::format("  {:#x}-{:#x} {} {}\n", piece.range.first().value(),
                        piece.range.last().value(), loader::to_string(piece.kind), piece.name);
  }
  for (const memory_map::RawEntry& entry : plan().memory_map) {
    text += fmt::format("  map {:#x} +{:#x} type {}\n", entry.addr, entry.size, entry.type);
  }
  return text;
}

std::expected<guest::Boot, guest::BootError> World::capture() {
  static guest::testing::HeapStorage storage({.entries = kMapEntries,
                                              .modules = kModules,
                                              .reservations = 2 * kModules + 400,
                                              .strings = 80 * kKiB});
  return guest::capture(guest_->machine(), guest::detect_hypervisors(guest_->machine()),
                        plan().start_info, image_, storage.spans());
}

Expectation World::expectation() {
  Surroundings around;
  around.read = [this](std::uint64_t address, std::span<std::byte> out) {
    return guest_->machine().read(base::PhysAddr(address), out);
  };
  around.start_info = plan().start_info.value();
  around.image_first = image_.first().value();
  around.image_end = end_of(image_);
  around.physical_bits = physical_bits_;
  around.on_xen = on_xen_;
  if (on_xen_ && xen_->map) {
    around.xen_map.emplace();
    for (const memory_map::RawEntry& entry : *xen_->map) {
      around.xen_map->push_back({entry.addr, entry.size, entry.type});
    }
  }
  around.xen_pages = xen_pages_;
  around.most_map_entries = kMapEntries;
  around.most_modules = kModules;
  return read_reference(around);
}

// ---- the verdict

ByteSet free_of(const guest::Boot& boot) {
  ByteSet free;
  for (const memory_map::Entry& entry : boot.free()) {
    free.add(entry.range.first().value(), end_of(entry.range));
  }
  return free;
}

namespace {

std::string judge_list(const guest::Boot& boot) {
  Wide end = 0;
  for (const memory_map::Entry& entry : boot.free()) {
    const Wide first = entry.range.first().value();
    if (entry.type != memory_map::Type::kRam || first % kPage != 0 ||
        end_of(entry.range) % kPage != 0 || (end != 0 && first <= end)) {
      return fmt::format("free() is not sorted, disjoint, merged, whole pages of RAM at {:#x}\n",
                         entry.range.first().value());
    }
    end = end_of(entry.range);
  }
  return "";
}

std::string judge_modules(const Expectation& expected, const guest::Boot& boot, World& world) {
  if (boot.modules().size() != expected.modules.size()) {
    return fmt::format("{} modules, not {}\n", boot.modules().size(), expected.modules.size());
  }
  const ByteSet free = free_of(boot);
  std::string wrong;
  for (std::size_t i = 0; i < expected.modules.size(); ++i) {
    const guest::Module& module = boot.modules()[i];
    const ExpectedModule& as = expected.modules[i];
    const bool same = module.range.has_value() == as.range.has_value() &&
                      (!as.range || (module.range->first().value() == as.range->first &&
                                     end_of(*module.range) == as.range->second));
    if (module.index != i || !same) {
      wrong += fmt::format("module {} has another place\n", i);
    }
    if (as.text && module.command_line != *as.text) {
      wrong += fmt::format("module {} has another text: {} bytes, not {}\n", i,
                           module.command_line.size(), as.text->size());
    }
    const bool in_ram = as.range && expected.called_ram.has_all(as.range->first, as.range->second);
    if (module.in_ram != in_ram) {
      wrong += fmt::format("module {} in RAM: {}\n", i, module.in_ram);
    }
    // A text that stays in guest memory must not be free.
    const auto* const text = reinterpret_cast<const std::byte*>(module.command_line.data());
    for (const auto& region : std::as_const(world.memory()).regions()) {
      const auto bytes = region.mapping.bytes();
      const bool here = !module.command_line.empty() && text >= bytes.data() &&
                        text < bytes.data() + bytes.size();
      const Wide at = here ? Wide{region.range.first().value()} +
                                 static_cast<std::uint64_t>(text - bytes.data())
                           : 0;
      if (here && free.has_any(at, at + module.command_line.size() + 1)) {
        wrong += fmt::format("the text of module {} is free\n", i);
      }
    }
  }
  return wrong;
}

std::string judge_boot(const Expectation& expected, const guest::Boot& boot, World& world) {
  std::string wrong = judge_list(boot) + judge_modules(expected, boot, world);
  if ((boot.map_source() == guest::MapSource::kXen) != expected.from_xen) {
    wrong += "the map is from the wrong source\n";
  }
  const auto raw = boot.raw_memory_map();
  const bool same_lines = std::ranges::equal(
      raw, expected.lines, [](const memory_map::RawEntry& entry, const MapLine& line) {
        return entry.addr == line.addr && entry.size == line.size && entry.type == line.type;
      });
  if (!same_lines) {
    wrong += fmt::format("{} lines of a map, or others than the {} expected\n", raw.size(),
                         expected.lines.size());
  }
  if (expected.command_line && boot.command_line() != *expected.command_line) {
    wrong += fmt::format("another command line: {} bytes, not {}\n", boot.command_line().size(),
                         expected.command_line->size());
  }
  const auto rsdp =
      boot.rsdp() ? std::optional(boot.rsdp()->address.value()) : std::optional<std::uint64_t>();
  if (rsdp != expected.rsdp) {
    wrong += fmt::format("RSDP at {:#x}, not {:#x}\n", rsdp.value_or(0), expected.rsdp.value_or(0));
  }
  ByteSet ram;
  for (const memory_map::Entry& entry : boot.memory_map()) {
    if (entry.type == memory_map::Type::kRam) {
      ram.add(entry.range.first().value(), end_of(entry.range));
    }
  }
  if (const ByteSet more = ram.minus(expected.ram); !more.empty()) {
    wrong += "called RAM without being it:\n" + more.text();
  }
  const ByteSet free = free_of(boot);
  if (const ByteSet more = free.minus(expected.may_be_free()); !more.empty()) {
    wrong += "free but not to be had:\n" + more.text();
  }
  return wrong;
}

}  // namespace

std::string judge(const Expectation& expected,
                  const std::expected<guest::Boot, guest::BootError>& captured, World& world) {
  if (!captured) {
    const guest::BootErrorCode code = captured.error().code;
    const bool allowed = expected.errors.contains(code) || expected.may_fail.contains(code);
    return allowed
               ? ""
               : fmt::format("it fails with {} {:#x}\n", guest::name(code), captured.error().value);
  }
  if (!expected.errors.empty()) {
    return fmt::format("it does not fail, where {} has to be told\n",
                       guest::name(*expected.errors.begin()));
  }
  return judge_boot(expected, *captured, world);
}

}  // namespace pvh::round_trip
