# SPDX-License-Identifier: BSD-2-Clause
# find_package(pvh): pvh_add_kernel and pvh_check_kernel, the archives pvh::kernel64 and pvh::kernel32, the program
# pvh::pvh. With COMPONENTS vmm also the archive pvh::vmm, for programs that embed a microVM, and what that needs.
include(${CMAKE_CURRENT_LIST_DIR}/pvhTargets.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/PvhKernel.cmake)
foreach(pvh_component IN LISTS pvh_FIND_COMPONENTS)
  if(pvh_component STREQUAL "vmm")
    include(${CMAKE_CURRENT_LIST_DIR}/PvhVmm.cmake)
  elseif(pvh_FIND_REQUIRED_${pvh_component})
    set(pvh_FOUND FALSE)
    set(pvh_NOT_FOUND_MESSAGE "pvh has no component ${pvh_component}; there is vmm")
  endif()
endforeach()
