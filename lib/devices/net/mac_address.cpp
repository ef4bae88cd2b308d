// SPDX-License-Identifier: BSD-2-Clause
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>

#include <fmt/format.h>
#include <pvh/devices/net/mac_address.hpp>

namespace pvh::devices::net {
namespace {

constexpr std::uint8_t kGroup = 1;
constexpr std::uint8_t kLocal = 2;

MacAddress local(std::uint64_t number) {
  MacAddress mac;
  for (std::uint8_t& byte : mac.bytes) {
    byte = static_cast<std::uint8_t>(number);
    number >>= 8;
  }
  mac.bytes[0] = static_cast<std::uint8_t>((mac.bytes[0] & ~kGroup) | kLocal);
  return mac;
}

std::string host() {
  std::string id;
  if (std::ifstream file("/etc/machine-id"); std::getline(file, id) && !id.empty()) {
    return id;
  }
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

}  // namespace

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
  MacAddress mac;
  if (text.size() != 3 * mac.bytes.size() - 1) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < mac.bytes.size(); ++i) {
    const char* const digits = text.data() + 3 * i;
    const auto [end, error] = std::from_chars(digits, digits + 2, mac.bytes[i], 16);
    if (error != std::errc() || end != digits + 2 || (i != 0 && digits[-1] != ':')) {
      return std::nullopt;
    }
  }
  const bool is_group = (mac.bytes[0] & kGroup) != 0;
  return is_group || mac == MacAddress{} ? std::nullopt : std::optional(mac);
}

MacAddress MacAddress::random() {
  std::uint64_t number = 0;
  // Fails at most while the host boots; then it waits.
  static_cast<void>(::getrandom(&number, sizeof(number), 0));
  return local(number);
}

MacAddress MacAddress::of_name(std::string_view name) {
  // FNV-1a, 64 bits, and a last mix, so that close names are not close addresses.
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : host() + '/' + std::string(name)) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return local(hash ^ hash >> 32);
}

std::string MacAddress::text() const {
  return fmt::format("{:02x}", fmt::join(bytes, ":"));
}

}  // namespace pvh::devices::net
