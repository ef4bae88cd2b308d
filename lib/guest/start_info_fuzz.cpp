// SPDX-License-Identifier: BSD-2-Clause
// Any bytes as the memory around start_info: capture() answers with an error or with a Boot whose
// free() is exactly the RAM that no reservation touches; allocating and giving back keeps it so.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>

#include <pvh/base/bytes.hpp>
#include <pvh/guest/boot.hpp>
#include <pvh/guest/dump.hpp>

#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"

namespace {

using namespace pvh;
using namespace pvh::guest;
using testing::BootBuilder;
using testing::FakeMachine;
using testing::FakeXen;

void require(const std::string& wrong) {
  if (!wrong.empty()) {
    std::fputs(wrong.c_str(), stderr);
    std::abort();
  }
}

}  // namespace

// One byte of choices, two of the place, then memory from there.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const base::Bytes bytes = std::as_bytes(std::span(data, size));
  if (bytes.size() < 4) {
    return 0;
  }
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint64_t>(bytes[i]); };
  const std::uint64_t choices = at(0);
  const std::uint64_t place = (at(1) << 8 | at(2)) << (choices & 1) * 4;

  FakeMachine fake;
  fake.set_physical_bits(static_cast<std::uint32_t>(36 + at(1) % 17));
  std::optional<FakeXen> xen;
  if ((choices & 2) != 0) {
    xen.emplace(fake);
    xen->map = {{0, 0x9fc00, 1}, {0x100000, 0x100000, 1}};
  }
  BootBuilder builder(fake);
  builder.sizes = {.entries = 16, .modules = 4, .reservations = 24, .strings = 64};
  const base::Bytes memory = bytes.subspan(3);
  fake.put(place, memory);
  if ((choices & 4) != 0) {
    fake.view_limit = place + memory.size() / 2;
  }
  // A right magic, so that not all inputs end there; the rest is the input's.
  if ((choices & 8) != 0 && memory.size() >= sizeof(base::Le32)) {
    fake.put(place, base::Le32(abi::XEN_HVM_START_MAGIC_VALUE));
  }
  auto boot = builder.capture_at(base::PhysAddr(place));
  std::string text;
  const LineSink sink = [](void* context, std::string_view line) {
    static_cast<std::string*>(context)->append(line);
  };
  if (!boot) {
    dump_failure(fake.machine(), base::PhysAddr(place), boot.error(),
                 detect_hypervisors(fake.machine()), sink, &text);
    return 0;
  }
  require(testing::judge_free(*boot));
  dump(*boot, sink, &text);
  for (const std::uint64_t pages : {1u, 3u, 16u}) {
    static_cast<void>(boot->allocate({.size = base::ByteSize(pages << 12)}));
  }
  require(testing::judge_free(*boot));
  boot->release_boot_data();
  static_cast<void>(boot->release(ReservationKind::kModule));
  require(testing::judge_free(*boot));
  return 0;
}
