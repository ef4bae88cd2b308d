// SPDX-License-Identifier: BSD-2-Clause
// Will this kernel boot here and elsewhere, and if not, why not. parse_image() accepts every file
// that could be booted; the loaders in the field do not. The rules say which of them refuses,
// misreads or overwrites what, as their sources and, for QEMU, experiments have it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pvh/loader/image.hpp>

namespace pvh::loader {

enum class Monitor : std::uint8_t {
  kPvh,
  kQemuPc,
  kQemuMicrovm,
  kFirecracker,
  kCloudHypervisor,
  kXenDom0,
  kXenDomU,
  kLibkrun
};

inline constexpr std::array kMonitors{
    Monitor::kPvh,         Monitor::kQemuPc,          Monitor::kQemuMicrovm,
    Monitor::kFirecracker, Monitor::kCloudHypervisor, Monitor::kXenDom0,
    Monitor::kXenDomU,     Monitor::kLibkrun};

[[nodiscard]] std::string_view to_string(Monitor monitor);  // "qemu-pc", as options spell it
[[nodiscard]] std::string_view title_of(Monitor monitor);   // "QEMU pc", as people do
[[nodiscard]] std::optional<Monitor> monitor_from_string(std::string_view name);

class MonitorSet {
 public:
  constexpr MonitorSet() = default;
  constexpr MonitorSet(std::initializer_list<Monitor> monitors) {
    for (const Monitor monitor : monitors) {
      add(monitor);
    }
  }
  [[nodiscard]] static constexpr MonitorSet all() {
    MonitorSet set;
    for (const Monitor monitor : kMonitors) {
      set.add(monitor);
    }
    return set;
  }

  constexpr void add(Monitor monitor) { bits_ |= bit(monitor); }
  [[nodiscard]] constexpr bool contains(Monitor monitor) const {
    return (bits_ & bit(monitor)) != 0;
  }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  [[nodiscard]] constexpr MonitorSet with(MonitorSet other) const {
    return MonitorSet(bits_ | other.bits_);
  }
  [[nodiscard]] constexpr MonitorSet without(MonitorSet other) const {
    return MonitorSet(bits_ & ~other.bits_);
  }
  [[nodiscard]] constexpr MonitorSet among(MonitorSet other) const {
    return MonitorSet(bits_ & other.bits_);
  }

  friend constexpr bool operator==(MonitorSet, MonitorSet) = default;

 private:
  constexpr explicit MonitorSet(std::uint32_t bits) : bits_(bits) {}
  [[nodiscard]] static constexpr std::uint32_t bit(Monitor monitor) {
    return std::uint32_t{1} << static_cast<unsigned>(monitor);
  }

  std::uint32_t bits_ = 0;
};

// Worst first.
enum class Severity {
  kError,    // the monitors named will not boot it
  kWarning,  // they boot it, but not as its author may think, or not always
  kNote
};

[[nodiscard]] std::string_view to_string(Severity severity);

enum class Rule {
  kNoSegments,
  kSegmentOutsideFile,
  kFileSizeAboveMemorySize,
  kSegmentWraps,
  kSegmentsOverlap,
  kNoPvhNote,
  kNoteTruncated,
  kNoteDescriptorSize,
  kEntryAbove4GiB,
  kEntryOutsideSegments,
  kNoteNotInSegment,
  kNoteAlignmentZero,
  kNoteAlignment,
  kTwoNoteSegments,
  kTwoEntries,
  kForeignEntryNote,
  kNoteMisread,
  kShortDescriptor,
  kElf32,
  kProgramHeadersOffset,
  kElfEntryTooLow,
  kElfFlags,
  kMultiboot1InElf64,
  kMultiboot1First,
  kSegmentNotPageAligned,
  kLowLoadAddress,
  kLoadInDeviceHole,
  kMemoryHole,
  kWritableCode,
  kBadRelocation,
  kBzImageLinuxProtocol,
  kBzImageRefused,
  kCompressedElf
};

[[nodiscard]] std::string_view to_string(Rule rule);  // "no-pvh-note"

struct Finding {
  Rule rule;
  Severity severity;
  MonitorSet monitors;                  // never empty
  std::optional<std::uint64_t> offset;  // in the ELF
  std::string what;
  std::string_view remedy;
};

// How a monitor that boots the file enters it.
enum class Protocol { kPvh, kLinux, kMultiboot };

[[nodiscard]] std::string_view to_string(Protocol protocol);

struct CheckReport {
  MonitorSet asked;
  std::vector<Finding> findings;  // worst first; only what concerns those asked about
  MonitorSet by_linux;            // boot it by the Linux protocol
  MonitorSet by_multiboot;

  [[nodiscard]] MonitorSet refusing() const;
  // Nothing when it does not boot there.
  [[nodiscard]] std::optional<Protocol> protocol(Monitor monitor) const;
};

// Linear in the number of headers and notes; only the first 8 KiB are searched for anything.
[[nodiscard]] CheckReport check_image(const Image& image, MonitorSet asked = MonitorSet::all());

}  // namespace pvh::loader
