// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/base/fd.hpp>
#include <pvh/base/little_endian.hpp>
#include <pvh/guest_memory/guest_memory.hpp>

namespace pvh::guest_memory {
namespace {

using base::ByteSize;
using base::PhysAddr;
using base::Range;

Range range(std::uint64_t first, std::uint64_t size) {
  return *Range::from_size(PhysAddr(first), ByteSize(size));
}

GuestMemory two_neighbours_and_an_island() {
  const std::array ranges{range(0x100000000, 0x1000), range(0x1000, 0x1000), range(0x2000, 0x2000)};
  return std::move(*GuestMemory::create(ranges));
}

TEST(GuestMemory, SortsItsRegionsAndKnowsItsSize) {
  const GuestMemory memory = two_neighbours_and_an_island();
  ASSERT_EQ(memory.regions().size(), 3u);
  EXPECT_EQ(memory.regions()[0].range.first(), PhysAddr(0x1000));
  EXPECT_EQ(memory.regions()[2].range.first(), PhysAddr(0x100000000));
  EXPECT_EQ(memory.total(), ByteSize(0x4000));
}

TEST(GuestMemory, AccessCrossesTouchingRegions) {
  GuestMemory memory = two_neighbours_and_an_island();
  ASSERT_TRUE(memory.write_value(PhysAddr(0x1ffc), base::Le64(0x1122334455667788)));
  EXPECT_EQ(memory.read_value<base::Le64>(PhysAddr(0x1ffc))->get(), 0x1122334455667788u);
  EXPECT_EQ(memory.read_value<base::Le32>(PhysAddr(0x2000))->get(), 0x11223344u);
  EXPECT_FALSE(memory.slice(PhysAddr(0x1ffc), ByteSize(8))) << "a slice is one host mapping";
}

TEST(GuestMemory, ChecksStartEndAndOverflow) {
  GuestMemory memory = two_neighbours_and_an_island();
  EXPECT_TRUE(memory.write_value(PhysAddr(0x3ff8), base::Le64(1)));
  EXPECT_FALSE(memory.write_value(PhysAddr(0x3ffc), base::Le64(1))) << "the end is outside";
  EXPECT_FALSE(memory.write_value(PhysAddr(0xffc), base::Le64(1))) << "the start is outside";
  EXPECT_FALSE(memory.read_value<base::Le64>(PhysAddr(UINT64_MAX - 3)));
  EXPECT_FALSE(memory.slice(PhysAddr(0x1000), ByteSize(UINT64_MAX)));
  EXPECT_FALSE(memory.slice(PhysAddr(0x5000), ByteSize(0)));
  EXPECT_TRUE(memory.slice(PhysAddr(0x1000), ByteSize(0x1000)));
  EXPECT_EQ(memory.read_value<base::Le64>(PhysAddr(0x4000)).error().code, MemoryError::kOutsideRam);
}

TEST(GuestMemory, AFailedWriteChangesNothing) {
  GuestMemory memory = two_neighbours_and_an_island();
  const std::vector<std::byte> ones(0x4000, std::byte{0xff});
  EXPECT_FALSE(memory.write(PhysAddr(0x1000), ones));
  EXPECT_EQ(memory.read_value<base::Le64>(PhysAddr(0x1000))->get(), 0u);
}

TEST(GuestMemory, EmptyAccessIsFine) {
  GuestMemory memory = two_neighbours_and_an_island();
  EXPECT_TRUE(memory.write(PhysAddr(0x1000), {}));
  EXPECT_TRUE(memory.read(PhysAddr(0x1000), {}));
}

TEST(GuestMemory, RefusesOverlapAndHalfPages) {
  EXPECT_FALSE(GuestMemory::create(std::array{range(0, 0x2000), range(0x1000, 0x1000)}));
  EXPECT_FALSE(GuestMemory::create(std::array{range(0x800, 0x1000)}));
  EXPECT_FALSE(GuestMemory::create(std::array{range(0, 0x800)}));
}

TEST(GuestMemory, SaysWhenTheHostCannot) {
  const auto memory = GuestMemory::create(std::array{range(0, std::uint64_t{1} << 60)});
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, MemoryError::kNoHostMemory);
  EXPECT_NE(memory.error().sys_errno, 0);
  EXPECT_THAT(base::to_text(memory.error()), testing::HasSubstr("--memory"));
}

TEST(GuestMemory, IsAlignedForHugePagesAsTheGuestSeesIt) {
  const std::array ranges{range(0x3000, 4u << 20)};
  const auto memory = GuestMemory::create(ranges);
  ASSERT_TRUE(memory);
  const auto host = reinterpret_cast<std::uintptr_t>(memory->regions()[0].mapping.bytes().data());
  EXPECT_EQ(host % (2u << 20), 0x3000u);
}

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

// As another process finds it: the file that /proc/PID/fd calls so.
base::Fd open_by_name(const std::string& name) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the iterator's own
    if (std::filesystem::read_symlink(entry.path(), gone) == "/memfd:" + name + " (deleted)") {
      return base::Fd(::open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
    }
  }
  return {};
}

