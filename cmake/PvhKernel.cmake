# SPDX-License-Identifier: BSD-2-Clause
# How a kernel is compiled and linked against the guest runtime, in this tree and, installed, outside of it.

# What every file of a kernel needs: no heap, no SSE (an interrupt must not clobber it), no red zone (an interrupt would
# overwrite it), no position independence. Both compilers know these words for C and C++.
set(PVH_KERNEL_FLAGS_PLAIN -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables -fno-pic -fno-pie
                           -mno-mmx -mno-sse)
# With -mcmodel=kernel one archive serves kernels in the lowest and in the highest 2 GiB of addresses.
set(PVH_KERNEL_FLAGS_PLAIN_64 ${PVH_KERNEL_FLAGS_PLAIN} -mno-red-zone -mcmodel=kernel)
set(PVH_KERNEL_FLAGS_PLAIN_32 ${PVH_KERNEL_FLAGS_PLAIN} -m32 -march=i686)
# C++ has no exceptions, no RTTI and no static guards either: there is no runtime to serve them.
set(PVH_KERNEL_CXX_FLAGS -fno-exceptions -fno-rtti -fno-threadsafe-statics)
foreach(bits IN ITEMS 64 32)
  set(PVH_KERNEL_FLAGS_${bits} ${PVH_KERNEL_FLAGS_PLAIN_${bits}})
  # clang refuses the long double in libstdc++'s own headers under it; without it g++ may use the x87.
  list(APPEND PVH_KERNEL_FLAGS_${bits} $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-mgeneral-regs-only>
       $<$<COMPILE_LANG_AND_ID:C,GNU>:-mgeneral-regs-only>)
  foreach(flag IN LISTS PVH_KERNEL_CXX_FLAGS)
    list(APPEND PVH_KERNEL_FLAGS_${bits} $<$<COMPILE_LANGUAGE:CXX>:${flag}>)
  endforeach()
endforeach()

# -n: a loader wants no pages in the file, so it is not padded to any.
set(PVH_KERNEL_LINK_FLAGS_64 -nostdlib -static -Wl,-n -Wl,--gc-sections -Wl,-z,noexecstack -Wl,--build-id=none)
set(PVH_KERNEL_LINK_FLAGS_32 -m32 ${PVH_KERNEL_LINK_FLAGS_64})

# pvh_check_kernel(TARGET [BITS 32|64]) lets the build of a kernel fail, with the reason and what to do, when it is not
# one that every loader takes: for kernels that are linked in a way of their own; pvh_add_kernel does it anyway.
function(pvh_check_kernel name)
  cmake_parse_arguments(A "" "BITS" "" ${ARGN})
  set(monitors)
  if(A_BITS EQUAL 32)
    # Firecracker and Cloud Hypervisor read no ELF32.
    foreach(monitor IN ITEMS pvh qemu-pc qemu-microvm xen-dom0 xen-domu)
      list(APPEND monitors --vmm ${monitor})
    endforeach()
  endif()
  add_custom_command(TARGET ${name} POST_BUILD COMMAND pvh::pvh check --quiet ${monitors} $<TARGET_FILE:${name}> VERBATIM)
  if(TARGET pvh)
    add_dependencies(${name} pvh)
  endif()
endfunction()

# pvh_add_kernel(NAME SOURCES ... [BITS 32|64] [VIRTUAL_BASE ADDRESS] [STACK_SIZE BYTES]) makes the PVH kernel NAME from
# sources that define pvh_main (pvh/guest/pvh.hpp). VIRTUAL_BASE 0xffffffff80000000 makes a higher-half kernel. The
# build fails, with the reason, when the kernel is not one that every PVH loader takes.
function(pvh_add_kernel name)
  cmake_parse_arguments(A "" "BITS;VIRTUAL_BASE;STACK_SIZE" "SOURCES" ${ARGN})
  if(NOT A_BITS)
    set(A_BITS 64)
  endif()
  if(NOT A_BITS MATCHES "^(32|64)$")
    message(FATAL_ERROR "pvh_add_kernel(${name}): BITS is ${A_BITS}; 32 or 64")
  endif()
  if(A_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "pvh_add_kernel(${name}): what is ${A_UNPARSED_ARGUMENTS}?")
  endif()
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE pvh::kernel${A_BITS})
  if(A_VIRTUAL_BASE)
    if(A_BITS EQUAL 32)
      message(FATAL_ERROR "pvh_add_kernel(${name}): a 32-bit kernel runs without paging and has no VIRTUAL_BASE")
    endif()
    target_link_options(${name} PRIVATE -Wl,--defsym=pvh_virtual_offset=${A_VIRTUAL_BASE})
  endif()
  if(A_STACK_SIZE)
    target_link_options(${name} PRIVATE -Wl,--defsym=pvh_stack_size=${A_STACK_SIZE})
  endif()
  pvh_check_kernel(${name} BITS ${A_BITS})
endfunction()
