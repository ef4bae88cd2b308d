// SPDX-License-Identifier: BSD-2-Clause
#include <unistd.h>

#include <cerrno>

#include <pvh/base/fd.hpp>

namespace pvh::base {

void Fd::reset() {
  if (fd_ >= 0) {
    // A destructor must not disturb the errno that somebody is about to report.
    const int saved = errno;
    ::close(fd_);
    errno = saved;
    fd_ = -1;
  }
}

}  // namespace pvh::base