std::uint64_t taken(const base::Fd& file) {
  struct stat status{};
  EXPECT_EQ(::fstat(file.get(), &status), 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

bool is_all(base::Bytes bytes, std::byte value) {
  return std::ranges::all_of(bytes, [value](std::byte byte) { return byte == value; });
}

// 3 MiB from 1 MiB on, and a page far above.
Result<GuestMemory> memory_of(Backing::Kind kind, const std::string& name) {
  return GuestMemory::create(std::array{range(kMiB, 3 * kMiB), range(0x100000000, 0x1000)},
                             {.kind = kind, .name = name});
}

TEST(Discard, GivesWholePagesBackThatAreZerosAgain) {
  for (const auto kind : {Backing::Kind::kAnonymous, Backing::Kind::kMemfd}) {
    auto memory = memory_of(kind, "pvh-test-discard");
    ASSERT_TRUE(memory);
    auto bytes = *memory->slice(PhysAddr(kMiB), ByteSize(3 * kMiB));
    std::ranges::fill(bytes, std::byte{0xff});
    memory->discard(bytes.subspan(0x1800, 0x3000));
    EXPECT_TRUE(is_all(bytes.first(0x2000), std::byte{0xff})) << "a page in part";
    EXPECT_TRUE(is_all(bytes.subspan(0x2000, 0x2000), std::byte{0}));
    EXPECT_TRUE(is_all(bytes.subspan(0x4000), std::byte{0xff}));
    memory->discard(bytes.subspan(0x10010, 0x1000));
    EXPECT_TRUE(is_all(bytes.subspan(0x10000, 0x2000), std::byte{0xff})) << "no whole page";
    memory->discard(bytes);
    EXPECT_TRUE(is_all(bytes, std::byte{0}));
  }
}

TEST(Discard, LeavesAloneWhatIsNotTheGuests) {
  auto memory = memory_of(Backing::Kind::kAnonymous, "");
  std::vector<std::byte> other(0x4000, std::byte{0xff});
  memory->discard(other);
  EXPECT_TRUE(is_all(other, std::byte{0xff}));
}

TEST(Memfd, IsFoundByItsNameWithEachByteAtItsGuestAddress) {
  auto memory = memory_of(Backing::Kind::kMemfd, "pvh-test-name");
  ASSERT_TRUE(memory) << base::to_text(memory.error());
  const base::Fd file = open_by_name("pvh-test-name");
  ASSERT_TRUE(file);
  for (const std::uint64_t address : {std::uint64_t{0x180000}, std::uint64_t{0x100000ff8}}) {
    ASSERT_TRUE(memory->write_value(PhysAddr(address), base::Le64(address + 1)));
    std::array<std::byte, 8> seen{};
    ASSERT_EQ(::pread(file.get(), seen.data(), seen.size(), static_cast<off_t>(address)), 8);
    EXPECT_EQ(std::bit_cast<base::Le64>(seen).get(), address + 1);
  }
  const std::array changed{std::byte{0x5a}};
  ASSERT_EQ(::pwrite(file.get(), changed.data(), 1, 0x200000), 1);
  std::array<std::byte, 1> read{};
  ASSERT_TRUE(memory->read(PhysAddr(0x200000), read));
  EXPECT_EQ(read, changed);
  EXPECT_NE(::ftruncate(file.get(), 0x1000), 0) << "or the guest would be killed";
  EXPECT_EQ(errno, EPERM);
}

TEST(Memfd, TakesWhatIsTouchedAndNoLonger) {
  auto memory = memory_of(Backing::Kind::kMemfd, "pvh-test-taken");
  ASSERT_TRUE(memory);
  const base::Fd file = open_by_name("pvh-test-taken");
  EXPECT_EQ(taken(file), 0u);
  auto bytes = *memory->slice(PhysAddr(kMiB), ByteSize(3 * kMiB));
  std::ranges::fill(bytes, std::byte{1});
  EXPECT_EQ(taken(file), 3 * kMiB);
  memory->discard(bytes.first(kMiB));
  EXPECT_EQ(taken(file), 2 * kMiB);
}

TEST(Memfd, IsAlignedAsTheGuestSeesItAndGoneWithTheMemory) {
  {
    const auto memory = memory_of(Backing::Kind::kMemfd, "pvh-test-gone");
    ASSERT_TRUE(memory);
    const auto host = reinterpret_cast<std::uintptr_t>(memory->regions()[0].mapping.bytes().data());
    EXPECT_EQ(host % (2 * kMiB), kMiB);
    EXPECT_TRUE(open_by_name("pvh-test-gone"));
  }
  EXPECT_FALSE(open_by_name("pvh-test-gone"));
}

TEST(Memfd, MayHaveALongNameOrNone) {
  EXPECT_TRUE(memory_of(Backing::Kind::kMemfd, ""));
  EXPECT_TRUE(memory_of(Backing::Kind::kMemfd, std::string(5000, 'x')));
}

TEST(Memfd, ThatWouldBeLargerThanAFileMayBeIsRefused) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{.rlim_cur = kMiB, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto memory = memory_of(Backing::Kind::kMemfd, "");
  ::setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(memory) << "and no SIGXFSZ has come";
  EXPECT_EQ(memory.error().code, MemoryError::kNoFile);
  EXPECT_EQ(memory.error().sys_errno, EFBIG);
}

TEST(Memfd, SaysWhenTheHostCannot) {
  const auto memory = GuestMemory::create(std::array{range(0, std::uint64_t{1} << 60)},
                                          {.kind = Backing::Kind::kMemfd});
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, MemoryError::kNoHostMemory);
}

// A kernel may be built without them: then there is not even a pool that is empty.
bool has_pool() {
  return std::filesystem::exists("/sys/kernel/mm/hugepages/hugepages-2048kB");
}

// With huge pages the rest is tests/memory_test.py's, where there are some.
TEST(HugePages, TooFewAreToldWithHowManyAndTheRemedy) {
  const auto memory = GuestMemory::create(std::array{range(0x1000, std::uint64_t{1} << 42)},
                                          {.kind = Backing::Kind::kHugePages});
  ASSERT_FALSE(memory);
  if (!has_pool()) {
    EXPECT_EQ(memory.error().code, MemoryError::kNoFile);
    EXPECT_THAT(base::to_text(memory.error()), testing::HasSubstr("without --hugepages"));
    return;
  }
  EXPECT_EQ(memory.error().code, MemoryError::kNoHugePages);
  EXPECT_THAT(base::to_text(memory.error()),
              testing::AllOf(testing::HasSubstr("(2097151 of 2 MiB are needed, "),
                             testing::HasSubstr("`sysctl vm.nr_hugepages=2"),
                             testing::HasSubstr("without --hugepages")));
}

TEST(HugePages, ARegionWithoutAWholeOneIsAnonymous) {
  auto memory =
      GuestMemory::create(std::array{range(kMiB, 2 * kMiB)}, {.kind = Backing::Kind::kHugePages});
  if (!has_pool()) {
    ASSERT_FALSE(memory);
    EXPECT_EQ(memory.error().code, MemoryError::kNoFile);
    return;
  }
  ASSERT_TRUE(memory) << base::to_text(memory.error());
  EXPECT_TRUE(memory->regions()[0].in_file.empty());
  auto bytes = *memory->slice(PhysAddr(kMiB), ByteSize(2 * kMiB));
  std::ranges::fill(bytes, std::byte{1});
  memory->discard(bytes);
  EXPECT_TRUE(is_all(bytes, std::byte{0}));
}

}  // namespace
}  // namespace pvh::guest_memory
