// SPDX-License-Identifier: BSD-2-Clause
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <pvh/devices/virtio/disk.hpp>

#include "lib/devices/testing/temp_file.hpp"

namespace pvh::devices::virtio {
namespace {

using testing::TempFile;

constexpr std::uint64_t kSector = 512;

std::optional<DiskError> error_of(const DiskOptions& options) {
  const auto disk = Disk::open(options);
  return disk ? std::nullopt : std::optional(disk.error().code);
}

TEST(DiskTest, SeesWholeSectorsOnly) {
  const TempFile file(std::string(3 * kSector + 5, 'x'));
  const auto disk = Disk::open({.path = file.path()});
  ASSERT_TRUE(disk);
  EXPECT_EQ(disk->size(), 3 * kSector);
  EXPECT_EQ(disk->tail(), 5u);
  EXPECT_EQ(disk->block_size(), kSector);
  EXPECT_FALSE(disk->is_snapshot());
}

TEST(DiskTest, RefusesWhatIsNoDisk) {
  EXPECT_EQ(error_of({.path = "/nonexistent/disk"}), DiskError::kCannotOpen);
  EXPECT_EQ(error_of({.path = ::testing::TempDir()}), DiskError::kNotADisk);
  EXPECT_EQ(error_of({.path = ::testing::TempDir(), .read_only = true}), DiskError::kNotADisk);
  EXPECT_EQ(error_of({.path = "/dev/null"}), DiskError::kNotADisk);
  const TempFile small(std::string(511, 'x'));
  EXPECT_EQ(error_of({.path = small.path()}), DiskError::kEmpty);
  const std::string fifo = small.path() + ".fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(error_of({.path = fifo, .read_only = true}), DiskError::kNotADisk);  // at once
  ::unlink(fifo.c_str());
}

// Root may do everything: a child of its that is somebody else runs `check`. Whether that went
// well.
template <typename Check>
bool goes_well_without_privilege(Check check) {
  constexpr uid_t kNobody = 65534;
  if (::geteuid() != 0) {
    check();
    return true;
  }
  const pid_t child = ::fork();
  if (child == 0) {
    const bool is_nobody = ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0;
    check();
    ::_exit(is_nobody && !::testing::Test::HasFailure() ? 0 : 1);
  }
  int status = -1;
  return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
}

TEST(DiskTest, TellsAFileThatItMayReadFromOneThatItMayNot) {
  const TempFile file(std::string(kSector, 'x'));
  ASSERT_EQ(::chmod(file.path().c_str(), 0444), 0);
  EXPECT_TRUE(goes_well_without_privilege([&file] {
    EXPECT_EQ(error_of({.path = file.path()}), DiskError::kNotWritable);
    EXPECT_EQ(error_of({.path = file.path(), .read_only = true}), std::nullopt);
    EXPECT_EQ(error_of({.path = file.path(), .snapshot = true}), std::nullopt);
  }));
  ASSERT_EQ(::chmod(file.path().c_str(), 0), 0);
  EXPECT_TRUE(goes_well_without_privilege(
      [&file] { EXPECT_EQ(error_of({.path = file.path()}), DiskError::kCannotOpen); }));
}

TEST(DiskTest, HasOneWriterOrManyReaders) {
  const TempFile file(std::string(kSector, 'x'));
  const DiskOptions writes{.path = file.path()};
  const DiskOptions reads{.path = file.path(), .read_only = true};
  const DiskOptions snapshot{.path = file.path(), .snapshot = true};
  {
    const auto writer = Disk::open(writes);
    ASSERT_TRUE(writer);
    EXPECT_EQ(error_of(writes), DiskError::kInUse);
    EXPECT_EQ(error_of(reads), DiskError::kInUse);
    EXPECT_EQ(error_of(snapshot), DiskError::kInUse);
  }
  const auto reader = Disk::open(reads);
  ASSERT_TRUE(reader);
  EXPECT_EQ(error_of(snapshot), std::nullopt);
  EXPECT_EQ(error_of(reads), std::nullopt);
  const auto refused = Disk::open(writes);
  ASSERT_FALSE(refused);
  EXPECT_EQ(base::to_text(refused.error()),
            "the disk is in use by another machine; end that one, or give the disk to both with "
            ",ro or ,snapshot");
}

TEST(DiskTest, ASnapshotNeedsAFolder) {
  const TempFile file(std::string(kSector, 'x'));
  EXPECT_EQ(error_of({.path = file.path(), .snapshot = true, .overlay_folder = "/nonexistent"}),
            DiskError::kNoOverlay);
  // Of a disk that takes nothing there is nothing to keep apart.
  const auto both = Disk::open({.path = file.path(), .read_only = true, .snapshot = true});
  ASSERT_TRUE(both);
  EXPECT_TRUE(both->read_only());
  EXPECT_FALSE(both->is_snapshot());
}

TEST(DiskTest, FindsWhatWasWrittenInTheOverlay) {
  const TempFile file(std::string(64 * kSector, 'x'));
  auto disk = Disk::open({.path = file.path(), .snapshot = true});
  ASSERT_TRUE(disk);
  const int overlay = disk->writable_fd();
  const int base = disk->find(0, 1).fd;
  ASSERT_NE(overlay, base);
  EXPECT_EQ(disk->find(0, 64 * kSector).size, 64 * kSector);

  disk->written(3 * kSector, 2 * kSector);
  const auto expect = [&](std::uint64_t offset, std::uint64_t size, int fd, std::uint64_t found) {
    const Disk::Place place = disk->find(offset, size);
    EXPECT_EQ(place.fd, fd);
    EXPECT_EQ(place.size, found);
  };
  expect(0, 64 * kSector, base, 3 * kSector);
  expect(3 * kSector, kSector, overlay, kSector);
  expect(3 * kSector, 64 * kSector, overlay, 2 * kSector);
  expect(3 * kSector + 10, 64 * kSector, overlay, 2 * kSector - 10);
  expect(5 * kSector, 59 * kSector, base, 59 * kSector);

  // Parts of sectors do not count.
  disk->written(10 * kSector, kSector - 1);
  expect(10 * kSector, 2 * kSector, base, 2 * kSector);
  disk->written(10 * kSector, 2 * kSector - 1);
  expect(10 * kSector, 2 * kSector, overlay, kSector);
  expect(11 * kSector, 2 * kSector, base, 2 * kSector);
  disk->written(63 * kSector, kSector);
  expect(63 * kSector, kSector, overlay, kSector);
}

}  // namespace
}  // namespace pvh::devices::virtio
