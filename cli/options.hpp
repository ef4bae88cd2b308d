// SPDX-License-Identifier: BSD-2-Clause
// Values as they are written on the command line.
#pragma once

#include <chrono>
#include <expected>
#include <string>
#include <string_view>

#include <pvh/base/address.hpp>
#include <pvh/vmm/console.hpp>
#include <pvh/vmm/gdb_address.hpp>
#include <pvh/vmm/machine.hpp>
#include <pvh/vmm/net_option.hpp>

namespace pvh::cli {

// The error is a sentence for the user.
template <typename T>
using Parsed = std::expected<T, std::string>;

// "512M", "4G"; K, M, G, T are powers of 1024, in either case, with or without "iB" or "B"; a bare
// number is MiB, as other monitors have it. Not 0.
[[nodiscard]] Parsed<base::ByteSize> parse_size(std::string_view text);

// Seconds, with a fraction or without; more than 0.
[[nodiscard]] Parsed<std::chrono::nanoseconds> parse_seconds(std::string_view text);

// FILE[,cmdline=TEXT]; the text is everything up to the end, commas too.
struct ModuleOption {
  std::string path;
  std::string command_line;
};
[[nodiscard]] Parsed<ModuleOption> parse_module(std::string_view text);

// FILE[,ro][,snapshot][,id=NAME][,bw=N][,iops=N]; a comma in FILE or NAME is written twice. N is a
// number with or without a unit of parse_size(), bytes without.
[[nodiscard]] Parsed<vmm::DiskRequest> parse_disk(std::string_view text);

// cid=N,uds=PATH; PATH is everything up to the end, commas too.
[[nodiscard]] Parsed<vmm::VsockRequest> parse_vsock(std::string_view text);

// "true", for nothing, or uds=PATH
[[nodiscard]] Parsed<vmm::BalloonRequest> parse_balloon(std::string_view text);

// stdio | none | file=PATH | pty | uds=PATH
[[nodiscard]] Parsed<vmm::ConsoleSpec> parse_console(std::string_view text);

// [tcp:]HOST:PORT | :PORT | PORT | unix:PATH. HOST is numeric, an IPv6 one in brackets, or
// localhost; without it only this machine can connect.
[[nodiscard]] Parsed<vmm::GdbAddress> parse_gdb_address(std::string_view text);

// user[,hostfwd=tcp|udp:[HOST]:PORT-GUEST]...[,mac=MAC][,bw=N] | tap=NAME[,mac=MAC][,bw=N]
[[nodiscard]] Parsed<vmm::NetOption> parse_net(std::string_view text);

}  // namespace pvh::cli
