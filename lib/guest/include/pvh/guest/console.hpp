// SPDX-License-Identifier: BSD-2-Clause
// Text out of a kernel that has nothing yet. start() looks for what is there, in this order, and
// write() goes to all that was found:
//
//   port 0xe9        when it reads as 0xe9 (QEMU's and our debug console) or Xen runs us and other
//                    ways are missing; whole lines, since Xen keeps a line until its end
//   COM1             when a register there can be written and read back; never waits for ever
//   Xen              CONSOLEIO_write for the hardware domain, the console ring for a domain that
//                    has one
//
// Nothing is lost for lack of a reader, and nobody is waited for longer than a bound: a console
// that is stuck is given up. No interrupts, no heap.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <pvh/base/address.hpp>
#include <pvh/guest/hypervisor.hpp>
#include <pvh/guest/machine.hpp>

namespace pvh::guest {

class Console {
 public:
  // Which ways there are. `com1` is left out for a dom0, where the port is Xen's.
  struct Ways {
    bool debug_port = false;
    bool com1 = false;
    bool xen_console_io = false;
    std::optional<base::PhysAddr> xen_ring;
    std::uint32_t xen_ring_port = 0;
  };

  // Before start() everything written is dropped.
  constexpr Console() = default;

  // Ports only: safe before anything is known of the machine.
  void start(Machine& machine);
  // Adds Xen's ways when Xen runs us.
  void add_xen(const xen::Token& token, bool is_hardware_domain);

  // Sends what is complete to the end of a line and keeps the rest until flush() or a full buffer.
  // '\n' is sent to COM1 and the ring as "\r\n".
  void write(std::string_view text);
  void flush();

  [[nodiscard]] const Ways& ways() const { return ways_; }

 private:
  void send(std::string_view text);
  void send_com1(std::string_view text);
  void send_ring(std::string_view text);

  Machine* machine_ = nullptr;
  std::optional<xen::Token> token_;
  Ways ways_;
  std::array<char, 256> line_{};
  std::size_t used_ = 0;
};

}  // namespace pvh::guest
