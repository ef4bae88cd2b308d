// SPDX-License-Identifier: BSD-2-Clause
// What is decided and refused before KVM is asked; tests/embed has the rest.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <pvh/vmm/builder.hpp>
#include <pvh/vmm/layout.hpp>

#include "lib/loader/testing/elf_builder.hpp"

namespace pvh::vmm {
namespace {

using ::testing::HasSubstr;

class MachineBuilderTest : public ::testing::Test {
 public:
  MachineBuilderTest() {
    std::string name = ::testing::TempDir() + "pvh-builder-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~MachineBuilderTest() override { std::filesystem::remove_all(folder_); }

 protected:
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ / name; }
  [[nodiscard]] std::string make(const std::string& name, base::Bytes content) const {
    EXPECT_TRUE(loader::testkit::write_file(path(name), content));
    return path(name);
  }
  [[nodiscard]] std::string kernel() const {
    return make("kernel", loader::testkit::small_kernel(loader::ElfClass::k32));
  }
  // Of a plan that must fail.
  [[nodiscard]] static Failure failure_of(const MachineBuilder& builder) {
    auto planned = builder.plan();
    return planned ? Failure{FailureKind::kHost, "it was planned"} : planned.error();
  }
  [[nodiscard]] Failure refused_port(std::uint16_t first, std::uint64_t count) const {
    return failure_of(MachineBuilder(kernel()).port(first, count, {}));
  }
  [[nodiscard]] Failure refused_mmio(std::uint64_t first, std::uint64_t size,
                                     std::uint64_t memory = std::uint64_t{256} << 20) const {
    return failure_of(MachineBuilder(kernel())
                          .memory(base::ByteSize(memory))
                          .mmio(base::PhysAddr(first), base::ByteSize(size), {}));
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(MachineBuilderTest, WhatItGivesOwnsItsFiles) {
  auto builder = std::make_unique<MachineBuilder>(kernel());
  builder->module(make("module", loader::testkit::to_vector("content")), "words");
  auto planned = builder->plan();
  builder.reset();
  std::filesystem::remove(path("kernel"));
  std::filesystem::remove(path("module"));
  ASSERT_TRUE(planned) << to_text(planned.error());
  const PlannedMachine moved = std::move(*planned);
  ASSERT_EQ(moved.options().modules.size(), 1u);
  EXPECT_EQ(moved.options().modules[0].name, path("module"));
  EXPECT_EQ(moved.options().modules[0].command_line, "words");
  EXPECT_EQ(loader::testkit::to_vector(moved.options().modules[0].content),
            loader::testkit::to_vector("content"));
  EXPECT_TRUE(moved.image().pvh_entry);
  EXPECT_FALSE(moved.boot().plan.pieces.empty());
}

TEST_F(MachineBuilderTest, MakesSeveralPlans) {
  MachineBuilder builder(kernel());
  builder.module(make("module", loader::testkit::to_vector("content")));
  for (int i = 0; i < 2; ++i) {
    const auto planned = builder.plan();
    ASSERT_TRUE(planned);
    EXPECT_EQ(planned->options().modules.size(), 1u);
  }
}

TEST_F(MachineBuilderTest, TakesNoSignalsUnlessTold) {
  MachineBuilder builder(kernel());
  EXPECT_FALSE(builder.plan()->options().take_signals);
  builder.options().take_signals = true;
  EXPECT_TRUE(builder.plan()->options().take_signals);
}

TEST_F(MachineBuilderTest, AFailureNamesItsFile) {
  EXPECT_EQ(to_text(failure_of(MachineBuilder(path("none")))),
            path("none") + ": there is no such file");
  EXPECT_EQ(failure_of(MachineBuilder(kernel()).module(path("gone"))).subject, path("gone"));
  const std::string text = make("text", loader::testkit::to_vector("no kernel at all"));
  const Failure malformed = failure_of(MachineBuilder(text));
  EXPECT_EQ(malformed.kind, FailureKind::kMalformed);
  EXPECT_EQ(malformed.subject, text);
  const Failure no_ram = failure_of(MachineBuilder(kernel()).memory(base::ByteSize(0)));
  EXPECT_EQ(no_ram.kind, FailureKind::kRequest);
  EXPECT_EQ(no_ram.subject, path("kernel"));
  EXPECT_EQ(failure_of(MachineBuilder("")).subject, "\"\"");
}

TEST_F(MachineBuilderTest, TakesPortsThatAreFree) {
  MachineBuilder builder(kernel());
  builder.port(0x510, 2, {}).port(0x512, 1, {}).port(0xffff, 1, {}).port(0, 1, {});
  EXPECT_TRUE(builder.plan());
  builder.options().debug_exit = false;
  EXPECT_TRUE(builder.port(0xf4, 4, {}).plan()) << "it is not there";
}

TEST_F(MachineBuilderTest, RefusesPortsThatAreSomebodys) {
  const Failure serial = refused_port(0x3f0, 9);
  EXPECT_EQ(serial.kind, FailureKind::kRequest);
  EXPECT_EQ(serial.subject, "port 0x3f0-0x3f8");
  EXPECT_THAT(serial.text, HasSubstr("the serial line's, port 0x3f8-0x3ff; choose ports"));
  for (const unsigned port :
       {0x20u, 0x43u, 0x60u, 0x61u, 0x64u, 0x71u, 0xa1u, 0x3ffu, 0x4d0u, 0x603u}) {
    EXPECT_THAT(refused_port(static_cast<std::uint16_t>(port), 1).text, HasSubstr("claims what is"))
        << port;
  }
  MachineBuilder builder(kernel());
  builder.options().debug_exit = true;
  EXPECT_THAT(failure_of(builder.port(0xf4, 1, {})).text, HasSubstr("the debug exit"));
  EXPECT_THAT(failure_of(MachineBuilder(kernel()).port(0x510, 2, {}).port(0x511, 1, {})).text,
              HasSubstr("another such device's, port 0x510-0x511"));
}

TEST_F(MachineBuilderTest, RefusesPortsThatAreNone) {
  EXPECT_THAT(refused_port(0x510, 0).text, HasSubstr("claims 0x0 addresses"));
  EXPECT_THAT(refused_port(0xffff, 2).text, HasSubstr("none above 0xffff"));
  EXPECT_THAT(refused_port(1, UINT64_MAX).text, HasSubstr("none above 0xffff"));
  MachineBuilder builder(kernel());
  builder.options().port_devices.push_back({devices::Port{0x510}, 1, nullptr});
  EXPECT_THAT(failure_of(builder).text, HasSubstr("no device"));
}

TEST_F(MachineBuilderTest, KeepsItsPromiseOfFreeAddresses) {
  for (const auto shape :
       {loader::Shape::kStrict, loader::Shape::kQemu, loader::Shape::kQboot,
        loader::Shape::kFirecracker, loader::Shape::kCloudHypervisor, loader::Shape::kXen}) {
    MachineBuilder builder(kernel());
    builder.memory(base::ByteSize(std::uint64_t{5} << 30))
        .mmio(kCustomMmio.first(), kCustomMmio.size(), {});
    builder.options().shape = shape;
    const auto planned = builder.plan();
    EXPECT_TRUE(planned) << to_text(planned.error());
  }
}

TEST_F(MachineBuilderTest, RefusesAddressesThatAreSomebodys) {
  const Failure ram = refused_mmio(0xfffffff, 2);
  EXPECT_EQ(ram.kind, FailureKind::kRequest);
  EXPECT_EQ(ram.subject, "address 0xfffffff-0x10000000");
  EXPECT_THAT(ram.text, HasSubstr("RAM's, address 0x0-0xfffffff; 0xe0000000-0xefffffff is kept"));
  EXPECT_THAT(refused_mmio(0x100000000, 0x1000, std::uint64_t{4} << 30).text, HasSubstr("RAM's"));
  EXPECT_THAT(refused_mmio(0xd0000fff, 1).text, HasSubstr("a virtio device's"));
  EXPECT_THAT(refused_mmio(0xfec00000, 4).text, HasSubstr("the I/O APIC"));
  EXPECT_THAT(refused_mmio(0xfee00ff0, 4).text, HasSubstr("the local APIC"));
  EXPECT_THAT(refused_mmio(0xfffbf000, 4).text, HasSubstr("KVM's own memory"));
  EXPECT_THAT(refused_mmio(0xe0000000, 0).text, HasSubstr("at least one"));
  EXPECT_THAT(refused_mmio(UINT64_MAX, 2).text, HasSubstr("none above"));
}

TEST(Handlers, ThatAreAbsentAreAsNobody) {
  const auto device = make_device({});
  std::byte read{0};
  device->read(0, {&read, 1});
  EXPECT_EQ(read, std::byte{0xff});
  EXPECT_EQ(device->write(0, {&read, 1}), devices::Action{});
}

TEST(Handlers, GetOffsetsAndAnswer) {
  std::uint64_t at = 0;
  const auto device = make_device(
      {.read = [](std::uint64_t offset, base::MutableBytes data) { data[0] = std::byte(offset); },
       .write =
           [&at](std::uint64_t offset, base::Bytes) {
             at = offset;
             return devices::Action{devices::Request::kStop, 7};
           }});
  std::byte byte{};
  device->read(3, {&byte, 1});
  EXPECT_EQ(byte, std::byte{3});
  EXPECT_EQ(device->write(5, {&byte, 1}), (devices::Action{devices::Request::kStop, 7}));
  EXPECT_EQ(at, 5u);
}

}  // namespace
}  // namespace pvh::vmm
