// SPDX-License-Identifier: BSD-2-Clause
// Whether the devices that the caller brings lie where the guest's accesses reach them: not where
// there is RAM, a device of ours or one inside KVM.
#pragma once

#include <optional>
#include <span>

#include <pvh/vmm/machine.hpp>

namespace pvh::vmm::internal {

[[nodiscard]] Result<void> check_devices(const MachineOptions& options,
                                         std::span<const base::Range> ram,
                                         std::optional<base::Range> table_memory,
                                         std::span<const VirtioSlot> virtio);

}  // namespace pvh::vmm::internal
