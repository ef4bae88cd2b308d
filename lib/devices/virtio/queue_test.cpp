// SPDX-License-Identifier: BSD-2-Clause
#include <array>
#include <functional>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <pvh/devices/virtio/backend.hpp>
#include <pvh/devices/virtio/queue.hpp>

#include "lib/devices/testing/virtio_driver.hpp"

namespace pvh::devices::virtio {
namespace {

using testing::Buffer;
using testing::DriverMemory;
using testing::DriverQueue;

constexpr std::uint16_t kSize = 8;

struct QueueTest : ::testing::Test {
  Queue make(bool event_index = false, bool indirect = true) {
    QueueSetup setup = driver.setup();
    setup.event_index = event_index;
    setup.indirect = indirect;
    return *Queue::create(memory.memory(), setup, kSize);
  }
  // What pop() says of a chain that begins with descriptor 0.
  std::expected<bool, QueueFault> pop_head(std::uint16_t head = 0) {
    Queue queue = make();  // which begins with entry 0
    driver.restart();
    driver.make_available(head);
    return queue.pop(chain);
  }
  QueueError error(std::uint16_t head = 0) {
    const auto popped = pop_head(head);
    EXPECT_FALSE(popped);
    return popped ? QueueError{} : popped.error().code;
  }

  DriverMemory memory;
  DriverQueue driver{memory, kSize};
  std::uint64_t page = memory.take(4096, 4096);
  Chain chain;
};

TEST_F(QueueTest, GivesBuffersInOrderAndCopiesAcrossThem) {
  Queue queue = make();
  const auto a = memory.put("hello ");
  const auto b = memory.put("world");
  const auto head =
      driver.add({{a, 6, false}, {b, 5, false}, {page, 3, true}, {page + 8, 9, true}});
  ASSERT_TRUE(queue.pop(chain).value());
  EXPECT_EQ(chain.head, head);
  EXPECT_EQ(chain.readable_bytes, 11u);
  EXPECT_EQ(chain.writable_bytes, 12u);
  std::string text(20, '.');
  EXPECT_EQ(copy_from(chain.readable, 0, std::as_writable_bytes(std::span(text))), 11u);
  EXPECT_EQ(text, "hello world.........");
  std::string part(4, '.');
  EXPECT_EQ(copy_from(chain.readable, 4, std::as_writable_bytes(std::span(part))), 4u);
  EXPECT_EQ(part, "o wo");
  EXPECT_EQ(copy_from(chain.readable, 11, std::as_writable_bytes(std::span(part))), 0u);
  const std::string in = "0123456789abcdef";
  EXPECT_EQ(copy_to(chain.writable, 1, std::as_bytes(std::span(in))), 11u);
  EXPECT_EQ(memory.get(page, 3), std::string("\0"
                                             "01",
                                             3));
  EXPECT_EQ(memory.get(page + 8, 9), "23456789a");
  EXPECT_FALSE(queue.pop(chain).value());
}

TEST_F(QueueTest, GivesBackInAnyOrderAndWrapsItsIndices) {
  Queue queue = make();
  std::uint32_t expected = 0;
  for (int round = 0; round < 70000 / 2; ++round) {
    const auto first = driver.add({{page, 1, true}});
    const auto second = driver.add({{page, 2, true}});
    Chain other;
    ASSERT_TRUE(queue.pop(chain).value());
    ASSERT_TRUE(queue.pop(other).value());
    queue.push(other.head, ++expected);
    queue.push(chain.head, ++expected);
    ASSERT_EQ(driver.used(),
              (std::vector<DriverQueue::Used>{{second, expected - 1}, {first, expected}}));
  }
}

TEST_F(QueueTest, FollowsAnIndirectTable) {
  Queue queue = make();
  const auto text = memory.put("indirect");
  const auto table = memory.put_value(
      std::array{abi::virtq_desc{base::Le64(text), base::Le32(8),
                                 base::Le16(abi::VIRTQ_DESC_F_NEXT), base::Le16(1)},
                 abi::virtq_desc{base::Le64(page), base::Le32(4),
                                 base::Le16(abi::VIRTQ_DESC_F_WRITE), base::Le16(0)}});
  // Behind an ordinary descriptor, as 2.7.5.3.2 allows; the table's WRITE flag means nothing.
  driver.set_descriptor(0, text, 2, abi::VIRTQ_DESC_F_NEXT, 5);
  driver.set_descriptor(5, table, 32, abi::VIRTQ_DESC_F_INDIRECT | abi::VIRTQ_DESC_F_WRITE, 0);
  driver.make_available(0);
  ASSERT_TRUE(queue.pop(chain).value());
  EXPECT_EQ(chain.readable_bytes, 10u);
  EXPECT_EQ(chain.writable_bytes, 4u);
}

TEST_F(QueueTest, IsRefusedWhereItCannotLie) {
  const auto code = [this](const std::function<void(QueueSetup&)>& change,
                           std::uint16_t most = kSize) {
    QueueSetup setup = driver.setup();
    change(setup);
    const auto made = Queue::create(memory.memory(), setup, most);
    EXPECT_FALSE(made);
    return made ? QueueError{} : made.error().code;
  };
  const base::PhysAddr end(DriverMemory::kFirst + DriverMemory::kSize);
  EXPECT_EQ(code([](QueueSetup& s) { s.size = 0; }), QueueError::kBadSize);
  EXPECT_EQ(code([](QueueSetup& s) { s.size = 3; }), QueueError::kBadSize);
  EXPECT_EQ(code([](QueueSetup& s) { s.size = 16; }), QueueError::kBadSize);
  EXPECT_EQ(code([&](QueueSetup& s) { s.descriptors = base::PhysAddr(page + 8); }),
            QueueError::kMisaligned);
  EXPECT_EQ(code([&](QueueSetup& s) { s.driver_area = base::PhysAddr(page + 1); }),
            QueueError::kMisaligned);
  EXPECT_EQ(code([&](QueueSetup& s) { s.device_area = base::PhysAddr(page + 2); }),
            QueueError::kMisaligned);
  EXPECT_EQ(code([&](QueueSetup& s) { s.descriptors = base::PhysAddr(end.value() - 112); }),
            QueueError::kOutsideRam);
  EXPECT_EQ(code([&](QueueSetup& s) { s.driver_area = base::PhysAddr(end.value() - 20); }),
            QueueError::kOutsideRam);
  EXPECT_EQ(code([&](QueueSetup& s) { s.device_area = base::PhysAddr(UINT64_MAX - 3); }),
            QueueError::kOutsideRam);
  EXPECT_EQ(code([](QueueSetup& s) { s.descriptors = base::PhysAddr(0); }),
            QueueError::kOutsideRam);
}

TEST_F(QueueTest, BelievesNoIndex) {
  Queue queue = make();
  driver.set_available_index(kSize + 1);
  EXPECT_EQ(queue.pop(chain).error().code, QueueError::kBadIndex);
  EXPECT_EQ(error(kSize), QueueError::kBadDescriptor);
  EXPECT_EQ(error(UINT16_MAX), QueueError::kBadDescriptor);
  driver.set_descriptor(0, page, 1, abi::VIRTQ_DESC_F_NEXT, kSize);
  EXPECT_EQ(error(), QueueError::kBadDescriptor);
}

TEST_F(QueueTest, EndsALoop) {
  driver.set_descriptor(0, page, 1, abi::VIRTQ_DESC_F_NEXT, 1);
  driver.set_descriptor(1, page, 1, abi::VIRTQ_DESC_F_NEXT, 0);
  EXPECT_EQ(error(), QueueError::kLoop);
  // Exactly as many descriptors as there are is no loop.
  for (std::uint16_t i = 0; i < kSize; ++i) {
    const bool last = i + 1 == kSize;
    driver.set_descriptor(i, page, 1, last ? 0 : abi::VIRTQ_DESC_F_NEXT,
                          static_cast<std::uint16_t>(i + 1));
  }
  EXPECT_TRUE(pop_head().value());
  EXPECT_EQ(chain.readable_bytes, kSize);
}

TEST_F(QueueTest, RefusesBadBuffers) {
  const std::uint64_t end = DriverMemory::kFirst + DriverMemory::kSize;
  for (const Buffer& buffer :
       {Buffer{0, 1, false}, Buffer{end - 1, 2, true}, Buffer{UINT64_MAX, 2, true},
        Buffer{page, UINT32_MAX, true}, Buffer{DriverMemory::kFirst - 1, 2, false}}) {
    driver.set_descriptor(0, buffer.address, buffer.length,
                          buffer.device_writes ? abi::VIRTQ_DESC_F_WRITE : 0, 0);
    EXPECT_EQ(error(), QueueError::kOutsideRam) << std::hex << buffer.address;
  }
  driver.set_descriptor(0, page, 1, abi::VIRTQ_DESC_F_WRITE | abi::VIRTQ_DESC_F_NEXT, 1);
  driver.set_descriptor(1, page, 1, 0, 0);
  EXPECT_EQ(error(), QueueError::kBadOrder);
}

TEST_F(QueueTest, RefusesBadIndirectTables) {
  constexpr std::uint16_t kIndirect = abi::VIRTQ_DESC_F_INDIRECT;
  for (const std::uint32_t length : {0u, 8u, 17u}) {
    driver.set_descriptor(0, page, length, kIndirect, 0);
    EXPECT_EQ(error(), QueueError::kBadIndirect) << length;
  }
  driver.set_descriptor(0, page, 16, kIndirect | abi::VIRTQ_DESC_F_NEXT, 1);
  EXPECT_EQ(error(), QueueError::kBadIndirect) << "goes on after the table";
  driver.set_descriptor(0, page, 16, kIndirect, 0);
  memory.store(page, abi::virtq_desc{base::Le64(page), base::Le32(16), base::Le16(kIndirect),
                                     base::Le16(0)});
  EXPECT_EQ(error(), QueueError::kBadIndirect) << "a table in a table";
  memory.store(page, abi::virtq_desc{base::Le64(page), base::Le32(1),
                                     base::Le16(abi::VIRTQ_DESC_F_NEXT), base::Le16(0)});
  EXPECT_EQ(error(), QueueError::kLoop);
  memory.store(page, abi::virtq_desc{base::Le64(page), base::Le32(1),
                                     base::Le16(abi::VIRTQ_DESC_F_NEXT), base::Le16(1)});
  EXPECT_EQ(error(), QueueError::kBadDescriptor);
  driver.set_descriptor(0, DriverMemory::kFirst + DriverMemory::kSize - 16, 32, kIndirect, 0);
  EXPECT_EQ(error(), QueueError::kOutsideRam);
  // Not negotiated, so not allowed.
  driver.set_descriptor(0, page, 16, kIndirect, 0);
  Queue queue = make(false, /*indirect=*/false);
  EXPECT_EQ(queue.pop(chain).error().code, QueueError::kBadIndirect);
}

TEST_F(QueueTest, AnEmptyBufferIsNone) {
  driver.set_descriptor(0, page, 0, 0, 0);
  EXPECT_TRUE(pop_head().value());
  EXPECT_TRUE(chain.readable.empty());
}

TEST_F(QueueTest, InterruptsUnlessTheFlagSaysNo) {
  Queue queue = make();
  EXPECT_FALSE(queue.wants_interrupt()) << "nothing was pushed";
  queue.push(0, 0);
  EXPECT_TRUE(queue.wants_interrupt());
  EXPECT_FALSE(queue.wants_interrupt()) << "said already";
  driver.set_flags(abi::VIRTQ_AVAIL_F_NO_INTERRUPT);
  queue.push(0, 0);
  EXPECT_FALSE(queue.wants_interrupt());
}

TEST_F(QueueTest, InterruptsWhenTheEventIndexIsPassed) {
  Queue queue = make(/*event_index=*/true);
  driver.set_used_event(2);
  queue.push(0, 0);  // entry 0
  EXPECT_FALSE(queue.wants_interrupt());
  queue.push(0, 0);  // entry 1
  EXPECT_FALSE(queue.wants_interrupt());
  queue.push(0, 0);  // entry 2: the one
  EXPECT_TRUE(queue.wants_interrupt());
  queue.push(0, 0);
  EXPECT_FALSE(queue.wants_interrupt()) << "the index is behind";
  driver.set_used_event(5);
  for (int i = 0; i < 4; ++i) {
    queue.push(0, 0);
  }
  EXPECT_TRUE(queue.wants_interrupt()) << "passed in the middle of a batch";
}

TEST_F(QueueTest, AsksForTheBellAndNoticesWhatCameBefore) {
  Queue queue = make();
  queue.mute_driver();
  EXPECT_EQ(driver.device_flags(), abi::VIRTQ_USED_F_NO_NOTIFY);
  EXPECT_FALSE(queue.unmute_driver());
  EXPECT_EQ(driver.device_flags(), 0);
  driver.add({{page, 1, true}});
  EXPECT_TRUE(queue.unmute_driver());

  DriverQueue other(memory, kSize);
  QueueSetup setup = other.setup();
  setup.event_index = true;
  Queue with_event = *Queue::create(memory.memory(), setup, kSize);
  other.add({{page, 1, true}});
  ASSERT_TRUE(with_event.pop(chain).value());
  EXPECT_FALSE(with_event.unmute_driver());
  EXPECT_EQ(other.available_event(), 1);
}

TEST_F(QueueTest, GivesAChainAgainThatWasNotUsed) {
  Queue queue = make();
  const auto head = driver.add({{page, 1, true}});
  ASSERT_TRUE(queue.pop(chain).value());
  queue.unpop();
  ASSERT_TRUE(queue.pop(chain).value());
  EXPECT_EQ(chain.head, head);
}

// Whatever lies in the rings: an end, and buffers inside the memory.
TEST_F(QueueTest, AnyBytesGiveBuffersInMemoryOrAnError) {
  std::mt19937_64 random(0xc0ffee);
  const auto small = [&random](std::uint64_t most) { return random() % (most + 1); };
  const auto& region = memory.memory().regions()[0];
  const auto* const first = region.mapping.bytes().data();
  int chains = 0;
  for (int round = 0; round < 20000; ++round) {
    for (std::uint16_t i = 0; i < kSize; ++i) {
      const std::uint64_t address =
          small(9) == 0 ? random() : DriverMemory::kFirst + small(DriverMemory::kSize);
      driver.set_descriptor(i, address, static_cast<std::uint32_t>(small(300)),
                            static_cast<std::uint16_t>(small(7)),
                            static_cast<std::uint16_t>(small(kSize)));
    }
    const auto popped = pop_head(static_cast<std::uint16_t>(small(kSize)));
    if (!popped) {
      continue;
    }
    ++chains;
    for (const auto* const list : {&chain.readable, &chain.writable}) {
      for (const iovec& buffer : *list) {
        const auto* const start = static_cast<const std::byte*>(buffer.iov_base);
        ASSERT_GE(start, first);
        ASSERT_LE(start + buffer.iov_len, first + DriverMemory::kSize);
      }
    }
    ASSERT_LE(chain.readable.size() + chain.writable.size(), kSize + 1u);
  }
  EXPECT_GT(chains, 1000);
}

// The transport's part, as far as serve() asks for it.
struct Listener final : DriverSide {
  void used_buffers() override { ++interrupts; }
  void config_changed() override {}
  void notify_again(std::size_t queue) override { again.push_back(queue); }
  void broken(const QueueFault& fault) override { ADD_FAILURE() << base::to_text(fault); }

