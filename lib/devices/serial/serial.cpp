// SPDX-License-Identifier: BSD-2-Clause
// Source: National Semiconductor PC16550D data sheet, June 1995, section 8.
#include <algorithm>
#include <optional>

#include <pvh/base/checked.hpp>
#include <pvh/devices/serial.hpp>

namespace pvh::devices {
namespace {

// Register offsets; some are two registers, by direction or by LCR.DLAB.
constexpr std::uint64_t kData = 0;  // RBR, THR; DLL
constexpr std::uint64_t kIer = 1;   // IER; DLM
constexpr std::uint64_t kIirFcr = 2;
constexpr std::uint64_t kLcr = 3;
constexpr std::uint64_t kMcr = 4;
constexpr std::uint64_t kLsr = 5;
constexpr std::uint64_t kMsr = 6;
constexpr std::uint64_t kScr = 7;

constexpr std::uint8_t kIerReceive = 0x01;
constexpr std::uint8_t kIerTransmit = 0x02;
constexpr std::uint8_t kIerLine = 0x04;
constexpr std::uint8_t kIerModem = 0x08;
constexpr std::uint8_t kIerMask = 0x0f;

constexpr std::uint8_t kIirNone = 0x01;
constexpr std::uint8_t kIirModem = 0x00;
constexpr std::uint8_t kIirTransmit = 0x02;
constexpr std::uint8_t kIirReceive = 0x04;
constexpr std::uint8_t kIirLine = 0x06;
constexpr std::uint8_t kIirTimeout = 0x0c;
constexpr std::uint8_t kIirFifo = 0xc0;

constexpr std::uint8_t kFcrEnable = 0x01;
constexpr std::uint8_t kFcrClearReceiver = 0x02;
constexpr std::uint8_t kFcrTriggerMask = 0xc0;
constexpr unsigned kFcrTriggerShift = 6;
constexpr std::array<std::size_t, 4> kTriggerLevels{1, 4, 8, 14};

constexpr std::uint8_t kLcrDlab = 0x80;

constexpr std::uint8_t kMcrDtr = 0x01;
constexpr std::uint8_t kMcrRts = 0x02;
constexpr std::uint8_t kMcrOut1 = 0x04;
constexpr std::uint8_t kMcrOut2 = 0x08;
constexpr std::uint8_t kMcrLoop = 0x10;
constexpr std::uint8_t kMcrMask = 0x1f;

constexpr std::uint8_t kLsrDataReady = 0x01;
constexpr std::uint8_t kLsrOverrun = 0x02;
constexpr std::uint8_t kLsrTransmitterEmpty = 0x60;  // THRE and TEMT

constexpr std::uint8_t kMsrCts = 0x10;
constexpr std::uint8_t kMsrDsr = 0x20;
constexpr std::uint8_t kMsrRing = 0x40;
constexpr std::uint8_t kMsrDcd = 0x80;
constexpr unsigned kMsrDeltaShift = 4;

constexpr std::uint8_t kDivisor9600 = 12;

// Integer promotion turns every `a & b` of bytes into an int; this is the way back.
constexpr std::uint8_t low_byte(unsigned value) {
  return static_cast<std::uint8_t>(value & 0xff);
}

}  // namespace

Serial::Serial(InterruptLine& line, Sink& sink, InputWanted& input)
    : line_(line), sink_(sink), input_(input), dll_(kDivisor9600) {}

template <typename Work>
void Serial::serve_guest(Work work) {
  bool wanted = false;
  {
    const std::scoped_lock lock(mutex_);
    work();
    wanted = take_wanted();
  }
  // Who was turned away set the flag before his second try: either that one succeeded, or we see it
  // here.
  if (turned_away_.exchange(false) || wanted) {
    input_.input_wanted();
  }
}

void Serial::read(std::uint64_t offset, base::MutableBytes data) {
  serve_guest([&] {
    for (std::size_t i = 0; i < data.size(); ++i) {
      data[i] = std::byte{read_register(offset + i)};
    }
    update_line();
  });
}

Action Serial::write(std::uint64_t offset, base::Bytes data) {
  Action result;
  serve_guest([&] {
    for (std::size_t i = 0; i < data.size(); ++i) {
      const Action action = write_register(offset + i, std::to_integer<std::uint8_t>(data[i]));
      result = action.kind != Request::kNone ? action : result;
      update_line();
    }
  });
  return result;
}

Action Serial::write_string(std::uint64_t offset, base::Bytes data, std::size_t width) {
  std::optional<Action> result;
  if (offset == kData && width == 1) {
    serve_guest([&] {
      if ((lcr_ & kLcrDlab) == 0) {
        result = transmit(data);
        update_line();
      }
    });
  }
  return result ? *result : Device::write_string(offset, data, width);
}

std::size_t Serial::room() {
  const std::scoped_lock lock(mutex_);
  const std::size_t free = free_room();
  held_back_ = held_back_ || free == 0;
  return free;
}

std::size_t Serial::receive(base::Bytes data) {
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) {
    turned_away_.store(true);
    if (!lock.try_lock()) {
      return 0;
    }
  }
  const std::size_t taken = std::min(data.size(), free_room());
  for (const std::byte value : data.first(taken)) {
    push(value);
  }
  held_back_ = held_back_ || taken < data.size();
  update_line();
  return taken;
}

