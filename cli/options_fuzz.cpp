// SPDX-License-Identifier: BSD-2-Clause
// The values of options in two directions. What is written as options.hpp says means what it was
// written for. Any other text is refused in words, or means something which, written down, means
// the same again. And whole command lines, word by word, give a machine or a refusal.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lib/base/testing/fuzz.hpp"
#include "machine_arguments.hpp"
#include "options.hpp"

namespace {

using namespace pvh;
using namespace pvh::cli;
using fuzz::require;

// ---- how a value is written

std::string write(base::ByteSize size) {
  return fmt::format("{}K", size.value() >> 10);
}
std::string write(std::chrono::nanoseconds time) {
  return fmt::format("{}.{:09}", time.count() / 1'000'000'000, time.count() % 1'000'000'000);
}
std::string write(const ModuleOption& module) {
  return module.path + (module.command_line.empty() ? "" : ",cmdline=" + module.command_line);
}
std::string twice(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    escaped += c == ',' ? ",," : std::string(1, c);
  }
  return escaped;
}
std::string write(const vmm::DiskRequest& disk) {
  std::string text = twice(disk.file.path);
  text += disk.file.read_only ? ",ro" : "";
  text += disk.file.snapshot ? ",snapshot" : "";
  text += disk.id.empty() ? "" : ",id=" + twice(disk.id);
  if (disk.limits.bytes_per_second != 0) {
    text += fmt::format(",bw={}", disk.limits.bytes_per_second);
  }
  if (disk.limits.operations_per_second != 0) {
    text += fmt::format(",iops={}", disk.limits.operations_per_second);
  }
  return text;
}
std::string write(const vmm::VsockRequest& vsock) {
  return fmt::format("cid={},uds={}", vsock.cid, vsock.path);
}
std::string write(const vmm::BalloonRequest& balloon) {
  return balloon.control.empty() ? "true" : "uds=" + balloon.control;
}
std::string write(const vmm::ConsoleSpec& console) {
  switch (console.kind) {
    case vmm::ConsoleKind::kStdio:
      return "stdio";
    case vmm::ConsoleKind::kNone:
      return "none";
    case vmm::ConsoleKind::kPty:
      return "pty";
    case vmm::ConsoleKind::kFile:
      return "file=" + console.path;
    case vmm::ConsoleKind::kUnixSocket:
      return "uds=" + console.path;
    default:  // what only a program can ask for
      return "";
  }
}
std::string write(const vmm::GdbAddress& address) {
  return address.path.empty() ? fmt::format("tcp:[{}]:{}", address.host, address.port)
                              : "unix:" + address.path;
}
std::string write(const vmm::NetOption& net) {
  using devices::net::Forward;
  std::string text = net.tap.empty() ? "user" : "tap=" + net.tap;
  for (const Forward& forward : net.forwards) {
    text += fmt::format(",hostfwd={}:{}:{}-{}",
                        forward.protocol == Forward::Protocol::kTcp ? "tcp" : "udp", forward.host,
                        forward.host_port, forward.guest_port);
  }
  text += net.mac ? ",mac=" + net.mac->text() : "";
  text += net.bytes_per_second != 0 ? fmt::format(",bw={}", net.bytes_per_second) : "";
  return text;
}

// ---- any text

void require_words(const std::string& refusal) {
  require(!refusal.empty());
}

// What is accepted, written down, is accepted again and then written alike.
template <typename Parse>
void check_text(std::string_view text, Parse parse) {
  const auto meaning = parse(text);
  if (!meaning) {
    require_words(meaning.error());
    return;
  }
  const std::string canonical = write(*meaning);
  const auto again = parse(canonical);
  require(again && write(*again) == canonical);
}

