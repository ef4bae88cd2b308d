// SPDX-License-Identifier: BSD-2-Clause
// The real trampoline, whose instructions nobody here executes: a processor is played by the test,
// which does what pvh_processor_entry does when a SIPI comes.
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/guest/internal/arch.hpp>
#include <pvh/guest/pvh.hpp>

#include "lib/guest/internal/local_apic.hpp"
#include "lib/guest/internal/processor_start.hpp"
#include "lib/guest/testing/acpi_builder.hpp"
#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"

namespace pvh::guest {

namespace arch {

ControlState control_state() {
  return {.cr0 = 0x8001'0033, .cr3 = 0x20'1000, .cr4 = 0x20, .efer = 0xd00};
}
base::PhysAddr identity_cr3() {
  return base::PhysAddr(0x20'2000);
}
void load_descriptors() {}

}  // namespace arch

void halt_forever() {
  std::abort();
}

namespace {

using testing::AcpiBytes;
using testing::append;
using testing::BootBuilder;
using ::testing::ElementsAre;
using testing::FakeMachine;
using testing::FakeXen;
using ::testing::IsEmpty;
using testing::local_apic;
using testing::local_x2apic;
using ::testing::Pair;

constexpr std::uint64_t kApic = 0xfee0'0000;
constexpr std::uint32_t kApicBase = 0x1b;

ProcessorEntry entry_of_no_consequence() {
  return [](void*) {};
}

class Smp : public ::testing::Test {
 protected:
  Machine& machine() { return fake_.machine(); }

  void SetUp() override {
    fake_.leaves[{1, 0}].edx = 1u << 9;
    fake_.leaves[{1, 0}].ebx = 7u << 24;
    fake_.msrs[kApicBase] = kApic | 1u << 11 | 1u << 8;
    fake_.on_mmio_read = [this](std::uint64_t address) -> std::optional<std::uint32_t> {
      if (address == kApic + 0x20) {
        return own_id_ << 24;
      }
      return address == kApic + 0x300 ? std::optional(0u) : std::nullopt;
    };
    fake_.on_mmio_write = [this](std::uint64_t address, std::uint32_t value) {
      if (address == kApic + 0x310) {
        to_ = value >> 24;
      } else if (address == kApic + 0x300) {
        command(to_, value);
      }
      return address - kApic < 0x1000;
    };
  }

  void use_x2apic() {
    fake_.msrs[kApicBase] |= 1u << 10;
    fake_.msrs[0x802] = own_id_;
  }

  void add_madt(const AcpiBytes& entries) {
    AcpiBytes body;
    append(body, base::Le32(0xfee0'0000));
    append(body, base::Le32(1));
    body.insert(body.end(), entries.begin(), entries.end());
    builder_.rsdp = 0x9'0000;
    madt_ = testing::acpi_table("APIC", body);
  }

  Boot& boot() {
    if (!boot_) {
      const base::PhysAddr ebx = builder_.place();
      if (builder_.rsdp != 0) {
        fake_.put(0x9'0000, testing::acpi_rsdp(0, 0x9'0040));
        fake_.put(0x9'0040, testing::acpi_xsdt({0x9'0100}));
        fake_.put(0x9'0100, madt_);
      }
      auto captured = builder_.capture_at(ebx);
      EXPECT_TRUE(captured);
      boot_.emplace(*std::move(captured));
    }
    return *boot_;
  }

  // What a processor does that got this command.
  void command(std::uint32_t apic_id, std::uint32_t value) {
    commands_.emplace_back(apic_id, value);
    if ((value & 0x700) == 0x600 && ++sipis_ >= arrives_at_sipi_) {
      page_ = (value & 0xff) << 12;
      run(data().start.get());
    }
  }
  TrampolineData data() {
    const auto offset = static_cast<std::uint64_t>(pvh_trampoline_data - pvh_trampoline);
    return fake_.get<TrampolineData>(page_ + offset).value_or(TrampolineData{});
  }
  void run(std::uint64_t start) {
    seen_ = reinterpret_cast<ProcessorStart*>(start);
    std::uint32_t expected = kProcessorWanted;
    if (seen_->state.compare_exchange_strong(expected, kProcessorComes)) {
      entry_ = seen_->entry;
      argument_ = seen_->argument;
      stack_ = seen_->stack;
      if (arrives_) {
        seen_->state = kProcessorArrived;
      }
    }
  }

