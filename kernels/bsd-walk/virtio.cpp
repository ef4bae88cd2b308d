// SPDX-License-Identifier: BSD-2-Clause
#include "bsd-walk/virtio.hpp"

#include <pvh/abi/virtio.hpp>

#include "bsd-walk/claims.hpp"
#include "bsd-walk/machine.hpp"
#include "common/aml.hpp"

namespace pvh::kernels::bsd {

namespace {

constexpr std::uint32_t kMost = 64;

// The first thing that is wrong, of all devices.
struct Finding {
  bool good = true;
  Line why;

  void expect(bool holds, const aml::MmioDevice& device, std::string_view what) {
    if (good && !holds) {
      good = false;
      why.text(what).text(" at "sv).hex(device.address);
    }
  }
};

struct Findings {
  Finding probe, reset, features, queue, interrupt;
};

// 32 bits of what the device offers.
std::uint32_t offered(std::uint64_t registers, std::uint32_t word) {
  write_register(registers + abi::VIRTIO_MMIO_DEVICE_FEATURES_SEL, word);
  return read_register(registers + abi::VIRTIO_MMIO_DEVICE_FEATURES);
}

void accept(std::uint64_t registers, std::uint32_t word, std::uint32_t features) {
  write_register(registers + abi::VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
  write_register(registers + abi::VIRTIO_MMIO_DRIVER_FEATURES, features);
}

void set_status(std::uint64_t registers, std::uint32_t bits) {
  const std::uint64_t status = registers + abi::VIRTIO_MMIO_STATUS;
  write_register(status, bits | read_register(status));
}

// vtmmio_attach() and, for the child, up to the queues. The device is left reset.
void attach(const aml::MmioDevice& device, std::uint32_t version, Findings& findings) {
  const std::uint64_t at = device.address;
  const std::uint64_t status = at + abi::VIRTIO_MMIO_STATUS;
  write_register(status, 0);
  findings.reset.expect(read_register(status) == 0, device, "status after the reset"sv);
  set_status(at, abi::VIRTIO_CONFIG_S_ACKNOWLEDGE);
  set_status(at, abi::VIRTIO_CONFIG_S_DRIVER);
  const std::uint32_t both = abi::VIRTIO_CONFIG_S_ACKNOWLEDGE | abi::VIRTIO_CONFIG_S_DRIVER;
  findings.reset.expect(read_register(status) == both, device, "status"sv);
  if (version > 1) {
    const auto modern = static_cast<std::uint32_t>(abi::VIRTIO_F_VERSION_1 >> 32);
    findings.features.expect((offered(at, 1) & modern) != 0, device, "no VERSION_1"sv);
    accept(at, 1, modern);
    accept(at, 0, 0);
    set_status(at, abi::VIRTIO_CONFIG_S_FEATURES_OK);
    findings.features.expect((read_register(status) & abi::VIRTIO_CONFIG_S_FEATURES_OK) != 0,
                             device, "VERSION_1 refused"sv);
  }
  write_register(at + abi::VIRTIO_MMIO_QUEUE_SEL, 0);
  const std::uint32_t size = read_register(at + abi::VIRTIO_MMIO_QUEUE_NUM_MAX);
  findings.queue.expect(size != 0 && (size & (size - 1)) == 0, device, "size of queue 0"sv);
  write_register(status, 0);
}

// vtmmio_probe(): a transport without a device is passed over. True: there is one.
bool probe(const aml::MmioDevice& device, Findings& findings) {
  const bool reached = within(kDirectReach, device.address, abi::VIRTIO_MMIO_CONFIG);
  findings.probe.expect(reached && device.size >= abi::VIRTIO_MMIO_CONFIG, device, "registers"sv);
  if (!reached) {
    return false;
  }
  const std::uint32_t magic = read_register(device.address + abi::VIRTIO_MMIO_MAGIC_VALUE);
  const std::uint32_t version = read_register(device.address + abi::VIRTIO_MMIO_VERSION);
  const bool good = magic == abi::kVirtioMmioMagic && version >= 1 && version <= 2;
  findings.probe.expect(good, device, "magic value or version"sv);
  const std::uint32_t id = read_register(device.address + abi::VIRTIO_MMIO_DEVICE_ID);
  if (!good || id == 0) {
    return false;
  }
  note(Line()
           .text("virtio device "sv)
           .decimal(id)
           .text(" version "sv)
           .decimal(version)
           .text(" at "sv)
           .hex(device.address)
           .text(" interrupt "sv)
           .decimal(device.interrupt));
  attach(device, version, findings);
  return true;
}

// virtio_mmio_cmdline.c, parsearg(): SIZE@BASE:IRQ[:ID]
std::optional<aml::MmioDevice> parse(std::string_view text) {
  aml::MmioDevice device{};
  device.size = static_cast<std::uint32_t>(take_number(text));
  if (text.starts_with('K')) {
    device.size *= 1024;
    text.remove_prefix(1);
  }
  if (!text.starts_with('@')) {
    return std::nullopt;
  }
  text.remove_prefix(1);
  device.address = static_cast<std::uint32_t>(take_number(text));
  if (!text.starts_with(':')) {
    return std::nullopt;
  }
  text.remove_prefix(1);
  device.interrupt = static_cast<std::uint32_t>(take_number(text));
  const bool ends = text.empty() || text.starts_with(':');  // an id, which nobody gives
  return ends && device.interrupt != 0 ? std::optional(device) : std::nullopt;
}

// The devices in the DSDT, or without ACPI those on the command line.
std::uint32_t list(const Acpi& acpi, const Environment& environment,
                   aml::MmioDevice (&all)[kMost]) {
  std::uint32_t count = 0;
  if (acpi.root) {
    std::string_view aml = acpi.dsdt;
    for (auto one = aml::next_virtio(aml); one && count < kMost; one = aml::next_virtio(aml)) {
      all[count++] = *one;
    }
    return count;
  }
  for (auto text = environment.value("virtio_mmio.device"sv); text && count < kMost;
       text = environment.value("virtio_mmio.device"sv, count)) {
    const auto one = parse(*text);
    all[count++] = one ? *one : aml::MmioDevice{};
  }
  return count;
}

}  // namespace

void walk_virtio(const Acpi& acpi, const Environment& environment, std::uint32_t inputs) {
  static aml::MmioDevice all[kMost];
  const std::uint32_t count = list(acpi, environment, all);
  Findings findings;
  std::uint32_t present = 0;
  std::uint64_t used = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!probe(all[i], findings)) {
      continue;
    }
    ++present;
    const std::uint32_t interrupt = all[i].interrupt;
    const bool free =
        (inputs == 0 || interrupt < inputs) && interrupt < 64 && (used >> interrupt & 1) == 0;
    findings.interrupt.expect(free, all[i], "interrupt of the device"sv);
    used |= interrupt < 64 ? std::uint64_t{1} << interrupt : 0;
  }
  const auto asked = environment.number("bsd.virtio"sv);
  judge(Claim::kVirtioFound, !asked || *asked == present,
        Line().decimal(present).text(" of "sv).decimal(asked.value_or(0)));
  const struct {
    Claim claim;
    const Finding& finding;
  } verdicts[] = {{Claim::kVirtioProbe, findings.probe},
                  {Claim::kVirtioReset, findings.reset},
                  {Claim::kVirtioFeatures, findings.features},
                  {Claim::kVirtioQueue, findings.queue},
                  {Claim::kVirtioInterrupt, findings.interrupt}};
  for (const auto& [claim, finding] : verdicts) {
    if (present == 0 && finding.good) {
      skip(claim, "no device"sv);
    } else {
      judge(claim, finding.good, finding.why);
    }
  }
}

}  // namespace pvh::kernels::bsd
