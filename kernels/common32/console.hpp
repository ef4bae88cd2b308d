// SPDX-License-Identifier: BSD-2-Clause
// Text to COM1. It is collected and sent in bursts of what the FIFO holds: in a virtual machine an
// access to a port costs as much as thousands of instructions.
#pragma once

#include <stdint.h>

namespace pvh::kernels {

class Console {
 public:
  // 115200 8N1, FIFOs on, interrupts off.
  void start();

  void put(char c);
  void text(const char* string);
  void decimal(uint32_t value);
  void hex(uint64_t value);
  // " name=0x1f"
  void field(const char* name, uint64_t value);
  // `length` bytes from `address` in quotes; what would break the line or the quotes is written
  // \xNN.
  void quoted(uint32_t address, uint32_t length);
  void flush();

 private:
  static constexpr uint32_t kCapacity = 2048;
  char buffer_[kCapacity];
  uint32_t used_;
  uint32_t burst_;
};

}  // namespace pvh::kernels