void check_any(std::string_view text) {
  check_text(text, parse_size);
  check_text(text, parse_module);
  check_text(text, parse_disk);
  check_text(text, parse_vsock);
  check_text(text, parse_balloon);
  check_text(text, parse_console);
  check_text(text, parse_gdb_address);
  check_text(text, parse_net);
  if (const auto size = parse_size(text)) {
    require(size->value() != 0);
  }
  const auto time = parse_seconds(text);
  if (time) {
    // What it is for strtod, to a nanosecond or what a double can tell.
    const double seconds = std::strtod(std::string(text).c_str(), nullptr);
    require(time->count() > 0);
    require(std::abs(static_cast<double>(time->count()) - seconds * 1e9) <= 1 + seconds * 1e-6);
  } else {
    require_words(time.error());
  }
  if (const auto mac = devices::net::MacAddress::parse(text)) {
    require(devices::net::MacAddress::parse(mac->text()) == mac);
    require(mac->text().size() == text.size() && (mac->bytes[0] & 1) == 0);
  }
}

// ---- a meaning, written

std::string some_text(FuzzedDataProvider& draw, std::size_t most = 40) {
  return draw.ConsumeRandomLengthString(most);
}
std::string some_path(FuzzedDataProvider& draw) {
  std::string path = some_text(draw);
  return path.empty() ? "f" : path;
}
std::string without(std::string text, std::string_view unwanted) {
  std::erase_if(text, [&](char c) { return unwanted.find(c) != std::string_view::npos; });
  return text;
}

void check_disk(FuzzedDataProvider& draw) {
  vmm::DiskRequest disk;
  disk.file.path = some_path(draw);
  disk.file.read_only = draw.ConsumeBool();
  disk.file.snapshot = !disk.file.read_only && draw.ConsumeBool();
  disk.id = some_text(draw, 20);
  disk.limits = {draw.ConsumeIntegral<std::uint64_t>(), draw.ConsumeIntegral<std::uint64_t>()};
  const auto read = parse_disk(write(disk));
  require(read && read->file.path == disk.file.path && read->id == disk.id &&
          read->file.read_only == disk.file.read_only &&
          read->file.snapshot == disk.file.snapshot && read->limits == disk.limits);
}

void check_net(FuzzedDataProvider& draw) {
  using devices::net::Forward;
  vmm::NetOption net;
  if (draw.ConsumeBool()) {
    net.tap = without("t" + some_text(draw, 15), ",");
  }
  while (net.tap.empty() && draw.ConsumeBool() && net.forwards.size() < 8) {
    const auto host = draw.ConsumeBool()
                          ? ""
                          : fmt::format("{}.{}.{}.{}", draw.ConsumeIntegral<std::uint8_t>(),
                                        draw.ConsumeIntegral<std::uint8_t>(),
                                        draw.ConsumeIntegral<std::uint8_t>(),
                                        draw.ConsumeIntegral<std::uint8_t>());
    net.forwards.push_back({draw.ConsumeBool() ? Forward::Protocol::kTcp : Forward::Protocol::kUdp,
                            host, draw.ConsumeIntegralInRange<std::uint16_t>(1, UINT16_MAX),
                            draw.ConsumeIntegralInRange<std::uint16_t>(1, UINT16_MAX)});
  }
  net.bytes_per_second = draw.ConsumeIntegral<std::uint64_t>();
  if (draw.ConsumeBool()) {
    devices::net::MacAddress mac;
    for (std::uint8_t& byte : mac.bytes) {
      byte = draw.ConsumeIntegral<std::uint8_t>();
    }
    mac.bytes[0] = static_cast<std::uint8_t>((mac.bytes[0] & 0xfeu) | 2u);
    net.mac = mac;
  }
  require(parse_net(write(net)) == net);
}

