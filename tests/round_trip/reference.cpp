// SPDX-License-Identifier: BSD-2-Clause
#include "tests/round_trip/reference.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace pvh::round_trip {
namespace {

using guest::BootErrorCode;

constexpr std::uint64_t kLongestText = 65536;      // with its NUL
constexpr std::uint64_t kLongestTable = 1u << 24;  // of ACPI's
constexpr std::size_t kMostTables = 128;           // that a root may be asked to list
constexpr std::uint32_t kMostLines = 65536;
constexpr std::uint32_t kMostModules = 4096;

class Reader {
 public:
  explicit Reader(const Surroundings& surroundings) : around_(surroundings) {}

  Expectation read() {
    if (read_start_info()) {
      choose_map();
      read_modules();
      read_command_line();
      read_acpi();
      read_mp_table();
      for (const std::uint64_t page : around_.xen_pages) {
        expected_.in_use.add(page, Wide{page} + kPage);
      }
      expected_.in_use.add(around_.image_first, around_.image_end);
    }
    return std::move(expected_);
  }

 private:
  // ---- numbers

  [[nodiscard]] std::optional<std::vector<std::byte>> bytes(Wide address, Wide size) const {
    if (address + size > kSpace || size > kLongestTable) {
      return std::nullopt;
    }
    std::vector<std::byte> result(static_cast<std::size_t>(size));
    return around_.read(static_cast<std::uint64_t>(address), result) ? std::optional(result)
                                                                     : std::nullopt;
  }
  static std::uint64_t number(std::span<const std::byte> from, std::size_t offset,
                              std::size_t size) {
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;) {
      value = value << 8 | std::to_integer<std::uint64_t>(from[offset + i]);
    }
    return value;
  }
  [[nodiscard]] std::optional<std::uint64_t> number_at(Wide address, std::size_t size) const {
    std::array<std::byte, 8> read{};
    const auto part = std::span(read).first(size);
    const bool there =
        address + size <= kSpace && around_.read(static_cast<std::uint64_t>(address), part);
    return there ? std::optional(number(part, 0, size)) : std::nullopt;
  }
  void must_fail(BootErrorCode code) { expected_.errors.insert(code); }
  [[nodiscard]] bool over_image(Wide first, Wide end) const {
    return first < around_.image_end && around_.image_first < end;
  }

  // ---- start_info

  bool read_start_info() {
    const std::uint64_t at = around_.start_info;
    if (at == 0) {
      must_fail(BootErrorCode::kNoStartInfo);
      return false;
    }
    const auto head = bytes(at, 40);
    if (!head) {
      must_fail(BootErrorCode::kStartInfoUnreadable);
      return false;
    }
    if (number(*head, 0, 4) != 0x336ec578) {
      must_fail(BootErrorCode::kBadMagic);
      return false;
    }
    has_map_fields_ = number(*head, 4, 4) >= 1;
    nr_modules_ = number(*head, 12, 4);
    modlist_ = number(*head, 16, 8);
    command_line_ = number(*head, 24, 8);
    rsdp_ = number(*head, 32, 8);
    if (has_map_fields_) {
      const auto tail = bytes(Wide{at} + 40, 16);
      if (!tail) {
        must_fail(BootErrorCode::kStartInfoUnreadable);
        return false;
      }
      memmap_ = number(*tail, 0, 8);
      memmap_entries_ = static_cast<std::uint32_t>(number(*tail, 8, 4));
    }
    const Wide end = Wide{at} + (has_map_fields_ ? 56 : 40);
    if (over_image(at, end)) {
      must_fail(BootErrorCode::kStartInfoInsideImage);
    }
    expected_.in_use.add(at, end);
    return true;
  }

  // ---- the map

