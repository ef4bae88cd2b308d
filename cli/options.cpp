// SPDX-License-Identifier: BSD-2-Clause
#include "options.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>

#include <fmt/format.h>
#include <pvh/base/checked.hpp>

namespace pvh::cli {
namespace {

std::optional<unsigned> shift_of_unit(std::string_view unit) {
  std::string upper(unit);
  std::ranges::transform(upper, upper.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (upper.size() >= 2 && upper.ends_with("IB")) {
    upper.resize(upper.size() - 2);
  } else if (upper.size() >= 2 && upper.ends_with('B')) {
    upper.resize(upper.size() - 1);
  }
  constexpr std::string_view kUnits = "KMGT";
  if (upper.empty() && unit.empty()) {
    return 20;
  }
  const auto place = upper.size() == 1 ? kUnits.find(upper[0]) : std::string_view::npos;
  if (place == std::string_view::npos) {
    return std::nullopt;
  }
  return static_cast<unsigned>(10 * (place + 1));
}

// Takes what stands before the next `separator`, and the separator.
std::string_view take_until(std::string_view& text, char separator) {
  const auto at = std::min(text.find(separator), text.size());
  const std::string_view head = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return head;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && port != 0 ? std::optional(port) : std::nullopt;
}

// As QEMU has it, without an address of the guest's: it has one.
Parsed<devices::net::Forward> parse_forward(std::string_view text) {
  using devices::net::Forward;
  std::string_view rest = text;
  const std::string_view protocol = take_until(rest, ':');
  const std::string host(take_until(rest, ':'));
  const auto host_port = parse_port(take_until(rest, '-'));
  const auto guest_port = parse_port(rest.starts_with(':') ? rest.substr(1) : rest);
  in_addr address{};
  const bool host_is_one = host.empty() || ::inet_pton(AF_INET, host.c_str(), &address) == 1;
  if ((protocol != "tcp" && protocol != "udp") || !host_is_one || !host_port || !guest_port) {
    return std::unexpected(
        fmt::format("\"hostfwd={}\" forwards nothing: write tcp:HOST:PORT-GUESTPORT (or udp), with "
                    "an IPv4 address or nothing as HOST, such as hostfwd=tcp:127.0.0.1:8080-80",
                    text));
  }
  return Forward{protocol == "tcp" ? Forward::Protocol::kTcp : Forward::Protocol::kUdp, host,
                 *host_port, *guest_port};
}

}  // namespace

Parsed<base::ByteSize> parse_size(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto shift = shift_of_unit(text.substr(static_cast<std::size_t>(end - text.data())));
  if (error == std::errc::invalid_argument || !shift) {
    return std::unexpected(
        fmt::format("\"{}\" is not a size: write a number and K, M, G or T, such as 512M", text));
  }
  const auto bytes =
      error == std::errc() ? base::checked_mul(number, std::uint64_t{1} << *shift) : std::nullopt;
  if (!bytes) {
    return std::unexpected(fmt::format("{} is more than a machine can have", text));
  }
  if (*bytes == 0) {
    return std::unexpected(fmt::format("a size of {} is none: write such as 512M", text));
  }
  return base::ByteSize(*bytes);
}

Parsed<std::chrono::nanoseconds> parse_seconds(std::string_view text) {
  double seconds = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), seconds, std::chars_format::fixed);
  constexpr double kLongest = 1e9;
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || !std::isfinite(seconds) || seconds <= 0 || seconds > kLongest) {
    return std::unexpected(fmt::format("\"{}\" is not a number of seconds above 0", text));
  }
  return std::chrono::nanoseconds(std::llround(seconds * 1e9));
}

Parsed<ModuleOption> parse_module(std::string_view text) {
  constexpr std::string_view kMark = ",cmdline=";
  const auto mark = text.find(kMark);
  ModuleOption option{std::string(text.substr(0, mark)), ""};
  if (mark != std::string_view::npos) {
    option.command_line = text.substr(mark + kMark.size());
  }
  if (option.path.empty()) {
    return std::unexpected(
        fmt::format("\"{}\" names no file: write FILE or FILE,cmdline=TEXT", text));
  }
  return option;
}

Parsed<vmm::ConsoleSpec> parse_console(std::string_view text) {
  using vmm::ConsoleKind;
  const auto equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  const std::string path(equals == std::string_view::npos ? "" : text.substr(equals + 1));
  const bool has_path = !path.empty();
  if (equals == std::string_view::npos && name == "stdio") {
    return vmm::ConsoleSpec{ConsoleKind::kStdio, ""};
  }
  if (equals == std::string_view::npos && name == "none") {
    return vmm::ConsoleSpec{ConsoleKind::kNone, ""};
  }
  if (equals == std::string_view::npos && name == "pty") {
    return vmm::ConsoleSpec{ConsoleKind::kPty, ""};
  }
  if (has_path && name == "file") {
    return vmm::ConsoleSpec{ConsoleKind::kFile, path};
  }
  if (has_path && name == "uds") {
    return vmm::ConsoleSpec{ConsoleKind::kUnixSocket, path};
  }
  return std::unexpected(
      fmt::format("\"{}\" is no console: write stdio, none, pty, file=PATH or uds=PATH", text));
}

Parsed<vmm::NetOption> parse_net(std::string_view text) {
  constexpr std::string_view kTap = "tap=";
  vmm::NetOption option;
  std::string_view rest = text;
  const std::string_view kind = take_until(rest, ',');
  const bool is_tap = kind.starts_with(kTap) && kind.size() > kTap.size();
  if (is_tap) {
    option.tap = kind.substr(kTap.size());
  } else if (kind != "user") {
    return std::unexpected(fmt::format(
        "\"{}\" is no network: write user or tap=NAME, and what follows behind a comma", kind));
  }
  while (!rest.empty()) {
    std::string_view value = take_until(rest, ',');
    const std::string_view word = value;
    const std::string_view key = take_until(value, '=');
    if (key == "mac") {
      option.mac = devices::net::MacAddress::parse(value);
      if (!option.mac) {
        return std::unexpected(fmt::format(
            "\"{}\" is no address for a card: write such as mac=52:54:00:12:34:56", word));
      }
    } else if (key == "hostfwd" && !is_tap) {
      auto forward = parse_forward(value);
      if (!forward) {
        return std::unexpected(std::move(forward.error()));
      }
      option.forwards.push_back(std::move(*forward));
    } else {
      return std::unexpected(fmt::format("\"{}\" is nothing that a network {} has: write {}", word,
                                         is_tap ? "tap" : "user",
                                         is_tap ? "mac=MAC"
                                                : "hostfwd=tcp:HOST:PORT-GUESTPORT or "
                                                  "mac=MAC"));
    }
  }
  return option;
}

}  // namespace pvh::cli
