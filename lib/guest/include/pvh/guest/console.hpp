// SPDX-License-Identifier: BSD-2-Clause
// Text out of a kernel that has nothing yet. start() looks for what is there, in this order, and
// write() goes to all that was found:
//
//   port 0xe9        when it reads as 0xe9 (QEMU's and our debug console) or Xen runs us and other
//                    ways are missing; whole lines, since Xen keeps a line until its end
//   COM1             when a register there can be written and read back; 115200 8N1
//   Xen              CONSOLEIO_write for the hardware domain, the console ring for a domain that
//                    has one
//
// Nobody is waited for longer than a bound: a console that is stuck is given up for good, so that
// it costs once. No interrupts, no heap. Cost, where a port access is an exit to the monitor: one
// for each character of each port, and on COM1 one for each sixteen.
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
  // Which ways there are. A hardware domain has CONSOLEIO_write alone: COM1 is Xen's, and what goes
  // to the debug port would come out twice.
  struct Ways {
    bool debug_port = false;
    bool com1 = false;
    bool xen_console_io = false;
    std::optional<base::PhysAddr> xen_ring;
    std::uint32_t xen_ring_port = 0;
  };

  // Before start() everything written is dropped. All zeros, so that a static one costs no room in
  // a kernel's file.
  constexpr Console() = default;

  // Ports only: safe before anything is known of the machine.
  void start(Machine& machine);
  // Adds Xen's ways when Xen runs us: three or four hypercalls.
  void add_xen(const xen::Token& token, bool is_hardware_domain);

  // Sends what is complete to the end of a line and keeps the rest until flush() or a full buffer.
  // '\n' is sent to COM1 and the ring as "\r\n".
  void write(std::string_view text);
  void flush();

  [[nodiscard]] const Ways& ways() const { return ways_; }

 private:
  void send(std::string_view line);
  void send_debug_port(std::string_view line);
  void send_com1(char byte);
  void send_ring(std::string_view line);

  Machine* machine_ = nullptr;
  std::optional<xen::Token> token_;
  Ways ways_;
  std::uint8_t com1_burst_ = 0;  // characters that it takes at once
  std::uint8_t com1_room_ = 0;   // how many of them are left
  std::array<char, 256> line_{};
  std::size_t used_ = 0;
};

}  // namespace pvh::guest
