// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/loader/check.hpp>

namespace pvh::loader {

std::string_view to_string(Monitor monitor) {
  switch (monitor) {
    case Monitor::kPvh:
      return "pvh";
    case Monitor::kQemuPc:
      return "qemu-pc";
    case Monitor::kQemuMicrovm:
      return "qemu-microvm";
    case Monitor::kFirecracker:
      return "firecracker";
    case Monitor::kCloudHypervisor:
      return "cloud-hypervisor";
    case Monitor::kXenDom0:
      return "xen-dom0";
    case Monitor::kXenDomU:
      return "xen-domu";
    case Monitor::kLibkrun:
      return "libkrun";
  }
  return "unknown";
}

std::string_view title_of(Monitor monitor) {
  switch (monitor) {
    case Monitor::kPvh:
      return "pvh";
    case Monitor::kQemuPc:
      return "QEMU pc";
    case Monitor::kQemuMicrovm:
      return "QEMU microvm";
    case Monitor::kFirecracker:
      return "Firecracker";
    case Monitor::kCloudHypervisor:
      return "Cloud Hypervisor";
    case Monitor::kXenDom0:
      return "Xen dom0";
    case Monitor::kXenDomU:
      return "Xen domU";
    case Monitor::kLibkrun:
      return "libkrun";
  }
  return "unknown";
}

std::optional<Monitor> monitor_from_string(std::string_view name) {
  const auto* const found =
      std::ranges::find(kMonitors, name, [](Monitor monitor) { return to_string(monitor); });
  return found == kMonitors.end() ? std::nullopt : std::optional(*found);
}

std::string_view to_string(Severity severity) {
  switch (severity) {
    case Severity::kError:
      return "error";
    case Severity::kWarning:
      return "warning";
    case Severity::kNote:
      return "note";
  }
  return "unknown";
}

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::kPvh:
      return "pvh";
    case Protocol::kLinux:
      return "linux";
    case Protocol::kMultiboot:
      return "multiboot";
  }
  return "unknown";
}

std::string_view to_string(Rule rule) {
  switch (rule) {
    case Rule::kNoSegments:
      return "no-segments";
    case Rule::kSegmentOutsideFile:
      return "segment-outside-file";
    case Rule::kFileSizeAboveMemorySize:
      return "file-size-above-memory-size";
    case Rule::kSegmentWraps:
      return "segment-wraps";
    case Rule::kSegmentsOverlap:
      return "segments-overlap";
    case Rule::kNoPvhNote:
      return "no-pvh-note";
    case Rule::kNoteTruncated:
      return "note-truncated";
    case Rule::kNoteDescriptorSize:
      return "note-descriptor-size";
    case Rule::kEntryAbove4GiB:
      return "entry-above-4gib";
    case Rule::kEntryOutsideSegments:
      return "entry-outside-segments";
    case Rule::kNoteNotInSegment:
      return "note-not-in-segment";
    case Rule::kNoteAlignmentZero:
      return "note-alignment-zero";
    case Rule::kNoteAlignment:
      return "note-alignment";
    case Rule::kTwoNoteSegments:
      return "two-note-segments";
    case Rule::kTwoEntries:
      return "two-entries";
    case Rule::kForeignEntryNote:
      return "foreign-entry-note";
    case Rule::kNoteMisread:
      return "note-misread";
    case Rule::kShortDescriptor:
      return "short-descriptor";
    case Rule::kElf32:
      return "elf32";
    case Rule::kProgramHeadersOffset:
      return "program-headers-offset";
    case Rule::kElfEntryTooLow:
      return "e-entry-too-low";
    case Rule::kElfFlags:
      return "elf-flags";
    case Rule::kMultiboot1InElf64:
      return "multiboot1-in-elf64";
    case Rule::kMultiboot1First:
      return "multiboot1-first";
    case Rule::kSegmentNotPageAligned:
      return "segment-not-page-aligned";
    case Rule::kLowLoadAddress:
      return "low-load-address";
    case Rule::kLoadInDeviceHole:
      return "load-in-device-hole";
    case Rule::kMemoryHole:
      return "memory-hole";
    case Rule::kWritableCode:
      return "writable-code";
    case Rule::kBadRelocation:
      return "bad-relocation";
    case Rule::kBzImageLinuxProtocol:
      return "bzimage-linux-protocol";
    case Rule::kBzImageRefused:
      return "bzimage-refused";
    case Rule::kCompressedElf:
      return "compressed-elf";
  }
  return "unknown";
}

}  // namespace pvh::loader
