// SPDX-License-Identifier: BSD-2-Clause
#include <vector>

#include <pvh/base/try.hpp>
#include <pvh/loader/plan.hpp>

namespace pvh::loader {

guest_memory::Result<void> write(const Plan& plan, guest_memory::GuestMemory& memory) {
  for (const base::Range& range : plan.poisoned) {
    TRY(memory.write(range.first(), std::vector<std::byte>(range.size().value(), kPoisonByte)));
  }
  for (const Piece& piece : plan.pieces) {
    TRY(memory.write(piece.range.first(), piece.content));
  }
  return {};
}

}  // namespace pvh::loader
