// SPDX-License-Identifier: BSD-2-Clause
// A 16550A UART, the console of every kernel.
//
// Transmission takes no time: the transmitter is always empty and each byte is in the sink before
// the guest's instruction ends; a string instruction is one write to the sink. What the guest waits
// for is therefore the interrupt alone, and each byte written raises it anew, by an edge, as the
// real part does once the byte has left.
//
// Reception is a FIFO of 16 bytes (1 while the guest has it switched off). Nobody sends to a UART
// that has not raised RTS or enabled its receive interrupt (with OUT2): until then room() is 0, and
// what is typed ahead waits on the host instead of in a FIFO that the driver clears when it starts.
// There is no clock here: bytes below the trigger level raise the character timeout at once.
//
// Any thread may call any method. The interrupt line follows (IIR pending) AND MCR.OUT2, as on the
// PC; it is set with the lock held. InputWanted is called without it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include <pvh/devices/bus.hpp>

namespace pvh::devices {

inline constexpr Port kCom1Port{0x3f8};
inline constexpr std::uint64_t kSerialPorts = 8;
inline constexpr std::uint8_t kCom1Irq = 4;

// Wakes whoever holds input back: called once after receive() has taken less than it was offered,
// or after room() has been 0, when the FIFO is empty and open again.
class InputWanted {
 public:
  InputWanted() = default;
  InputWanted(const InputWanted&) = delete;
  InputWanted& operator=(const InputWanted&) = delete;
  virtual ~InputWanted() = default;

  virtual void input_wanted() = 0;
};

class Serial final : public Device {
 public:
  // All three must outlive the device.
  Serial(InterruptLine& line, Sink& sink, InputWanted& input);

  void read(std::uint64_t offset, base::MutableBytes data) override;
  // kOutputLost once, when the sink fails; from then on the output is dropped.
  [[nodiscard]] Action write(std::uint64_t offset, base::Bytes data) override;
  [[nodiscard]] Action write_string(std::uint64_t offset, base::Bytes data,
                                    std::size_t width) override;

  // How many bytes receive() would take now.
  [[nodiscard]] std::size_t room();
  // Puts bytes from the host before the guest; gives how many, from the front, it has taken. Never
  // waits: while the guest is at the device, perhaps held up by a sink that nobody reads, it takes
  // none, and InputWanted follows.
  [[nodiscard]] std::size_t receive(base::Bytes data);

 private:
  static constexpr std::size_t kFifoSize = 16;

  // Does the work of one access under the lock, then wakes whom receive() turned away meanwhile.
  template <typename Work>
  void serve_guest(Work work);

  std::uint8_t read_register(std::uint64_t offset);
  Action write_register(std::uint64_t offset, std::uint8_t value);
  Action transmit(base::Bytes data);
  void write_ier(std::uint8_t value);
  void write_fcr(std::uint8_t value);
  void write_mcr(std::uint8_t value);

  void push(std::byte value);
  std::uint8_t pop();
  void clear_receiver();
  [[nodiscard]] std::size_t capacity() const;
  [[nodiscard]] std::size_t free_room() const;
  [[nodiscard]] std::uint8_t modem_lines() const;
  [[nodiscard]] std::uint8_t pending_interrupt() const;
  void update_line();
  // True, once, when somebody holds input back and there is room for it.
  [[nodiscard]] bool take_wanted();

  std::mutex mutex_;
  std::atomic<bool> turned_away_ = false;
  InterruptLine& line_;
  Sink& sink_;
  InputWanted& input_;

  std::array<std::byte, kFifoSize> fifo_{};
  std::size_t fifo_first_ = 0;
  std::size_t fifo_count_ = 0;

  std::uint8_t ier_ = 0;
  std::uint8_t fcr_ = 0;
  std::uint8_t lcr_ = 0;
  std::uint8_t mcr_ = 0;
  std::uint8_t scr_ = 0;
  std::uint8_t dll_;
  std::uint8_t dlm_ = 0;
  std::uint8_t modem_deltas_ = 0;    // MSR bits 0-3
  bool overrun_ = false;             // LSR.OE
  bool transmit_interrupt_ = false;  // the transmitter became empty and nobody has been told
  bool level_ = false;               // of the line
  bool held_back_ = false;           // somebody has input that did not fit
  bool lost_ = false;                // the sink failed
};

}  // namespace pvh::devices
