// SPDX-License-Identifier: BSD-2-Clause
// A command line from the monitor's user to the kernel. The runtime splits any text into the words
// that a second splitter, character by character, finds. And what the monitor adds where there is
// no ACPI, its devices, is all read back by the guest, while every word that was there keeps its
// meaning and its order.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pvh/guest/command_line.hpp>
#include <pvh/vmm/machine.hpp>

#include "lib/base/testing/fuzz.hpp"

namespace {

using namespace pvh;
using fuzz::require;

struct Word {
  std::string name;
  std::optional<std::string> value;
  friend bool operator==(const Word&, const Word&) = default;
};

struct Line {
  std::vector<Word> words;
  std::string rest;  // of somebody else: behind "--"
};

bool is_blank(char c) {
  return std::string_view(" \t\n\r").contains(c);
}

std::string without_quotes(std::string text) {
  if (text.starts_with('"')) {
    text.erase(0, 1);
    if (text.ends_with('"')) {
      text.pop_back();
    }
  }
  return text;
}

Line split(std::string_view text) {
  Line line;
  std::string word;
  bool quoted = false;
  bool in_word = false;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    const bool ends = i == text.size() || (!quoted && is_blank(text[i]));
    if (!ends) {
      in_word = true;
      word += text[i];
      quoted = quoted != (text[i] == '"');
      continue;
    }
    if (in_word && word == "--") {
      line.rest = text.substr(i);
      line.rest.erase(0, std::min(line.rest.find_first_not_of(" \t\n\r"), line.rest.size()));
      return line;
    }
    if (in_word) {
      const std::string all = without_quotes(word);
      const auto equals = all.find('=');
      line.words.push_back(
          {all.substr(0, equals), equals == std::string::npos
                                      ? std::nullopt
                                      : std::optional(without_quotes(all.substr(equals + 1)))});
    }
    word.clear();
    in_word = false;
  }
  return line;
}

// By the runtime.
Line read(const std::string& text) {
  Line line;
  guest::CommandLine words(text);
  while (const auto argument = words.next()) {
    line.words.push_back(
        {std::string(argument->name),
         argument->value ? std::optional(std::string(*argument->value)) : std::nullopt});
  }
  require(!words.next());
  line.rest = words.rest();
  return line;
}

void check_splitting(const std::string& text) {
  const Line expected = split(text);
  const Line found = read(text);
  require(found.words == expected.words && found.rest == expected.rest);
  for (const Word& word : expected.words) {
    const auto last =
        std::ranges::find(expected.words.rbegin(), expected.words.rend(), word.name, &Word::name);
    const auto argument = guest::find_argument(text, word.name);
    require(argument && argument->name == word.name &&
            argument->value.has_value() == last->value.has_value());
    require(!last->value || *argument->value == *last->value);
  }
}

// A number by the C library, which reads the same bases.
void check_number(const std::string& text) {
  const auto found = guest::parse_number(text);
  if (!found) {
    return;
  }
  __extension__ using Wide = unsigned __int128;
  char* end = nullptr;
  errno = 0;
  const Wide number = std::strtoull(text.c_str(), &end, 0);
  const std::string_view unit(end);
  const auto place =
      std::string_view("kmgt").find(unit.empty() ? 'x' : static_cast<char>(unit[0] | 0x20));
  require(errno == 0 && (unit.empty() || (unit.size() == 1 && place != std::string_view::npos)));
  require(Wide{*found} == (unit.empty() ? number : number << (10 * (place + 1))));
}

void check_devices(FuzzedDataProvider& draw) {
  static const std::vector<std::byte> file(0x1000);
  loader::Image kernel;
  kernel.elf = file;
  kernel.pvh_entry = base::PhysAddr(0x100000);
  kernel.segments.push_back({.index = 0,
                             .header_offset = 0,
                             .offset = 0,
                             .file_size = 16,
                             .paddr = base::PhysAddr(0x100000),
                             .memory_size = base::ByteSize(0x1000),
                             .vaddr = 0x100000,
                             .alignment = 1,
                             .flags = 7});
  vmm::MachineOptions options;
  options.acpi = false;
  options.rng = draw.ConsumeBool();
  options.disks.resize(draw.ConsumeIntegralInRange<std::size_t>(0, 3));
  for (auto& disk : options.disks) {
    disk.file.path = "d";
  }
  options.command_line = draw.ConsumeRemainingBytesAsString();
  std::erase(options.command_line, '\0');
  const auto boot = vmm::plan_boot(kernel, options);
  if (!boot) {
    return;
  }
  const std::string& text = (*boot)->request.command_line;
  Line line = read(text);
  std::vector<guest::VirtioMmioDevice> devices;
  std::erase_if(line.words, [&](const Word& word) {
    const auto device = word.name == guest::kVirtioMmioArgument && word.value
                            ? guest::parse_virtio_mmio(*word.value)
                            : std::nullopt;
    if (device) {
      devices.push_back(*device);
    }
    return device.has_value();
  });
  Line before = split(options.command_line);
  std::size_t given = 0;  // devices that the user named himself
  std::erase_if(before.words, [&](const Word& word) {
    const bool device = word.name == guest::kVirtioMmioArgument && word.value &&
                        guest::parse_virtio_mmio(*word.value).has_value();
    given += device ? 1 : 0;
    return device;
  });
  require(line.words == before.words && line.rest == before.rest ? "" : "it became: " + text);
  require(devices.size() == (*boot)->virtio.size() + given);
  for (const vmm::VirtioSlot& slot : (*boot)->virtio) {
    require(std::ranges::any_of(devices, [&](const guest::VirtioMmioDevice& device) {
      return device.base == slot.registers.first().value() &&
             device.size == slot.registers.size().value() && device.irq == slot.gsi;
    }));
  }
}

void check_device_text(const std::string& text) {
  const auto device = guest::parse_virtio_mmio(text);
  if (!device) {
    return;
  }
  require(device->size != 0 && device->size - 1 <= UINT64_MAX - device->base);
  std::string again = std::to_string(device->size) + "@" + std::to_string(device->base) + ":" +
                      std::to_string(device->irq);
  again += device->id ? ":" + std::to_string(*device->id) : "";
  require(guest::parse_virtio_mmio(again) == device);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider draw(data, size);
  if (draw.ConsumeBool()) {
    check_devices(draw);
    return 0;
  }
  std::string text = draw.ConsumeRemainingBytesAsString();
  check_splitting(text);
  std::erase(text, '\0');
  check_number(text);
  check_device_text(text);
  return 0;
}
