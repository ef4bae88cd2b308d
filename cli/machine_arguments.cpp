// SPDX-License-Identifier: BSD-2-Clause
#include "machine_arguments.hpp"

#include <charconv>
#include <cstdlib>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pvh/base/try.hpp>

#include "options.hpp"
#include "output.hpp"

namespace pvh::cli {
namespace {

std::unexpected<vmm::Failure> bad_option(const char* option, std::string text) {
  return std::unexpected(vmm::Failure{vmm::FailureKind::kRequest, std::move(text), option});
}

std::optional<unsigned> parse_count(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value)
                                                                  : std::nullopt;
}

// The command line that the guest gets: --append, then what stands after "--".
std::string join_command_line(const std::string& append, const Rest& rest) {
  const std::string tail = fmt::format("{}", fmt::join(rest, " "));
  return append.empty() || tail.empty() ? append + tail : append + " " + tail;
}

vmm::Result<std::vector<vmm::DiskRequest>> parse_disks(const std::vector<std::string>& texts) {
  const char* const folder = std::getenv("TMPDIR");
  std::vector<vmm::DiskRequest> disks;
  for (const std::string& text : texts) {
    auto disk = parse_disk(text);
    if (!disk) {
      return bad_option("--disk", disk.error());
    }
    if (folder != nullptr && *folder != '\0') {
      disk->file.overlay_folder = folder;
    }
    disks.push_back(std::move(*disk));
  }
  return disks;
}

vmm::Result<vmm::MachineOptions> parse_options(const MachineArguments& arguments,
                                               const Rest& rest) {
  vmm::MachineOptions options;
  const auto memory = parse_size(arguments.memory);
  if (!memory) {
    return bad_option("--memory", memory.error());
  }
  options.memory = *memory;
  using Kind = guest_memory::Backing::Kind;
  options.backing.kind = arguments.hugepages ? Kind::kHugePages
                         : arguments.memfd   ? Kind::kMemfd
                                             : Kind::kAnonymous;
  const auto cpus = parse_count(arguments.cpus);
  if (!cpus || *cpus == 0 || *cpus > vmm::kMaxCpus) {
    return bad_option("--cpus", fmt::format("\"{}\" is not a number from 1 to {}", arguments.cpus,
                                            vmm::kMaxCpus));
  }
  options.cpus = *cpus;
  if (arguments.start_info != "0" && arguments.start_info != "1") {
    return bad_option("--start-info",
                      fmt::format("there is no version \"{}\" of hvm_start_info: write 0 or 1",
                                  arguments.start_info));
  }
  options.start_info_version = arguments.start_info == "0" ? 0 : 1;
  const auto shape = loader::shape_from_string(arguments.memmap);
  if (!shape) {
    return bad_option(
        "--memmap",
        fmt::format("\"{}\" is none of strict, qemu, qboot, firecracker, cloud-hypervisor "
                    "and xen",
                    arguments.memmap));
  }
  options.shape = *shape;
  options.poison = arguments.poison;
  options.acpi = !arguments.no_acpi;
  options.rng = arguments.rng;
  if (!arguments.balloon.empty()) {
    auto balloon = parse_balloon(arguments.balloon);
    if (!balloon) {
      return bad_option("--balloon", balloon.error());
    }
    options.balloon = std::move(*balloon);
  }
  if (!arguments.vsock.empty()) {
    auto vsock = parse_vsock(arguments.vsock);
    if (!vsock) {
      return bad_option("--vsock", vsock.error());
    }
    options.vsock = std::move(*vsock);
  }
  options.disks = TRY(parse_disks(arguments.disks));
  for (const std::string& text : arguments.nets) {
    auto net = parse_net(text);
    if (!net) {
      return bad_option("--net", net.error());
    }
    options.nets.push_back(std::move(*net));
  }
  if (!arguments.virtio_console.empty()) {
    auto console = parse_console(arguments.virtio_console);
    if (!console) {
      return bad_option("--virtio-console", console.error());
    }
    options.virtio_console = std::move(*console);
  }
  options.command_line = join_command_line(arguments.append, rest);
  return options;
}

}  // namespace

