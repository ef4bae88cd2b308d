// SPDX-License-Identifier: BSD-2-Clause
// The host's end of a guest's network cable: what Ethernet frames come out of and go into. Used on
// one thread; nothing here blocks.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <string>

#include <pvh/base/bytes.hpp>

namespace pvh::devices::net {

inline constexpr std::size_t kLeastFrame = 14;         // the Ethernet header
inline constexpr std::size_t kMostFrame = 65535 + 14;  // and the longest IP packet

class NetEnd {
 public:
  NetEnd() = default;
  NetEnd(const NetEnd&) = delete;
  NetEnd& operator=(const NetEnd&) = delete;
  virtual ~NetEnd() = default;

  // Readable when peek() has something that it had not before, writable when flush() would get on.
  // Always the same one.
  [[nodiscard]] virtual int descriptor() const = 0;

  // The frame that waits, at most kMostFrame bytes; empty when there is none. It stays the same
  // until pop(), so whoever has no room for it leaves it here, and those behind it further back.
  [[nodiscard]] virtual base::Bytes peek() = 0;
  virtual void pop() = 0;

  // A frame of kLeastFrame to kMostFrame bytes. It is taken whole (and perhaps lost, as on any
  // wire); false when it must wait until the descriptor is writable and flush() is done.
  [[nodiscard]] virtual bool send(std::span<const iovec> frame) = 0;
  // Gets on with what send() took. True when nothing of it is left here.
  [[nodiscard]] virtual bool flush() = 0;

  // The cable is cut, for ever: nothing comes and what is sent is lost.
  [[nodiscard]] virtual bool down() const = 0;
  // The descriptor hung up, or something is wrong with it: down from now on.
  virtual void cut() = 0;
  // Why, in one line for the machine's user.
  [[nodiscard]] virtual std::string last_words() = 0;
};

}  // namespace pvh::devices::net
