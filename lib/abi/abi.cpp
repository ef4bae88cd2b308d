// SPDX-License-Identifier: BSD-2-Clause
// Compiling the headers checks every static_assert in them, hosted and freestanding.
#include <pvh/abi/acpi.hpp>
#include <pvh/abi/bzimage.hpp>
#include <pvh/abi/e820.hpp>
#include <pvh/abi/elf.hpp>
#include <pvh/abi/elf_note.hpp>
#include <pvh/abi/mp_table.hpp>
#include <pvh/abi/start_info.hpp>
#include <pvh/abi/virtio.hpp>
#include <pvh/abi/virtio_balloon.hpp>
#include <pvh/abi/virtio_blk.hpp>
#include <pvh/abi/virtio_net.hpp>
#include <pvh/abi/virtio_vsock.hpp>
#include <pvh/abi/xen_console.hpp>
#include <pvh/abi/xen_cpuid.hpp>
#include <pvh/abi/xen_event_channel.hpp>
#include <pvh/abi/xen_hvm.hpp>
#include <pvh/abi/xen_hypercall.hpp>
#include <pvh/abi/xen_memory.hpp>
#include <pvh/abi/xen_sched.hpp>
#include <pvh/abi/xen_shared_info.hpp>
#include <pvh/abi/xen_vcpu.hpp>
