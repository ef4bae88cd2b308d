// SPDX-License-Identifier: BSD-2-Clause
// The address of a network card.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pvh::devices::net {

struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};

  // "52:54:00:12:34:56". Nothing for anything else, and for what no card may have: a group's
  // address, all zeros.
  [[nodiscard]] static std::optional<MacAddress> parse(std::string_view text);
  // A new one each time, locally administered.
  [[nodiscard]] static MacAddress random();
  // Always the same for one name on one host, and others for other names and hosts; locally
  // administered. (From /etc/machine-id, or the host's name where there is none.)
  [[nodiscard]] static MacAddress of_name(std::string_view name);

  [[nodiscard]] std::string text() const;

  friend bool operator==(const MacAddress&, const MacAddress&) = default;
};

}  // namespace pvh::devices::net
