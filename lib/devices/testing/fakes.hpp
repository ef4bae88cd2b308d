// SPDX-License-Identifier: BSD-2-Clause
// Ends for a device under test: an interrupt line that counts, a sink that keeps, input that waits.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>

#include <pvh/devices/bus.hpp>
#include <pvh/devices/serial.hpp>

namespace pvh::devices::testing {

class FakeLine final : public InterruptLine {
 public:
  void set(bool next) override {
    edges += next && !level ? 1 : 0;
    redundant = redundant || next == level;
    level = next;
  }

  bool level = false;
  bool redundant = false;  // told what it knew
  int edges = 0;           // from low to high
};

class FakeSink final : public Sink {
 public:
  int write(base::Bytes data) override {
    ++calls;
    for (const std::byte byte : data) {
      text.push_back(static_cast<char>(byte));
    }
    return error;
  }

  std::string text;
  int calls = 0;
  int error = 0;
};

class FakeInput final : public InputWanted {
 public:
  void input_wanted() override { ++calls; }

  std::atomic<int> calls = 0;
};

}  // namespace pvh::devices::testing
