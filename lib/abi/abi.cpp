// SPDX-License-Identifier: BSD-2-Clause
// Compiling the headers checks every static_assert in them, hosted and freestanding.
#include <pvh/abi/acpi.hpp>
#include <pvh/abi/bzimage.hpp>
#include <pvh/abi/e820.hpp>
#include <pvh/abi/elf.hpp>
#include <pvh/abi/elf_note.hpp>
#include <pvh/abi/mp_table.hpp>
#include <pvh/abi/start_info.hpp>
#include <pvh/abi/xen_memory.hpp>