std::uint8_t Serial::read_register(std::uint64_t offset) {
  const bool dlab = (lcr_ & kLcrDlab) != 0;
  switch (offset) {
    case kData:
      return dlab ? dll_ : pop();
    case kIer:
      return dlab ? dlm_ : ier_;
    case kIirFcr: {
      const std::uint8_t source = pending_interrupt();
      if (source == kIirTransmit) {
        transmit_interrupt_ = false;  // being told is what ends it
      }
      return low_byte(source | ((fcr_ & kFcrEnable) != 0 ? kIirFifo : 0u));
    }
    case kLcr:
      return lcr_;
    case kMcr:
      return mcr_;
    case kLsr: {
      const unsigned status = (fifo_count_ != 0 ? kLsrDataReady : 0u) |
                              (overrun_ ? kLsrOverrun : 0u) | kLsrTransmitterEmpty;
      overrun_ = false;
      return low_byte(status);
    }
    case kMsr: {
      const std::uint8_t status = low_byte(modem_lines() | unsigned{modem_deltas_});
      modem_deltas_ = 0;
      return status;
    }
    case kScr:
      return scr_;
    default:
      return 0xff;
  }
}

Action Serial::write_register(std::uint64_t offset, std::uint8_t value) {
  const bool dlab = (lcr_ & kLcrDlab) != 0;
  switch (offset) {
    case kData:
      if (dlab) {
        dll_ = value;
        return {};
      }
      {
        const std::byte byte{value};
        return transmit({&byte, 1});
      }
    case kIer:
      if (dlab) {
        dlm_ = value;
      } else {
        write_ier(value);
      }
      return {};
    case kIirFcr:
      write_fcr(value);
      return {};
    case kLcr:
      lcr_ = value;
      return {};
    case kMcr:
      write_mcr(value);
      return {};
    case kScr:
      scr_ = value;
      return {};
    default:  // LSR and MSR are for reading
      return {};
  }
}

Action Serial::transmit(base::Bytes data) {
  // The holding register is full for a moment, then empty again: a driver on an edge-triggered line
  // must see the line go down and up.
  transmit_interrupt_ = false;
  update_line();
  transmit_interrupt_ = true;
  if ((mcr_ & kMcrLoop) != 0) {
    for (const std::byte value : data) {
      push(value);
    }
    return {};
  }
  if (lost_) {
    return {};
  }
  const int error = sink_.write(data);
  lost_ = error != 0;
  return lost_ ? Action{Request::kOutputLost, base::narrow<std::uint32_t>(error).value_or(0)}
               : Action{};
}

void Serial::write_ier(std::uint8_t value) {
  const std::uint8_t before = ier_;
  ier_ = value & kIerMask;
  if (((ier_ ^ before) & kIerTransmit) != 0) {
    // Enabling it while the transmitter is empty raises it at once; drivers test for this.
    transmit_interrupt_ = (ier_ & kIerTransmit) != 0;
  }
}