  std::vector<Processor> others(std::size_t room = 8) {
    std::vector<Processor> out(room);
    const auto result = other_processors(boot(), out);
    needed_ = result.needed;
    return {result.processors.begin(), result.processors.end()};
  }

  FakeMachine fake_;
  BootBuilder builder_{fake_};
  std::optional<Boot> boot_;
  AcpiBytes madt_;
  std::uint32_t own_id_ = 0;
  std::uint32_t to_ = 0;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> commands_;
  unsigned sipis_ = 0;
  unsigned arrives_at_sipi_ = 1;
  bool arrives_ = true;
  std::uint64_t page_ = 0;
  ProcessorStart* seen_ = nullptr;
  ProcessorEntry entry_ = nullptr;
  void* argument_ = nullptr;
  void* stack_ = nullptr;
  std::size_t needed_ = 0;
};

// ---- local APIC

TEST_F(Smp, ApicIsNotThereOrOff) {
  EXPECT_TRUE(LocalApic::find(machine()));
  fake_.msrs[kApicBase] &= ~std::uint64_t{1u << 11};
  EXPECT_FALSE(LocalApic::find(machine()));
  fake_.leaves[{1, 0}].edx = 0;
  fake_.msrs.clear();
  EXPECT_FALSE(LocalApic::find(machine())) << "and its MSR is not read";
}

TEST_F(Smp, ApicSendsToEightBitsOfIds) {
  auto apic = LocalApic::find(machine());
  own_id_ = 5;
  EXPECT_EQ(apic->id(), 5u);
  EXPECT_TRUE(apic->send(0xfe, kApicInit));
  EXPECT_FALSE(apic->send(0xff, kApicInit)) << "that is everybody";
  EXPECT_FALSE(apic->send(0x100, kApicInit));
  EXPECT_THAT(commands_, ElementsAre(Pair(0xfe, 0x4500)));
}

TEST_F(Smp, ApicThatStaysBusyIsNotWaitedForForEver) {
  fake_.on_mmio_read = [](std::uint64_t) { return std::optional(1u << 12); };
  EXPECT_TRUE(LocalApic::find(machine())->send(1, kApicInit));
}

TEST_F(Smp, X2ApicSendsByMsr) {
  own_id_ = 0x12345;
  use_x2apic();
  auto apic = LocalApic::find(machine());
  EXPECT_EQ(apic->id(), 0x12345u);
  EXPECT_TRUE(apic->send(0x1234, kApicStartUp | 8));
  EXPECT_THAT(fake_.written_msrs, ElementsAre(Pair(0x830, 0x1234'0000'4608)));
}

// ---- who there is

TEST_F(Smp, OthersAreTheEnabledOnesOfTheMadt) {
  AcpiBytes entries;
  append(entries, local_apic(0, 4));
  append(entries, local_apic(1, 5));
  append(entries, local_apic(2, 6, 0));
  append(entries, local_x2apic(3, 0x300));
  append(entries, local_x2apic(1, 5));
  add_madt(entries);
  own_id_ = 4;
  EXPECT_THAT(others(), ElementsAre(Processor{5, 1, true}, Processor{0x300, 3, true}));
  EXPECT_EQ(needed_, 2u);
  EXPECT_THAT(others(1), ElementsAre(Processor{5, 1, true}));
  EXPECT_EQ(needed_, 2u);
}

TEST_F(Smp, OwnIdIsOfCpuidWhereTheApicIsOff) {
  AcpiBytes entries;
  append(entries, local_apic(0, 7));
  append(entries, local_apic(1, 8));
  add_madt(entries);
  fake_.msrs[kApicBase] = kApic;
  EXPECT_THAT(others(), ElementsAre(Processor{8, 1, true}));
}

TEST_F(Smp, NobodyWithoutAMadt) {
  EXPECT_THAT(others(), IsEmpty());
}

// ---- starting by INIT and SIPI

TEST_F(Smp, StartsByTheTrampoline) {
  int argument = 0;
  char stack[16];
  ProcessorStarter starter(boot());
  EXPECT_TRUE(starter.start({3, 1, true}, entry_of_no_consequence(), &argument, stack));

  ASSERT_NE(page_, 0u);
  EXPECT_LT(page_, 0xa'0000u);
  EXPECT_THAT(commands_, ElementsAre(Pair(3, 0x4500), Pair(3, 0x4600 | page_ >> 12)));
  EXPECT_EQ(argument_, &argument);
  EXPECT_EQ(stack_, stack);
  EXPECT_NE(entry_, nullptr);
  EXPECT_EQ(seen_->cr3, 0x20'1000u);
  EXPECT_EQ(seen_->cr4, 0x20u);

  // Nobody may be given the page.
  for (const memory_map::Entry& each : boot().free()) {
    EXPECT_FALSE(each.range.contains(base::PhysAddr(page_)));
  }
  const TrampolineData filled = data();
  EXPECT_EQ(filled.cr3.get(), 0x20'2000u) << "what maps the page to itself";
  EXPECT_EQ(filled.efer.get(), 0x900u) << "LMA is the processor's own";
  EXPECT_EQ(filled.cr0.get(), 0x8001'0033u);
  EXPECT_EQ(filled.entry.get(), reinterpret_cast<std::uintptr_t>(pvh_processor_entry));
  EXPECT_EQ(filled.gdt_limit.get(), 31u);
  // Flat code and data of both widths, where the table says.
  EXPECT_EQ(fake_.get<base::Le64>(filled.gdt_base.get() + 8)->get(), 0x00cf9b000000ffffu);
  EXPECT_EQ(fake_.get<base::Le64>(filled.gdt_base.get() + 16)->get(), 0x00cf93000000ffffu);
  EXPECT_EQ(fake_.get<base::Le64>(filled.gdt_base.get() + 24)->get(), 0x00af9b000000ffffu);
  EXPECT_EQ(filled.protected_mode_selector.get(), 8);
  EXPECT_EQ(filled.long_mode_selector.get(), 24);
  const auto size = static_cast<std::uint64_t>(pvh_trampoline_end - pvh_trampoline);
  for (const base::Le32 at : {filled.protected_mode_entry, filled.long_mode_entry}) {
    EXPECT_GT(at.get(), page_);
    EXPECT_LT(at.get(), page_ + size);
  }
  EXPECT_LE(size, 4096u);
}

TEST_F(Smp, SecondProcessorUsesTheSamePage) {
  ProcessorStarter starter(boot());
  ASSERT_TRUE(starter.start({3, 1, true}, entry_of_no_consequence(), nullptr, nullptr));
  const std::uint64_t first = std::exchange(page_, 0);
  int argument = 0;
  ASSERT_TRUE(starter.start({4, 2, true}, entry_of_no_consequence(), &argument, nullptr));
  EXPECT_EQ(page_, first);
  EXPECT_EQ(argument_, &argument);
}

TEST_F(Smp, X2ApicStartsTheSameWay) {
  use_x2apic();
  // Nobody answers an MSR here, so the processor comes with the wait.
  fake_.on_pause = [&] {
    if (!fake_.written_msrs.empty() && seen_ == nullptr) {
      page_ = (fake_.written_msrs.back().second & 0xff) << 12;
      if (page_ != 0) {
        run(data().start.get());
      }
    }
  };
  ProcessorStarter starter(boot());
  EXPECT_TRUE(starter.start({0x12345, 1, true}, entry_of_no_consequence(), nullptr, nullptr));
  EXPECT_EQ(fake_.written_msrs.front(),
            (std::pair<std::uint32_t, std::uint64_t>(0x830, 0x1'2345'0000'4500)));
}

TEST_F(Smp, SecondSipiIsForWhoMissedTheFirst) {
  arrives_at_sipi_ = 2;
  ProcessorStarter starter(boot());
  EXPECT_TRUE(starter.start({3, 1, true}, entry_of_no_consequence(), nullptr, nullptr));
  EXPECT_EQ(commands_.size(), 3u);
}

TEST_F(Smp, WhoDoesNotAnswerIsSentBackAndCannotComeLater) {
  arrives_at_sipi_ = 3;
  fake_.tsc_step = 100'000'000;
  ProcessorStarter starter(boot());
  EXPECT_EQ(starter.start({3, 1, true}, entry_of_no_consequence(), nullptr, nullptr),
            std::unexpected(StartError::kNoAnswer));
  ASSERT_EQ(commands_.size(), 4u);
  EXPECT_EQ(commands_.back(), (std::pair<std::uint32_t, std::uint32_t>(3, 0x4500)));
  // Seconds, of the fastest clock there is.
  EXPECT_GE(fake_.tsc, 5u * 5'000'000'000u);

  page_ = (commands_[1].second & 0xff) << 12;
  run(data().start.get());
  EXPECT_EQ(entry_, nullptr) << "it comes too late";

  // The next one is started all the same.
  EXPECT_TRUE(starter.start({4, 2, true}, entry_of_no_consequence(), nullptr, nullptr));
}

TEST_F(Smp, WhoComesAtTheLastMomentIsWaitedFor) {
  arrives_ = false;
  fake_.tsc_step = 100'000'000;
  std::uint64_t pauses = 0;
  fake_.on_pause = [&] {
    // Later than it would be given up, had it not begun.
    if (seen_ != nullptr && ++pauses == 300) {
      seen_->state = kProcessorArrived;
    }
  };
  ProcessorStarter starter(boot());
  EXPECT_TRUE(starter.start({3, 1, true}, entry_of_no_consequence(), nullptr, nullptr));
}

TEST_F(Smp, NoLowPageIsSaid) {
  builder_.map = {{0x100000, 0x7f00000, 1}};
  ProcessorStarter starter(boot());
  EXPECT_EQ(starter.start({3, 1, true}, entry_of_no_consequence(), nullptr, nullptr),
            std::unexpected(StartError::kNoLowPage));
  EXPECT_THAT(commands_, IsEmpty());
}

TEST_F(Smp, NoApicIsSaid) {
  ProcessorStarter starter(boot());
  EXPECT_EQ(starter.start({0x1ff, 1, true}, entry_of_no_consequence(), nullptr, nullptr),
            std::unexpected(StartError::kNoLocalApic));
  fake_.leaves[{1, 0}].edx = 0;
  EXPECT_EQ(starter.start({3, 1, true}, entry_of_no_consequence(), nullptr, nullptr),
            std::unexpected(StartError::kNoLocalApic));
  EXPECT_THAT(commands_, IsEmpty());
}

// ---- on Xen

class SmpOnXen : public Smp {
 protected:
  void SetUp() override {
    Smp::SetUp();
    xen_.vcpus.resize(4);
  }
  FakeXen xen_{fake_};
};

TEST_F(SmpOnXen, OthersAreWhoXenKnows) {
  const auto vcpu = [](std::uint32_t number) { return Processor{kUnknownApicId, number, true}; };
  EXPECT_THAT(others(), ElementsAre(vcpu(1), vcpu(2), vcpu(3)));
  EXPECT_THAT(others(2), ElementsAre(vcpu(1), vcpu(2)));
  EXPECT_EQ(needed_, 3u);
}

TEST_F(SmpOnXen, MadtTellsTheirApicIds) {
  AcpiBytes entries;
  append(entries, local_x2apic(0, 0));
  append(entries, local_x2apic(1, 2));
  append(entries, local_x2apic(3, 6));
  add_madt(entries);
  EXPECT_THAT(others(), ElementsAre(Processor{2, 1, true}, Processor{kUnknownApicId, 2, true},
                                    Processor{6, 3, true}));
}

TEST_F(SmpOnXen, StartsByHypercallIn64BitMode) {
  int argument = 0;
  char stack[16];
  fake_.on_pause = [&] {
    if (xen_.vcpus[2].up && seen_ == nullptr) {
      run(xen_.vcpus[2].context_64->regs.rdi.get());
    }
  };
  ProcessorStarter starter(boot());
  ASSERT_TRUE(
      starter.start({kUnknownApicId, 2, true}, entry_of_no_consequence(), &argument, stack));
  EXPECT_EQ(argument_, &argument);
  EXPECT_EQ(stack_, stack);
  const auto& regs = xen_.vcpus[2].context_64->regs;
  EXPECT_EQ(regs.rip.get(), reinterpret_cast<std::uintptr_t>(pvh_processor_entry));
  EXPECT_EQ(regs.cr0.get(), 0x8001'0033u);
  EXPECT_EQ(regs.cr3.get(), 0x20'1000u);
  EXPECT_EQ(regs.cr4.get(), 0x20u);
  EXPECT_EQ(regs.efer.get(), 0xd00u);
  EXPECT_THAT(commands_, IsEmpty());
}

TEST_F(SmpOnXen, RefusalIsSaid) {
  ProcessorStarter starter(boot());
  EXPECT_EQ(starter.start({kUnknownApicId, 9, true}, entry_of_no_consequence(), nullptr, nullptr),
            std::unexpected(StartError::kXenRefused));
}

}  // namespace
}  // namespace pvh::guest
