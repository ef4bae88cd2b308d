// SPDX-License-Identifier: BSD-2-Clause
// Of the keyboard controller, the one thing that operating systems use without a keyboard: the
// line to the processor's reset pin. Both buffers always read as empty, so that nobody waits for
// this controller before he resets the machine with it.
#pragma once

#include <cstdint>
#include <mutex>

#include <pvh/devices/bus.hpp>

namespace pvh::devices {

inline constexpr Port kI8042DataPort{0x60};
inline constexpr Port kI8042CommandPort{0x64};

class I8042 final {
 public:
  // The two ports lie apart, with the system's (0x61) between them; each is a device on the bus.
  [[nodiscard]] Device& data_port() { return data_port_; }
  [[nodiscard]] Device& command_port() { return command_port_; }

 private:
  class DataPort final : public Device {
   public:
    explicit DataPort(I8042& owner) : owner_(owner) {}
    void read(std::uint64_t offset, base::MutableBytes data) override;
    [[nodiscard]] Action write(std::uint64_t offset, base::Bytes data) override;

   private:
    I8042& owner_;
  };
  class CommandPort final : public Device {
   public:
    explicit CommandPort(I8042& owner) : owner_(owner) {}
    void read(std::uint64_t offset, base::MutableBytes data) override;
    [[nodiscard]] Action write(std::uint64_t offset, base::Bytes data) override;

   private:
    I8042& owner_;
  };

  std::mutex mutex_;
  bool output_port_next_ = false;  // the next data byte is for the output port
  DataPort data_port_{*this};
  CommandPort command_port_{*this};
};

}  // namespace pvh::devices