void Serial::write_fcr(std::uint8_t value) {
  const bool enable = (value & kFcrEnable) != 0;
  // The real part also clears the receiver when the FIFO is switched on. Linux allows the interrupt
  // before that: the byte that came in between would be lost.
  const bool switched_off = !enable && (fcr_ & kFcrEnable) != 0;
  if (switched_off || (enable && (value & kFcrClearReceiver) != 0)) {
    clear_receiver();
  }
  fcr_ = enable ? low_byte(value & (unsigned{kFcrEnable} | kFcrTriggerMask)) : std::uint8_t{0};
}

void Serial::write_mcr(std::uint8_t value) {
  const std::uint8_t before = modem_lines();
  mcr_ = value & kMcrMask;
  const std::uint8_t after = modem_lines();
  // RI reports its falling edge only, the other three both.
  const unsigned changed = (before ^ after) & (unsigned{kMsrCts} | kMsrDsr | kMsrDcd);
  const unsigned ring_ended = before & ~unsigned{after} & kMsrRing;
  modem_deltas_ = low_byte(modem_deltas_ | ((changed | ring_ended) >> kMsrDeltaShift));
}

void Serial::push(std::byte value) {
  if (fifo_count_ == capacity()) {
    overrun_ = true;
    if (capacity() == 1) {  // without FIFO the new byte displaces the old one
      fifo_[fifo_first_] = value;
    }
    return;
  }
  fifo_[(fifo_first_ + fifo_count_) % kFifoSize] = value;
  ++fifo_count_;
}

std::uint8_t Serial::pop() {
  if (fifo_count_ == 0) {
    return 0;
  }
  const std::byte value = fifo_[fifo_first_];
  fifo_first_ = (fifo_first_ + 1) % kFifoSize;
  --fifo_count_;
  return std::to_integer<std::uint8_t>(value);
}

void Serial::clear_receiver() {
  fifo_first_ = 0;
  fifo_count_ = 0;
}

std::size_t Serial::capacity() const {
  return (fcr_ & kFcrEnable) != 0 ? kFifoSize : 1;
}

std::size_t Serial::free_room() const {
  // Without OUT2 the receive interrupt reaches nobody: then it is a driver that looks which bits
  // there are, and reads or clears the receiver before it is ready.
  const bool interrupted = (ier_ & kIerReceive) != 0 && (mcr_ & kMcrOut2) != 0;
  const bool ready = (mcr_ & kMcrRts) != 0 || interrupted;
  const bool looped = (mcr_ & kMcrLoop) != 0;  // the outside is disconnected
  return ready && !looped ? capacity() - fifo_count_ : 0;
}

std::uint8_t Serial::modem_lines() const {
  if ((mcr_ & kMcrLoop) == 0) {
    return kMsrDcd | kMsrDsr | kMsrCts;
  }
  return low_byte(((mcr_ & kMcrRts) != 0 ? kMsrCts : 0u) | ((mcr_ & kMcrDtr) != 0 ? kMsrDsr : 0u) |
                  ((mcr_ & kMcrOut1) != 0 ? kMsrRing : 0u) |
                  ((mcr_ & kMcrOut2) != 0 ? kMsrDcd : 0u));
}

std::uint8_t Serial::pending_interrupt() const {
  if ((ier_ & kIerLine) != 0 && overrun_) {
    return kIirLine;
  }
  if ((ier_ & kIerReceive) != 0 && fifo_count_ != 0) {
    const bool fifo = (fcr_ & kFcrEnable) != 0;
    const bool reached = fifo_count_ >= kTriggerLevels[fcr_ >> kFcrTriggerShift];
    return !fifo || reached ? kIirReceive : kIirTimeout;
  }
  if ((ier_ & kIerTransmit) != 0 && transmit_interrupt_) {
    return kIirTransmit;
  }
  if ((ier_ & kIerModem) != 0 && modem_deltas_ != 0) {
    return kIirModem;
  }
  return kIirNone;
}

void Serial::update_line() {
  // In loopback the OUT2 pin is inactive whatever MCR says, and with it the PC's interrupt gate.
  const bool gate = (mcr_ & (kMcrOut2 | kMcrLoop)) == kMcrOut2;
  const bool level = gate && pending_interrupt() != kIirNone;
  if (level != level_) {
    level_ = level;
    line_.set(level);
  }
}

bool Serial::take_wanted() {
  const bool wanted = held_back_ && free_room() == capacity();
  held_back_ = held_back_ && !wanted;
  return wanted;
}

}  // namespace pvh::devices
