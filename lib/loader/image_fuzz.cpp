// SPDX-License-Identifier: BSD-2-Clause
// Any bytes give an Image or a fault, in bounded time and memory; and what an Image says is true,
// and what check_image() says of it agrees.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>

#include <pvh/base/bytes.hpp>
#include <pvh/loader/check.hpp>
#include <pvh/loader/image.hpp>

namespace {

void require(bool ok) {
  if (!ok) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pvh;
  const auto file = std::as_bytes(std::span(data, size));
  const auto image = loader::parse_image(file, {.unpacked = base::ByteSize(1 << 20)});
  if (!image) {
    require(!base::to_text(image.error()).empty());
    return 0;
  }
  require(image->elf.size() <= std::max<std::size_t>(size, 1 << 20));
  const auto entries =
      std::ranges::count(image->notes, loader::NoteVerdict::kEntry, &loader::Note::verdict);
  require(entries == (image->pvh_entry ? 1 : 0));
  require(image->pvh_entry || !image->problems.empty());
  require(std::ranges::is_sorted(image->problems, {}, &loader::ImageFault::code));
  for (const loader::ImageFault& problem : image->problems) {
    require(!base::to_text(problem).empty());
  }
  const loader::CheckReport report = loader::check_image(*image);
  for (const loader::Finding& finding : report.findings) {
    require(!finding.monitors.empty() && !finding.what.empty() && !finding.remedy.empty());
    require(!finding.offset || *finding.offset < image->elf.size());
  }
  require(std::ranges::is_sorted(report.findings, {}, &loader::Finding::severity));
  if (!image->problems.empty()) {
    require(report.refusing().contains(loader::Monitor::kPvh));
    return 0;
  }
  // Without problems it can be loaded as it says.
  for (const loader::Segment& segment : image->segments) {
    require(base::slice(image->elf, segment.offset, segment.file_size).has_value());
    require(segment.file_size <= segment.memory_size.value());
    const auto range = base::Range::from_size(segment.paddr, segment.memory_size);
    require(range.has_value());
    for (const loader::Segment& other :
         std::span(image->segments).first(std::min<std::size_t>(image->segments.size(), 8))) {
      const auto other_range = base::Range::from_size(other.paddr, other.memory_size);
      require(other.index == segment.index || !range->overlaps(*other_range));
    }
  }
  require(std::ranges::any_of(image->segments, [&](const loader::Segment& segment) {
    return base::Range::from_size(segment.paddr, segment.memory_size)->contains(*image->pvh_entry);
  }));
  return 0;
}