void MachineArguments::add_to(CLI::App& app) {
  app.add_option("KERNEL", kernel, "ELF, bzImage, or either compressed")->required();
  app.add_option("-m,--memory", memory, "guest memory: 512M, 4G; a bare number is MiB")
      ->type_name("SIZE")
      ->capture_default_str();
  auto* const in_huge_pages =
      app.add_flag("--hugepages", hugepages,
                   "guest memory is huge pages of 2 MiB that the host has reserved "
                   "(vm.nr_hugepages), all taken at once");
  app.add_flag("--memfd", memfd,
               "guest memory is a memfd, which another program can map by /proc/PID/fd: each byte "
               "is at its guest physical address")
      ->excludes(in_huge_pages);
  app.add_option("-c,--cpus", cpus, "virtual CPUs")->type_name("N")->capture_default_str();
  app.add_option("-a,--append", append, "kernel command line (as is everything after --)")
      ->type_name("TEXT");
  app.add_option("-i,--initrd", initrd, "the first module")->type_name("FILE");
  app.add_option("--module", modules, "FILE[,cmdline=TEXT]: a further module; repeatable, in order")
      ->type_name("FILE")
      ->expected(1)
      ->take_all();
  app.add_option("--start-info", start_info,
                 "version of hvm_start_info: 0 leaves the memory map out")
      ->type_name("0|1")
      ->capture_default_str();
  app.add_option("--memmap", memmap,
                 "whose memory map and placement: strict (ours), qemu, qboot, firecracker, "
                 "cloud-hypervisor, xen")
      ->type_name("SHAPE")
      ->capture_default_str();
  app.add_flag("--poison", poison,
               "hostile but legal values in everything that the protocol leaves unspecified");
  app.add_option("--vsock", vsock,
                 "cid=N,uds=PATH: sockets between host and guest; at PATH the host's programs say "
                 "CONNECT PORT, and the guest's reach PATH_PORT")
      ->type_name("VSOCK");
  app.add_flag(
      "--balloon", balloon,
      "free memory of the guest goes back to the host; --balloon=uds=PATH: and more when a "
      "size such as 512M, or 0, is written to the socket at PATH");
  app.add_flag("--rng", rng, "a virtio source of randomness; the default");
  app.add_flag_callback("--no-rng", [this] { rng = false; }, "no virtio source of randomness");
  app.add_option("--disk", disks,
                 "FILE[,ro][,snapshot][,id=NAME][,bw=N][,iops=N]: a virtio disk, from a raw image "
                 "or a block device; repeatable, in order. snapshot: FILE stays as it is, what is "
                 "written ends with the machine; bw and iops: bytes and requests for each second")
      ->type_name("FILE")
      ->expected(1)
      ->take_all();
  app.add_option("--net", nets,
                 "a network card, repeatable: "
                 "user[,hostfwd=tcp|udp:HOST:PORT-GUESTPORT][,mac=MAC][,bw=N] (needs passt, no "
                 "privilege) or tap=NAME[,mac=MAC][,bw=N]; bw: bytes for each second, each way")
      ->type_name("NET")
      ->expected(1)
      ->take_all();
  app.add_option("--virtio-console", virtio_console,
                 "a second console, hvc0 in Linux: stdio (then --console none), none, pty, "
                 "file=PATH, uds=PATH")
      ->type_name("WHERE");
  app.add_flag("--no-acpi", no_acpi,
               "no ACPI tables: the guest has the MP table, and the virtio devices on its command "
               "line");
}

vmm::Result<vmm::MachineBuilder> MachineArguments::to_builder(const Rest& rest) const {
  vmm::MachineBuilder builder(kernel);
  builder.options() = TRY(parse_options(*this, rest));
  if (!initrd.empty()) {
    builder.module(initrd);
  }
  for (const std::string& text : modules) {
    auto module = parse_module(text);
    if (!module) {
      return bad_option("--module", module.error());
    }
    builder.module(std::move(module->path), std::move(module->command_line));
  }
  builder.options().notice = complain;
  return builder;
}

}  // namespace pvh::cli
