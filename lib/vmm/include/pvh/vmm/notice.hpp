// SPDX-License-Identifier: BSD-2-Clause
// What a machine has to tell somebody while it is made and runs, and what is no failure of its own:
// where its console is, that a disk's host is full.
#pragma once

#include <functional>
#include <string>

namespace pvh::vmm {

// `subject` is the file, the option or the device that it is about; empty when the words stand
// alone. From any thread, several at once; must not throw. Empty: nobody is told.
using Notice = std::function<void(const std::string& subject, const std::string& words)>;

inline void tell(const Notice& notice, const std::string& subject, const std::string& words) {
  if (notice) {
    notice(subject, words);
  }
}

}  // namespace pvh::vmm
