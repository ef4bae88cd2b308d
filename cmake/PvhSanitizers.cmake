# SPDX-License-Identifier: BSD-2-Clause
set(PVH_SANITIZE "" CACHE STRING "Sanitizers for everything hosted: 'address,undefined' or 'thread'")
option(PVH_FUZZ "Build the fuzzers (clang only)" OFF)
option(PVH_COVERAGE "Instrument for gcov" OFF)
option(PVH_STATIC "Link pvh statically: starts faster and runs in any initramfs" OFF)

# For hosted targets only: nothing freestanding links against a sanitizer's runtime.
add_library(pvh_sanitizers INTERFACE)
if(PVH_SANITIZE)
  target_compile_options(pvh_sanitizers INTERFACE -fsanitize=${PVH_SANITIZE} -fno-omit-frame-pointer
                                                  -fno-sanitize-recover=all)
  target_link_options(pvh_sanitizers INTERFACE -fsanitize=${PVH_SANITIZE})
endif()
if(PVH_FUZZ)
  target_compile_options(pvh_sanitizers INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(PVH_COVERAGE)
  target_compile_options(pvh_sanitizers INTERFACE --coverage)
  target_link_options(pvh_sanitizers INTERFACE --coverage)
endif()