void check_meaning(FuzzedDataProvider& draw) {
  switch (draw.ConsumeIntegralInRange(0, 7)) {
    case 0: {
      const base::ByteSize size(draw.ConsumeIntegralInRange<std::uint64_t>(1, UINT64_MAX >> 10)
                                << 10);
      require(parse_size(write(size)) == size);
      break;
    }
    case 1: {
      const std::chrono::nanoseconds time(
          draw.ConsumeIntegralInRange<std::int64_t>(1, 1'000'000'000'000'000));
      require(parse_seconds(write(time)) == time);
      break;
    }
    case 2: {
      const ModuleOption module{without(some_path(draw), "=") + "f", some_text(draw)};
      const auto read = parse_module(write(module));
      require(read && read->path == module.path && read->command_line == module.command_line);
      break;
    }
    case 3:
      check_disk(draw);
      break;
    case 4: {
      vmm::VsockRequest vsock;
      vsock.cid = draw.ConsumeIntegralInRange<std::uint32_t>(3, UINT32_MAX - 1);
      vsock.path = some_path(draw);
      const auto read = parse_vsock(write(vsock));
      require(read && read->cid == vsock.cid && read->path == vsock.path);
      break;
    }
    case 5: {
      const std::array kinds{vmm::ConsoleKind::kStdio, vmm::ConsoleKind::kNone,
                             vmm::ConsoleKind::kPty, vmm::ConsoleKind::kFile,
                             vmm::ConsoleKind::kUnixSocket};
      vmm::ConsoleSpec console{draw.PickValueInArray(kinds), some_path(draw)};
      const bool has_path =
          console.kind == vmm::ConsoleKind::kFile || console.kind == vmm::ConsoleKind::kUnixSocket;
      console.path = has_path ? console.path : "";
      const auto read = parse_console(write(console));
      require(read && read->kind == console.kind && read->path == console.path);
      break;
    }
    case 6: {
      vmm::GdbAddress address;
      if (draw.ConsumeBool()) {
        address.path = some_path(draw);
      } else {
        address.host = draw.ConsumeBool() ? "::1" : "10.1.2.3";
        address.port = draw.ConsumeIntegral<std::uint16_t>();
      }
      const auto read = parse_gdb_address(write(address));
      require(read && read->path == address.path && read->host == address.host &&
              read->port == address.port);
      break;
    }
    default:
      check_net(draw);
  }
}

// ---- a whole command line

constexpr std::array kWords{
    "-m",        "512M",        "--memory=1G",   "-c",        "2",          "--append",
    "--initrd",  "--module",    "m,cmdline=x y", "--disk",    "d,ro",       "--net",
    "user,bw=1", "--vsock",     "cid=3,uds=v",   "--balloon", "--balloon=", "--balloon=uds=b",
    "--rng",     "--no-rng",    "--start-info",  "0",         "--memmap",   "xen",
    "--poison",  "--hugepages", "--memfd",       "--no-acpi", "--help",     "--virtio-console",
    "pty",       "--rng=false", "kernel",        "",          "-",          "-m512M",
};

void check_command_line(FuzzedDataProvider& draw) {
  std::vector<std::string> words;
  while (draw.remaining_bytes() != 0 && words.size() < 24) {
    words.push_back(draw.ConsumeBool() ? std::string(draw.PickValueInArray(kWords))
                                       : without(some_text(draw), std::string_view("\0", 1)));
  }
  Rest rest;
  while (words.size() > 8) {
    rest.push_back(std::move(words.back()));
    words.pop_back();
  }
  CLI::App app("fuzz", "pvh");
  MachineArguments arguments;
  arguments.add_to(app);
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    require(error.get_exit_code() == 0 || std::string_view(error.what()) != "");
    return;
  }
  auto builder = arguments.to_builder(rest);
  if (!builder) {
    require_words(builder.error().text);
    return;
  }
  const vmm::MachineOptions& options = builder->options();
  require(options.memory == parse_size(arguments.memory));
  require(options.cpus == static_cast<unsigned>(std::stoul(arguments.cpus)) && options.cpus > 0);
  require(options.disks.size() == arguments.disks.size());
  require(options.nets.size() == arguments.nets.size());
  const std::string tail = fmt::format("{}", fmt::join(rest, " "));
  const std::string blank = arguments.append.empty() || tail.empty() ? "" : " ";
  require(options.command_line == arguments.append + blank + tail);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider draw(data, size);
  switch (draw.ConsumeIntegralInRange(0, 7)) {
    case 0:
    case 1:
      check_command_line(draw);
      break;
    case 2:
    case 3:
    case 4:
      check_meaning(draw);
      break;
    default:
      check_any(draw.ConsumeRemainingBytesAsString());
  }
  return 0;
}
