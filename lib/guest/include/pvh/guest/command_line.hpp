// SPDX-License-Identifier: BSD-2-Clause
// The command line, word by word. Words are split at blanks outside of double quotes, which are
// taken off ("a b" and k="a b" are one word each); what follows a word "--" is for somebody else
// (init's, say). Bytes above 127 pass unchanged. Names are compared exactly.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pvh::guest {

struct Argument {
  std::string_view name;                  // up to the first '='
  std::optional<std::string_view> value;  // after it
};

class CommandLine {
 public:
  constexpr explicit CommandLine(std::string_view text) : rest_(text) {}

  // The next argument, nothing at the end or at "--". A quote that is never closed ends with the
  // text.
  [[nodiscard]] std::optional<Argument> next();
  // After next() gave nothing: what follows "--".
  [[nodiscard]] constexpr std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
  bool ended_ = false;
};

// The last argument of this name: later ones override.
[[nodiscard]] std::optional<Argument> find_argument(std::string_view command_line,
                                                    std::string_view name);

// A number: decimal, 0x hexadecimal or 0 octal, with an optional K, M, G, T; nothing when it is
// none or does not fit 64 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);

// virtio_mmio.device=SIZE@BASE:IRQ[:ID], as Firecracker and QEMU's microvm tell of their devices
// where there is no ACPI. Source: Linux, drivers/virtio/virtio_mmio.c.
struct VirtioMmioDevice {
  std::uint64_t base = 0;
  std::uint64_t size = 0;
  std::uint32_t irq = 0;
  std::optional<std::int32_t> id;

  friend constexpr bool operator==(const VirtioMmioDevice&, const VirtioMmioDevice&) = default;
};
inline constexpr std::string_view kVirtioMmioArgument = "virtio_mmio.device";
[[nodiscard]] std::optional<VirtioMmioDevice> parse_virtio_mmio(std::string_view value);

}  // namespace pvh::guest
