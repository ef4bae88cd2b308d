// SPDX-License-Identifier: BSD-2-Clause
#include "xen-calls/calls.hpp"

#include <algorithm>

#include <pvh/abi/xen_cpuid.hpp>
#include <pvh/abi/xen_hvm.hpp>
#include <pvh/abi/xen_shared_info.hpp>
#include <pvh/guest/memory.hpp>
#include <pvh/guest/pvh.hpp>
#include <pvh/memory_map/print.hpp>

namespace pvh::kernels {
namespace {

using guest::xen::Error;
using std::string_view_literals::operator""sv;

constexpr std::size_t kEntrySize = 20;
constexpr std::size_t kMostEntries = 1024;  // Xen's own limit

std::byte map_buffer[kMostEntries * kEntrySize];
std::byte small_buffer[3 * kEntrySize];
alignas(4096) std::byte vcpu_infos[4096];

constexpr std::uint32_t kArgument = 0xc001d00d;
std::uint32_t arrived;  // written by the second processor
alignas(16) std::byte second_stack[4096];

// The second processor's first instruction. HLT with interrupts off is VCPUOP_down to Xen.
#ifndef __x86_64__
[[gnu::regparm(1)]]
#endif
[[noreturn]] void
second_main(guest::Word argument) {
  __atomic_store_n(&arrived, static_cast<std::uint32_t>(argument), __ATOMIC_RELEASE);
  for (;;) {
    asm volatile("cli; hlt");
  }
}

guest::xen::VcpuStart second_start([[maybe_unused]] guest::Machine& machine) {
  guest::xen::VcpuStart start{
      .entry = reinterpret_cast<guest::Word>(&second_main),
      // As after a call: what would be the return address lies at the top.
      .stack =
          reinterpret_cast<guest::Word>(second_stack + sizeof(second_stack)) - sizeof(guest::Word),
      .argument = kArgument};
#ifdef __x86_64__
  constexpr std::uint32_t kEfer = 0xc0000080;
  asm("mov %%cr0, %0" : "=r"(start.cr0));
  asm("mov %%cr3, %0" : "=r"(start.cr3));
  asm("mov %%cr4, %0" : "=r"(start.cr4));
  start.efer = machine.read_msr(kEfer);
#endif
  return start;
}

class Claims {
 public:
  explicit Claims(const Domain& domain) : domain_(domain) {}

  [[nodiscard]] bool run() {
    identity();
    console();
    memory_map();
    params();
    shared_info();
    vcpu_info();
    processors();
    guest::print(memory_map::Line().text("1.."sv).decimal(count_).text("\n"sv).view());
    return !failed_;
  }

 private:
  void claim(bool holds, std::string_view what) {
    ++count_;
    failed_ |= !holds;
    guest::print(memory_map::Line()
                     .text(holds ? "ok "sv : "not ok "sv)
                     .decimal(count_)
                     .text(" - "sv)
                     .text(what)
                     .text("\n"sv)
                     .view());
  }
  static void note(std::string_view what, std::uint64_t value) {
    guest::print(
        memory_map::Line().text("# "sv).text(what).text(" "sv).decimal(value).text("\n"sv).view());
  }

  template <typename T>
  static bool fails(const guest::xen::Result<T>& result, Error error) {
    return !result && result.error() == error;
  }

  // Waits for as long as a loaded host may need.
  template <typename Condition>
  [[nodiscard]] bool wait_for(Condition condition) {
    constexpr std::uint64_t kSeconds = 20;
    const std::uint64_t khz = guest::frequencies(machine_, domain_.hypervisors).tsc_khz.value_or(0);
    for (const std::uint64_t start = __builtin_ia32_rdtsc();
         __builtin_ia32_rdtsc() - start < khz * 1000 * kSeconds;) {
      if (condition()) {
        return true;
      }
      machine_.pause();
    }
    return false;
  }

