// SPDX-License-Identifier: BSD-2-Clause
#include "bsd-walk/boot.hpp"

#include <algorithm>

#include "bsd-walk/claims.hpp"
#include "bsd-walk/machine.hpp"

extern "C" const char _end[];

namespace pvh::kernels::bsd {

namespace {

constexpr bool is_delimiter(char c) {
  return c == ',' || c == ' ' || c == '\t' || c == '\n';
}

// Takes the next word off `text`. By hand: what string_view has for it needs a C++ library.
std::string_view take_word(std::string_view& text) {
  while (!text.empty() && is_delimiter(text.front())) {
    text.remove_prefix(1);
  }
  std::size_t size = 0;
  while (size < text.size() && !is_delimiter(text[size])) {
    ++size;
  }
  const std::string_view word(text.data(), size);
  text.remove_prefix(size);
  return word;
}

// The map, the modules and start_info itself are stepped over; the command line is not.
std::uint64_t first_free(const Boot& boot) {
  const abi::hvm_start_info& info = boot.info;
  std::uint64_t free = round_up(boot.address + sizeof(abi::hvm_start_info), kPage);
  free = std::max(free, round_up(reinterpret_cast<std::uint64_t>(&_end[0]) - kKernBase, kPage));
  if (info.memmap_paddr.get() != 0) {
    const std::uint64_t size =
        std::uint64_t{info.memmap_entries.get()} * sizeof(abi::hvm_memmap_table_entry);
    free = std::max(free, round_up(info.memmap_paddr.get() + size, kPage));
  }
  if (info.modlist_paddr.get() != 0) {
    for (std::uint32_t i = 0; i < info.nr_modules.get(); ++i) {
      const auto module = boot_read<abi::hvm_modlist_entry>(info.modlist_paddr.get() +
                                                            i * sizeof(abi::hvm_modlist_entry));
      free = std::max(free, round_up(module.paddr.get() + module.size.get(), kPage));
    }
  }
  return free;
}

}  // namespace

bool Environment::copy(std::uint64_t address) {
  if (address == 0) {
    return true;
  }
  for (; size_ < text_.size() && within(kBootReach, address + size_, 1); ++size_) {
    text_[size_] = boot_read<char>(address + size_);
    if (text_[size_] == 0) {
      return true;
    }
  }
  return false;
}

std::optional<std::string_view> Environment::value(std::string_view name, unsigned index) const {
  std::string_view rest(text_.data(), size_);
  for (std::string_view word = take_word(rest); !word.empty(); word = take_word(rest)) {
    std::string_view value = word;
    value.remove_prefix(word.starts_with(name) ? name.size() : word.size());
    if (value.starts_with('=') && index-- == 0) {
      value.remove_prefix(1);
      return value;
    }
  }
  return std::nullopt;
}

bool Environment::has(std::string_view wanted) const {
  std::string_view rest(text_.data(), size_);
  for (std::string_view word = take_word(rest); !word.empty(); word = take_word(rest)) {
    if (word == wanted) {
      return true;
    }
  }
  return false;
}

std::uint64_t take_number(std::string_view& text) {
  const unsigned base = text.starts_with("0x"sv) ? 16 : 10;
  text.remove_prefix(base == 16 ? 2 : 0);
  std::uint64_t number = 0;
  for (; !text.empty(); text.remove_prefix(1)) {
    const char c = text.front();
    unsigned digit = base;
    if (c >= '0' && c <= '9') {
      digit = static_cast<unsigned>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<unsigned>(c - 'a') + 10;
    }
    if (digit >= base) {
      break;
    }
    number = number * base + digit;
  }
  return number;
}

std::optional<std::uint64_t> Environment::number(std::string_view name) const {
  auto text = value(name);
  if (!text) {
    return std::nullopt;
  }
  return take_number(*text);
}

bool read_start_info(std::uint32_t address, Boot& boot, Environment& environment) {
  boot.address = address;
  const bool reached = within(kBootReach, address, sizeof(abi::hvm_start_info));
  judge(Claim::kInfoReach, reached, Line().text("it is at "sv).hex(address));
  if (!reached) {
    return false;
  }
  boot.info = boot_read<abi::hvm_start_info>(address);
  const abi::hvm_start_info& info = boot.info;
  const bool magic = info.magic.get() == abi::XEN_HVM_START_MAGIC_VALUE;
  judge(Claim::kInfoMagic, magic, Line().text("it is "sv).hex(info.magic.get()));
  if (!magic) {
    return false;
  }
  // Version 0 sends FreeBSD to a hypercall, which here nobody answers; what is read beyond the 40
  // bytes of that version, as it does read it, means nothing.
  const bool version = info.version.get() >= 1;
  judge(Claim::kInfoVersion, version,
        Line().text("version 0: FreeBSD asks Xen for a map and crashes"sv));
  judge(Claim::kInfoCommandLine, environment.copy(info.cmdline_paddr.get()),
        Line().text("no end, or out of reach, at "sv).hex(info.cmdline_paddr.get()));
  if (!version) {
    return false;
  }
  const std::uint32_t modules = info.nr_modules.get();
  const bool modules_good = modules == 0 && info.modlist_paddr.get() == 0;
  judge(Claim::kInfoModules, modules_good,
        modules == 0 ? Line().text("a list without modules at "sv).hex(info.modlist_paddr.get())
                     : Line().decimal(modules).text(" modules, which have no metadata"sv));
  const std::uint64_t map_size =
      std::uint64_t{info.memmap_entries.get()} * sizeof(abi::hvm_memmap_table_entry);
  const bool map = info.memmap_paddr.get() != 0 && map_size != 0 &&
                   within(kBootReach, info.memmap_paddr.get(), map_size);
  judge(Claim::kInfoMap, map,
        Line()
            .decimal(info.memmap_entries.get())
            .text(" entries at "sv)
            .hex(info.memmap_paddr.get()));
  if (!modules_good || !map) {
    return false;
  }
  boot.physfree = first_free(boot);
  note(Line().text("start_info "sv).hex(address).text(", physfree "sv).hex(boot.physfree));
  return true;
}

}  // namespace pvh::kernels::bsd
