// SPDX-License-Identifier: BSD-2-Clause
// Where a console of the guest's, the serial line or the virtio one, ends on the host: this
// process's stdin and stdout, a file, a pseudo terminal, the one client of a Unix socket,
// descriptors or a function of the caller's, or nowhere.
#pragma once

#include <sys/ioctl.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <pvh/base/bytes.hpp>
#include <pvh/base/fd.hpp>
#include <pvh/vmm/failure.hpp>
#include <pvh/vmm/notice.hpp>
#include <pvh/vmm/terminal.hpp>

namespace pvh::vmm {

// All of it, waiting for a slow reader; gives up when `stop` is set and a signal interrupts the
// wait. Returns 0 or an errno.
[[nodiscard]] int write_all(int fd, base::Bytes bytes, const std::atomic<bool>& stop);

enum class ConsoleKind { kStdio, kNone, kFile, kPty, kUnixSocket, kDescriptors, kFunction };

struct ConsoleSpec {
  ConsoleKind kind = ConsoleKind::kStdio;
  std::string path{};  // kFile: created or truncated; kUnixSocket: bound, one client is waited for
  // kDescriptors, and the first also kFunction: duplicated by open(), the caller keeps his own; -1
  // for none.
  int input = -1;
  int output = -1;
  // kFunction: gets what the guest prints, a byte or a string at a time, from a vCPU's thread, one
  // call at a time. Must not throw. While it has not returned the vCPU waits.
  std::function<void(base::Bytes)> write{};
};

class Console {
 public:
  // kPty and kUnixSocket tell `notice` where to connect, and for what: `name` is "console" or
  // "virtio console". A terminal on stdin becomes raw until the Console is gone.
  [[nodiscard]] static Result<Console> open(const ConsoleSpec& spec, const Notice& notice,
                                            std::string_view name = "console");

  // What is typed arrives here; -1 when nothing ever will.
  [[nodiscard]] int input() const { return input_; }
  // Whether what arrives may hold the escape keys of EscapeFilter.
  [[nodiscard]] bool has_escape_keys() const { return terminal_ && terminal_->is_active(); }

  // As write_all; but a pseudo terminal that nobody reads loses output instead of waiting.
  [[nodiscard]] int write(base::Bytes bytes, const std::atomic<bool>& stop) const;

  // Descriptors for one who must not wait, in place of input() and write(): see
  // devices::virtio::Console, which they are for.
  struct Ends {
    base::Fd input;
    base::Fd output;
    bool pseudo_terminal = false;
  };
  [[nodiscard]] Result<Ends> give_ends();
  // Of the user's terminal, when he has one here.
  [[nodiscard]] std::optional<winsize> terminal_size() const;

 private:
  Console(int input, int output, base::Fd owned, bool lossy)
      : input_(input), output_(output), owned_(std::move(owned)), lossy_(lossy) {}

  int input_;
  int output_;
  base::Fd owned_;
  base::Fd also_owned_;
  bool lossy_;
  std::function<void(base::Bytes)> function_;
  std::optional<RawTerminal> terminal_;
};

}  // namespace pvh::vmm
