// SPDX-License-Identifier: BSD-2-Clause
#include "options.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <ranges>
#include <vector>

#include <fmt/format.h>
#include <pvh/base/quantity.hpp>
#include <pvh/base/try.hpp>

namespace pvh::cli {
namespace {

constexpr std::size_t kMostDiskId = 20;

// What a device may do in a second: a number, and a unit or none.
Parsed<std::uint64_t> parse_rate(std::string_view key, std::string_view text) {
  const auto rate = base::parse_quantity(text, 0);
  if (!rate || *rate == 0) {
    return std::unexpected(
        fmt::format("{}={} is not a number for each second: write such as {}=1000 or {}=10M", key,
                    text, key, key));
  }
  return *rate;
}

// What stands between single commas; two of them are one that belongs to the text.
std::vector<std::string> split_at_commas(std::string_view text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (text.substr(i).starts_with(",,")) {
      parts.back() += ',';
      ++i;
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

// 0 to 2 mean something else, and 2^32 - 1 means any.
constexpr std::uint64_t kLeastCid = 3;
constexpr std::uint64_t kMostCid = UINT32_MAX - 1;

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
  const auto bytes = base::parse_quantity(text, 20);
  if (!bytes && bytes.error() == base::QuantityError::kMalformed) {
    return std::unexpected(
        fmt::format("\"{}\" is not a size: write a number and K, M, G or T, such as 512M", text));
  }
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
  const bool possible = whole && std::isfinite(seconds) && seconds > 0 && seconds <= kLongest;
  // Less than half a nanosecond is none, and a timer set to none never ends.
  const std::chrono::nanoseconds time(possible ? std::llround(seconds * 1e9) : 0);
  if (time.count() == 0) {
    return std::unexpected(fmt::format("\"{}\" is not a number of seconds above 0", text));
  }
  return time;
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

Parsed<vmm::DiskRequest> parse_disk(std::string_view text) {
  const std::vector<std::string> parts = split_at_commas(text);
  vmm::DiskRequest disk;
  disk.file.path = parts[0];
  if (disk.file.path.empty()) {
    return std::unexpected(fmt::format("\"{}\" names no file: write FILE or FILE,ro", text));
  }
  for (const std::string_view part : parts | std::views::drop(1)) {
    const std::size_t equals = std::min(part.find('='), part.size());
    const std::string_view key = part.substr(0, equals);
    const std::string_view value = part.substr(std::min(equals + 1, part.size()));
    if (part == "ro") {
      disk.file.read_only = true;
    } else if (part == "snapshot") {
      disk.file.snapshot = true;
    } else if (key == "id" && !value.empty()) {
      if (value.size() > kMostDiskId) {
        return std::unexpected(
            fmt::format("id={} is too long: a guest reads {} bytes", value, kMostDiskId));
      }
      disk.id = value;
    } else if (key == "bw") {
      disk.limits.bytes_per_second = TRY(parse_rate(key, value));
    } else if (key == "iops") {
      disk.limits.operations_per_second = TRY(parse_rate(key, value));
    } else {
      return std::unexpected(
          fmt::format("\"{}\" is none of ro, snapshot, id=NAME, bw=N and iops=N (a comma in a "
                      "file's name is written twice)",
                      part));
    }
  }
  if (disk.file.read_only && disk.file.snapshot) {
    return std::unexpected("ro and snapshot exclude each other: a snapshot takes writes");
  }
  return disk;
}

Parsed<vmm::VsockRequest> parse_vsock(std::string_view text) {
  constexpr std::string_view kCid = "cid=";
  constexpr std::string_view kUds = ",uds=";
  const std::size_t mark = std::min(text.find(kUds), text.size());
  vmm::VsockRequest request;
  if (text.starts_with(kCid) && mark + kUds.size() < text.size()) {
    request.path = text.substr(mark + kUds.size());
    const auto [end, error] =
        std::from_chars(text.data() + kCid.size(), text.data() + mark, request.cid);
    if (error == std::errc() && end == text.data() + mark && request.cid >= kLeastCid &&
        request.cid <= kMostCid) {
      return request;
    }
  }
  return std::unexpected(fmt::format(
      "\"{}\" is no vsock: write cid=N,uds=PATH, where N, from {} to {}, is the guest's address",
      text, kLeastCid, kMostCid));
}

Parsed<vmm::BalloonRequest> parse_balloon(std::string_view text) {
  constexpr std::string_view kUds = "uds=";
  vmm::BalloonRequest request;
  if (text.starts_with(kUds) && text.size() > kUds.size()) {
    request.control = text.substr(kUds.size());
  } else if (text != "true") {  // what a flag without a value has
    return std::unexpected(fmt::format(
        "\"{}\" is no control of a balloon: write --balloon or --balloon=uds=PATH", text));
  }
  return request;
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

Parsed<vmm::GdbAddress> parse_gdb_address(std::string_view text) {
  const auto refuse = [&] {
    return std::unexpected(fmt::format(
        "\"{}\" is no place to listen: write PORT, HOST:PORT with a numeric HOST, or unix:PATH",
        text));
  };
  constexpr std::string_view kUnix = "unix:";
  constexpr std::string_view kTcp = "tcp:";
  vmm::GdbAddress address;
  if (text.starts_with(kUnix)) {
    address.path = text.substr(kUnix.size());
    return address.path.empty() ? Parsed<vmm::GdbAddress>(refuse()) : address;
  }
  const std::string_view place = text.starts_with(kTcp) ? text.substr(kTcp.size()) : text;
  const auto colon = place.rfind(':');
  std::string_view host =
      colon == std::string_view::npos ? std::string_view() : place.substr(0, colon);
  const std::string_view port = colon == std::string_view::npos ? place : place.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.contains(':')) {
    return refuse();
  }
  if (!host.empty() && host != "localhost") {
    address.host = host;
  }
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (port.empty() || error != std::errc() || end != port.data() + port.size()) {
    return refuse();
  }
  return address;
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
    if (key == "bw") {
      const auto rate = parse_rate(key, value);
      if (!rate) {
        return std::unexpected(rate.error());
      }
      option.bytes_per_second = *rate;
    } else if (key == "mac") {
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
                                         is_tap ? "mac=MAC or bw=N"
                                                : "hostfwd=tcp:HOST:PORT-GUESTPORT, "
                                                  "mac=MAC or bw=N"));
    }
  }
  return option;
}

}  // namespace pvh::cli