  void identity() {
    const auto version = guest::xen::version(machine_, token_);
    const auto told = machine_.cpuid(token_.cpuid_base() + abi::kXenCpuidVersion).eax;
    claim(version && *version == told && *version >> 16 >= 4, "version is CPUID's"sv);
    note("version"sv, version ? *version >> 16 : 0);
    claim(guest::xen::vcpu_id(machine_, token_) == 0u, "vcpu_id of the first is 0"sv);
    const auto khz = guest::frequencies(machine_, domain_.hypervisors).tsc_khz;
    claim(khz && *khz > 100'000, "frequencies tell the TSC's"sv);
  }

  void console() {
    const auto written = guest::xen::console_write(machine_, token_, "# by console_write\n"sv);
    claim(domain_.is_hardware_domain ? written.has_value() : fails(written, Error::kPermission),
          "console_write is the hardware domain's"sv);
  }

  void memory_map() {
    const auto entries = guest::xen::memory_map(machine_, token_, map_buffer);
    claim(entries && *entries > 2 && *entries < kMostEntries, "memory_map fits Xen's limit"sv);
    note("entries"sv, entries.value_or(0));

    // One byte short of a third entry.
    std::ranges::fill(small_buffer, std::byte{0xa5});
    const auto two =
        guest::xen::memory_map(machine_, token_, std::span(small_buffer).first(3 * kEntrySize - 1));
    claim(two == 2u, "memory_map is cut off at the capacity without an error"sv);
    claim(std::equal(small_buffer, small_buffer + 2 * kEntrySize, map_buffer),
          "memory_map gives the first entries then"sv);
    claim(std::all_of(small_buffer + 2 * kEntrySize, small_buffer + 3 * kEntrySize,
                      [](std::byte each) { return each == std::byte{0xa5}; }),
          "memory_map writes nothing behind them"sv);
    claim(guest::xen::memory_map(machine_, token_, {}) == 0u, "memory_map fills no buffer"sv);
#ifdef __x86_64__
    const base::MutableBytes nowhere(reinterpret_cast<std::byte*>(guest::Word{0x7000} << 32),
                                     kEntrySize);
    claim(fails(guest::xen::memory_map(machine_, token_, nowhere), Error::kFault),
          "memory_map into unmapped memory is kFault"sv);
#endif
  }

  void params() {
    claim(fails(guest::xen::get_param(machine_, token_, abi::HVM_NR_PARAMS), Error::kInvalid),
          "get_param of an unknown one is kInvalid"sv);
    claim(guest::xen::set_param(machine_, token_, abi::HVM_PARAM_CALLBACK_IRQ, 0).has_value() &&
              guest::xen::get_param(machine_, token_, abi::HVM_PARAM_CALLBACK_IRQ) == 0u,
          "get_param gives what set_param set"sv);
    const auto pages = guest::xen::shared_pages(machine_, token_);
    claim(domain_.is_hardware_domain == (!pages.console && !pages.xenstore),
          "shared_pages are absent in a hardware domain, and only there"sv);
  }

  // Nothing: it cannot be read.
  [[nodiscard]] std::optional<std::uint32_t> word_at(base::PhysAddr page, std::size_t offset) {
    std::byte bytes[4];
    if (!machine_.read(base::PhysAddr(page.value() + offset), bytes)) {
      return std::nullopt;
    }
    const auto value = base::read_at<base::Le32>(bytes, 0);
    return value ? std::optional(value->get()) : std::nullopt;
  }

  void shared_info() {
    constexpr std::size_t kSeconds = 4;  // in the wall clock, after its version
    constexpr bool kIs64 = sizeof(guest::Word) == 8;
    const auto page = guest::find_shared_info_page(domain_.map);
    claim(page.has_value(), "find_shared_info_page finds one"sv);
    if (!page) {
      return;
    }
    guest::print(memory_map::Line().text("# page "sv).hex(page->value()).text("\n"sv).view());
    claim(guest::xen::map_shared_info(machine_, token_, *page).has_value(), "map_shared_info"sv);
    claim(guest::xen::get_param(machine_, token_, abi::HVM_PARAM_CALLBACK_IRQ) == 1u,
          "map_shared_info says that the domain knows of Xen"sv);
    // Before it is latched the layout is the 64-bit one, and what was written by it stays.
    const auto wide = word_at(*page, abi::kSharedInfoWallClock64 + kSeconds);
    const auto narrow = word_at(*page, abi::kSharedInfoWallClock32 + kSeconds);
    claim(kIs64 ? wide && *wide != 0 && narrow == 0u : narrow && *narrow != 0 && narrow == wide,
          "map_shared_info latches the layout to this mode"sv);
    const base::PhysAddr inside(page->value() + 8);
    claim(fails(guest::xen::map_shared_info(machine_, token_, inside), Error::kInvalid),
          "map_shared_info wants a whole page"sv);
    claim(guest::xen::unmap_shared_info(machine_, token_, *page).has_value(),
          "unmap_shared_info"sv);
    claim(!guest::xen::unmap_shared_info(machine_, token_, *page).has_value(),
          "unmap_shared_info cannot do it twice"sv);
  }

  void vcpu_info() {
    const auto first = reinterpret_cast<guest::Word>(vcpu_infos);
    const auto at = [&](std::size_t offset) { return base::PhysAddr(first + offset); };
    constexpr std::size_t kLast = sizeof(vcpu_infos) - abi::kVcpuInfoSize;
    claim(
        fails(guest::xen::register_vcpu_info(machine_, token_, 0, at(kLast + 1)), Error::kInvalid),
        "register_vcpu_info does not cross a page"sv);
    claim(guest::xen::register_vcpu_info(machine_, token_, 0, at(kLast)).has_value(),
          "register_vcpu_info at the end of a page"sv);
    claim(fails(guest::xen::register_vcpu_info(machine_, token_, 0, at(0)), Error::kInvalid),
          "register_vcpu_info is once for each processor"sv);
  }

  void processors() {
    claim(guest::xen::vcpu_is_up(machine_, token_, 0) == true, "vcpu_is_up of the first"sv);
    std::uint32_t count = 1;
    while (guest::xen::vcpu_is_up(machine_, token_, count)) {
      ++count;
    }
    claim(count == domain_.processors, "vcpu_is_up counts the processors"sv);
    note("processors"sv, count);
    claim(fails(guest::xen::vcpu_is_up(machine_, token_, count), Error::kNoEntry),
          "vcpu_is_up of one that is not there is kNoEntry"sv);
    const auto start = second_start(machine_);
    claim(fails(guest::xen::start_vcpu(machine_, token_, count, start), Error::kNoEntry),
          "start_vcpu of one that is not there is kNoEntry"sv);
    claim(fails(guest::xen::start_vcpu(machine_, token_, 0, start), Error::kExists),
          "start_vcpu of one that runs is kExists"sv);
    if (count < 2) {
      return;
    }
    claim(guest::xen::vcpu_is_up(machine_, token_, 1) == false, "vcpu_is_up before the start"sv);
    claim(guest::xen::start_vcpu(machine_, token_, 1, start).has_value(), "start_vcpu"sv);
    claim(wait_for([] { return __atomic_load_n(&arrived, __ATOMIC_ACQUIRE) == kArgument; }),
          "the second processor has its argument"sv);
    claim(fails(guest::xen::start_vcpu(machine_, token_, 1, start), Error::kExists),
          "start_vcpu for the second time is kExists"sv);
    claim(wait_for([&] { return guest::xen::vcpu_is_up(machine_, token_, 1) == false; }),
          "vcpu_is_up no more after the second processor halted"sv);
  }

  const Domain& domain_;
  guest::Machine& machine_ = domain_.machine;
  const guest::xen::Token& token_ = domain_.token;
  std::uint64_t count_ = 0;
  bool failed_ = false;
};

}  // namespace

bool try_every_call(const Domain& domain) {
  return Claims(domain).run();
}

}  // namespace pvh::kernels
