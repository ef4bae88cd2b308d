// SPDX-License-Identifier: BSD-2-Clause
// A socket on which gdb may come: TCP or Unix.
#pragma once

#include <string>
#include <utility>

#include <pvh/base/fd.hpp>
#include <pvh/vmm/failure.hpp>
#include <pvh/vmm/gdb_address.hpp>

namespace pvh::vmm::debug {

class Listener {
 public:
  // A Unix socket's path must not exist; it is removed with the Listener.
  [[nodiscard]] static Result<Listener> open(const GdbAddress& address);
  Listener(Listener&& other) noexcept
      : fd_(std::move(other.fd_)),
        path_(std::exchange(other.path_, {})),
        place_(std::move(other.place_)) {}
  Listener& operator=(Listener&&) = delete;
  ~Listener();

  [[nodiscard]] int get() const { return fd_.get(); }
  // As gdb's `target remote` takes it.
  [[nodiscard]] const std::string& place() const { return place_; }
  // Who waits, non-blocking; empty when nobody does any more.
  [[nodiscard]] base::Fd accept() const;

 private:
  Listener(base::Fd fd, std::string path, std::string place)
      : fd_(std::move(fd)), path_(std::move(path)), place_(std::move(place)) {}

  base::Fd fd_;
  std::string path_;
  std::string place_;
};

}  // namespace pvh::vmm::debug