  void choose_map() {
    if (!has_map_fields_ || memmap_entries_ == 0) {
      ask_xen(has_map_fields_ ? BootErrorCode::kEmptyMap : BootErrorCode::kVersion0WithoutXen);
      return;
    }
    if (memmap_ == 0) {
      ask_xen(BootErrorCode::kMalformedMemmap);
      return;
    }
    if (memmap_entries_ > kMostLines) {
      must_fail(BootErrorCode::kMemmapTooLarge);
      return;
    }
    if (memmap_entries_ > around_.most_map_entries) {
      must_fail(BootErrorCode::kMapStorageTooSmall);
      if (!bytes(memmap_, Wide{memmap_entries_} * 24)) {
        must_fail(BootErrorCode::kMalformedMemmap);
      }
      return;
    }
    const auto table = bytes(memmap_, Wide{memmap_entries_} * 24);
    if (!table) {
      ask_xen(BootErrorCode::kMalformedMemmap);
      return;
    }
    std::vector<MapLine> lines(memmap_entries_);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      lines[i] = {number(*table, i * 24, 8), number(*table, i * 24 + 8, 8),
                  static_cast<std::uint32_t>(number(*table, i * 24 + 16, 4))};
    }
    // Whatever the map turns out to be, the table is where it is.
    expected_.in_use.add(memmap_, Wide{memmap_} + Wide{memmap_entries_} * 24);
    if (strict_ram(lines, around_.physical_bits).empty()) {
      ask_xen(BootErrorCode::kNoUsableRam);
      return;
    }
    take(std::move(lines));
  }

  void ask_xen(BootErrorCode without) {
    if (!around_.on_xen) {
      must_fail(without);
      return;
    }
    if (!around_.xen_map) {
      must_fail(BootErrorCode::kMapHypercallFailed);
      must_fail(without);
      return;
    }
    expected_.from_xen = true;
    if (strict_ram(*around_.xen_map, around_.physical_bits).empty()) {
      must_fail(BootErrorCode::kNoUsableRam);
      return;
    }
    take(*around_.xen_map);
  }

  void take(std::vector<MapLine> lines) {
    expected_.called_ram = called_ram(lines);
    expected_.ram = strict_ram(lines, around_.physical_bits);
    expected_.lines = std::move(lines);
  }

  // ---- texts

  // What can be read of the text, at most up to the limit and without its NUL.
  struct Text {
    std::string text;
    bool terminated = false;
    [[nodiscard]] Wide size() const { return Wide{text.size()} + (terminated ? 1 : 0); }
  };
  [[nodiscard]] Text text_at(std::uint64_t address) const {
    Text read;
    while (read.text.size() < kLongestText) {
      const Wide at = Wide{address} + read.text.size();
      const Wide want = std::min<Wide>(kPage - at % kPage, kLongestText - read.text.size());
      auto part = bytes(at, want);
      if (!part) {
        // A part of a page may be there.
        part.emplace();
        for (Wide i = 0; i < want; ++i) {
          if (const auto byte = number_at(at + i, 1)) {
            part->push_back(std::byte(*byte));
          } else {
            break;
          }
        }
      }
      const auto nul = std::ranges::find(*part, std::byte{0});
      for (const std::byte byte : std::ranges::subrange(part->begin(), nul)) {
        read.text.push_back(static_cast<char>(byte));
      }
      if (nul != part->end()) {
        read.terminated = true;
        return read;
      }
      if (part->size() < want) {
        break;
      }
    }
    return read;
  }

  // A text without an end is none, but somebody put something there.
  void read_command_line() {
    expected_.command_line = "";
    if (command_line_ == 0) {
      return;
    }
    const Text text = text_at(command_line_);
    const Wide end = Wide{command_line_} + text.size();
    expected_.in_use.add(command_line_, end);
    if (text.terminated) {
      expected_.command_line = text.text;
    }
    if (over_image(command_line_, end)) {
      (text.terminated ? expected_.errors : expected_.may_fail)
          .insert(BootErrorCode::kCommandLineOverImage);
    }
  }

  // ---- modules

  void read_modules() {
    if (nr_modules_ == 0) {
      return;
    }
    const auto list = modlist_ == 0 ? std::nullopt : bytes(modlist_, Wide{nr_modules_} * 32);
    if (nr_modules_ > std::min<std::uint64_t>(kMostModules, around_.most_modules)) {
      if (list) {
        must_fail(BootErrorCode::kTooManyModules);
      } else {
        expected_.may_fail.insert(BootErrorCode::kTooManyModules);
      }
      return;
    }
    if (!list) {
      return;
    }
    expected_.in_use.add(modlist_, Wide{modlist_} + list->size());
    for (std::size_t i = 0; i < nr_modules_; ++i) {
      read_module(number(*list, i * 32, 8), number(*list, i * 32 + 8, 8),
                  number(*list, i * 32 + 16, 8));
    }
  }

  void read_module(std::uint64_t address, std::uint64_t size, std::uint64_t text_address) {
    ExpectedModule module;
    const Wide end = Wide{address} + size;
    const bool whole_space = address == 0;
    if (!whole_space && size != 0 && end <= kSpace) {
      module.range = {address, end};
      expected_.in_use.add(address, end);
      if (over_image(address, end)) {
        must_fail(BootErrorCode::kModuleOverImage);
      }
    }
    module.text = "";
    if (text_address != 0) {
      read_module_text(text_address, module);
    }
    expected_.modules.push_back(module);
  }

  // Monitors leave garbage in the pointer, so that only what lies in RAM must be believed.
  void read_module_text(std::uint64_t address, ExpectedModule& module) {
    const Text text = text_at(address);
    const Wide end = Wide{address} + text.size();
    const bool in_ram = expected_.called_ram.has_all(address, end) && !over_image(address, end);
    if (in_ram) {
      expected_.in_use.add(address, end);
    }
    if (text.terminated && !in_ram) {
      module.text.reset();
    } else if (text.terminated) {
      module.text = text.text;
    }
  }

  // ---- ACPI

  [[nodiscard]] static bool sums_to_zero(std::span<const std::byte> part) {
    unsigned sum = 0;
    for (const std::byte byte : part) {
      sum += std::to_integer<unsigned>(byte);
    }
    return sum % 256 == 0;
  }

  struct Root {
    std::uint64_t address;
    std::size_t entry_size;
  };
  // What the root pointer at `address` leads to, if it is one.
  [[nodiscard]] std::optional<Root> root_pointer(std::uint64_t address) const {
    const auto head = bytes(address, 20);
    if (!head || std::memcmp(head->data(), "RSD PTR ", 8) != 0 || !sums_to_zero(*head)) {
      return std::nullopt;
    }
    if (number(*head, 15, 1) < 2) {
      return Root{number(*head, 16, 4), 4};
    }
    const auto all = bytes(address, 36);
    if (!all || number(*all, 20, 4) < 36 || !sums_to_zero(*all)) {
      return std::nullopt;
    }
    const std::uint64_t xsdt = number(*all, 24, 8);
    return xsdt != 0 ? Root{xsdt, 8} : Root{number(*all, 16, 4), 4};
  }

  void read_acpi() {
    std::optional<Root> root = rsdp_ == 0 ? std::nullopt : root_pointer(rsdp_);
    if (root) {
      expected_.rsdp = rsdp_;
    } else if (!around_.on_xen) {
      root = search();
    }
    if (!root) {
      return;
    }
    const auto revision = number_at(Wide{*expected_.rsdp} + 15, 1);
    expected_.in_use.add(*expected_.rsdp, Wide{*expected_.rsdp} + (*revision >= 2 ? 36 : 20));
    const auto table = use_table(root->address);
    if (!table) {
      return;
    }
    const std::size_t entries = std::min((table->size() - 36) / root->entry_size, kMostTables);
    for (std::size_t i = 0; i < entries; ++i) {
      const auto listed = use_table(number(*table, 36 + i * root->entry_size, root->entry_size));
      if (listed && std::memcmp(listed->data(), "FACP", 4) == 0) {
        use_what_fadt_names(*listed);
      }
    }
  }

  // Whether a signature's first four bytes may be at `at`: most places can be ruled out by the
  // page.
  bool may_be_at(std::uint64_t at, std::uint32_t first_bytes) {
    if (page_of_ != at / 4096) {
      page_of_ = at / 4096;
      page_ = bytes(Wide{at} / kPage * kPage, kPage);
    }
    return !page_ || number(*page_, at % 4096, 4) == first_bytes;
  }

  std::optional<Root> search() {
    const auto ebda = number_at(0x40e, 2);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
    if (ebda && *ebda != 0) {
      places.emplace_back(*ebda << 4, (*ebda << 4) + 0x400);
    }
    places.emplace_back(0xe0000, 0x100000);
    for (const auto& [first, end] : places) {
      for (std::uint64_t at = first; at + 16 <= end; at += 16) {
        const auto root = may_be_at(at, 0x20445352) ? root_pointer(at) : std::nullopt;
        if (root) {
          expected_.rsdp = at;
          return root;
        }
      }
    }
    return std::nullopt;
  }

  // A table is in use for as long as its header says, also when its sum or signature is wrong:
  // other readers of ACPI, less strict ones, will look at it.
  // Answers with as much of it as can matter.
  std::optional<std::vector<std::byte>> use_table(std::uint64_t address) {
    constexpr std::uint64_t kInteresting = 36 + 8 * kMostTables;
    const auto length = address == 0 ? std::nullopt : number_at(Wide{address} + 4, 4);
    if (!length || *length < 36 || *length > kLongestTable || !is_all_there(address, *length)) {
      return std::nullopt;
    }
    expected_.in_use.add(address, Wide{address} + *length);
    return bytes(address, std::min(*length, kInteresting));
  }

  // What is there is there in whole pages.
  [[nodiscard]] bool is_all_there(std::uint64_t address, std::uint64_t size) const {
    for (Wide at = address; at < Wide{address} + size; at = (at / kPage + 1) * kPage) {
      if (!number_at(at, 1)) {
        return false;
      }
    }
    return true;
  }

  // Both forms of each pointer: who reads which is not for a reader to say.
  void use_what_fadt_names(std::span<const std::byte> fadt) {
    constexpr std::array<std::pair<std::size_t, std::size_t>, 4> kPointers{
        {{36, 4}, {40, 4}, {132, 8}, {140, 8}}};  // FACS, DSDT, X_FACS, X_DSDT
    for (const auto& [offset, size] : kPointers) {
      if (fadt.size() >= offset + size) {
        use_table(number(fadt, offset, size));
      }
    }
  }

  // ---- the MP table, which some monitors leave at the end of base memory without saying so

  void read_mp_table() {
    const std::uint64_t ebda = number_at(0x40e, 2).value_or(0) << 4;
    if (ebda == 0 || !search_mp_table(ebda)) {
      search_mp_table(0x9fc00);
    }
  }

  bool search_mp_table(std::uint64_t first) {
    for (std::uint64_t at = first; at < first + 0x400; at += 16) {
      const auto pointer = may_be_at(at, 0x5f504d5f) ? bytes(at, 16) : std::nullopt;
      if (!pointer || std::memcmp(pointer->data(), "_MP_", 4) != 0 || !sums_to_zero(*pointer)) {
        continue;
      }
      expected_.in_use.add(at, Wide{at} + 16);
      const std::uint64_t table = number(*pointer, 4, 4);
      const auto header = table == 0 ? std::nullopt : bytes(table, 44);
      if (header && std::memcmp(header->data(), "PCMP", 4) == 0) {
        expected_.in_use.add(table, Wide{table} + number(*header, 4, 2));
      }
      return true;
    }
    return false;
  }

  const Surroundings& around_;
  Expectation expected_;
  std::optional<std::uint64_t> page_of_;
  std::optional<std::vector<std::byte>> page_;
  bool has_map_fields_ = false;
  std::uint64_t nr_modules_ = 0;
  std::uint64_t modlist_ = 0;
  std::uint64_t command_line_ = 0;
  std::uint64_t rsdp_ = 0;
  std::uint64_t memmap_ = 0;
  std::uint32_t memmap_entries_ = 0;
};

}  // namespace

namespace {

ByteSet bytes_of(std::span<const MapLine> lines, bool of_ram) {
  ByteSet bytes;
  for (const MapLine& line : lines) {
    const Wide end = Wide{line.addr} + line.size;
    const bool is_ram = line.type == 1;
    // RAM that wraps is nobody's word for anything; whatever else does ends at the top.
    if (is_ram == of_ram && !(is_ram && end > kSpace)) {
      bytes.add(line.addr, std::min(end, kSpace));
    }
  }
  return bytes;
}

}  // namespace

ByteSet called_ram(std::span<const MapLine> lines) {
  return bytes_of(lines, true).minus(bytes_of(lines, false));
}

ByteSet strict_ram(std::span<const MapLine> lines, std::uint32_t physical_bits) {
  ByteSet pages = bytes_of(lines, true).whole_pages();
  pages.remove_all(bytes_of(lines, false).touched_pages());
  pages.remove(0, kPage);
  pages.remove(0xa0000, 0x100000);
  pages.remove(Wide{1} << physical_bits, kSpace);
  return pages;
}

Expectation read_reference(const Surroundings& surroundings) {
  return Reader(surroundings).read();
}

}  // namespace pvh::round_trip
