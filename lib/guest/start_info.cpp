// SPDX-License-Identifier: BSD-2-Clause
#include <span>

#include <pvh/base/bytes.hpp>
#include <pvh/guest/start_info.hpp>

namespace pvh::guest {
namespace {

constexpr std::uint32_t kNewestVersion = 1;

// EBX has 32 bits, so all that it leads to lies below 4 GiB.
bool fits(base::PhysAddr address, std::size_t size) {
  return address.value() <= (std::uint64_t{1} << 32) - size;
}

std::optional<base::PhysAddr> present(base::Le64 address) {
  return address.get() == 0 ? std::nullopt : std::optional(base::PhysAddr(address.get()));
}

}  // namespace

std::expected<void, BootError> read_start_info(Machine& machine, base::PhysAddr address,
                                               Diagnostics& diagnostics, StartInfo& info) {
  if (address.value() == 0) {
    return std::unexpected(BootError{BootErrorCode::kNoStartInfo});
  }
  const std::unexpected unreadable(BootError{BootErrorCode::kStartInfoUnreadable, address.value()});
  abi::hvm_start_info raw{};
  const base::MutableBytes bytes = std::as_writable_bytes(std::span(&raw, 1));
  const base::MutableBytes version_0 = bytes.first(abi::kStartInfoSizeV0);
  if (!fits(address, version_0.size()) || !machine.read(address, version_0)) {
    return unreadable;
  }
  if (raw.magic.get() != abi::XEN_HVM_START_MAGIC_VALUE) {
    return std::unexpected(BootError{BootErrorCode::kBadMagic, raw.magic.get()});
  }
  info.address = address;
  info.version = raw.version.get();
  if (info.version > kNewestVersion) {
    diagnostics.add(DiagnosticKind::kNewerVersion, info.version);
  }
  if (info.has_map_fields()) {
    const base::PhysAddr rest(address.value() + version_0.size());
    if (!fits(address, bytes.size()) || !machine.read(rest, bytes.subspan(version_0.size()))) {
      return unreadable;
    }
  }
  info.flags = raw.flags.get();
  info.nr_modules = raw.nr_modules.get();
  info.modlist = present(raw.modlist_paddr);
  info.command_line = present(raw.cmdline_paddr);
  info.rsdp = present(raw.rsdp_paddr);
  // Of version 0 these are the zeros that they were above.
  info.memmap = present(raw.memmap_paddr);
  info.memmap_entries = raw.memmap_entries.get();
  return {};
}

RawStartInfo read_raw_start_info(Machine& machine, base::PhysAddr address) {
  RawStartInfo raw;
  for (std::uint32_t& word : raw.words) {
    const std::uint64_t offset = raw.count * sizeof(word);
    const auto place = address.checked_add(base::ByteSize(offset));
    if (!place || !machine.read(*place, std::as_writable_bytes(std::span(&word, 1)))) {
      word = 0;
      break;
    }
    ++raw.count;
  }
  return raw;
}

}  // namespace pvh::guest
