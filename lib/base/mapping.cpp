// SPDX-License-Identifier: BSD-2-Clause
#include <sys/mman.h>

#include <cerrno>

#include <pvh/base/mapping.hpp>

namespace pvh::base {

void Mapping::reset() {
  if (data_ != nullptr) {
    const int saved = errno;
    ::munmap(data_, size_);
    errno = saved;
    data_ = nullptr;
    size_ = 0;
  }
}

}  // namespace pvh::base
