# SPDX-License-Identifier: BSD-2-Clause
# find_package(pvh): pvh_add_kernel and pvh_check_kernel, the archives pvh::kernel64 and pvh::kernel32, the program
# pvh::pvh.
include(${CMAKE_CURRENT_LIST_DIR}/pvhTargets.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/PvhKernel.cmake)