  int interrupts = 0;
  std::vector<std::size_t> again;
};

TEST_F(QueueTest, GivesOthersATurnWhenTheDriverRefillsItAsFastAsItIsServed) {
  Listener listener;
  Activation active{.queues = {}, .features = 0, .driver = &listener, .memory = &memory.memory()};
  active.queues.emplace_back();
  active.queues.push_back(make());
  int taken = 0;
  const auto take = [&](const Chain&) -> std::optional<std::uint32_t> {
    if (++taken > 100) {
      return std::nullopt;
    }
    driver.add({{page, 16, true}});
    return 0;
  };
  driver.add({{page, 16, true}});
  EXPECT_TRUE(serve_at_once(active, 1, chain, take));
  EXPECT_EQ(taken, kSize);
  EXPECT_EQ(listener.again, std::vector<std::size_t>{1}) << "it has more";
  EXPECT_EQ(listener.interrupts, 1);

  listener.again.clear();
  EXPECT_TRUE(serve_at_once(active, 1, chain, [](const Chain&) { return std::optional(0u); }));
  EXPECT_TRUE(listener.again.empty()) << "there was one, and no more";
}

TEST(QueueErrors, HaveWords) {
  for (const auto code : {QueueError::kBadSize, QueueError::kMisaligned, QueueError::kOutsideRam,
                          QueueError::kBadIndex, QueueError::kBadDescriptor, QueueError::kLoop,
                          QueueError::kBadIndirect, QueueError::kBadOrder}) {
    EXPECT_FALSE(explain(code).what.empty());
  }
}

}  // namespace
}  // namespace pvh::devices::virtio
