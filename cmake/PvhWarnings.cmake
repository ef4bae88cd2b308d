# SPDX-License-Identifier: BSD-2-Clause
# The warnings that every file of ours is compiled with, all of them errors.
add_library(pvh_warnings INTERFACE)
target_compile_options(
  pvh_warnings
  INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall
            -Wextra
            -Wpedantic
            -Wconversion
            -Wsign-conversion
            -Wold-style-cast
            -Wcast-align
            -Wshadow
            -Wnon-virtual-dtor
            -Wimplicit-fallthrough
            -Werror>)
# clang reports what libstdc++ 12 itself deprecates, from inside std::stable_sort; g++ still tells of our own uses.
target_compile_options(pvh_warnings INTERFACE
                       $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:Clang>>:-Wno-deprecated-declarations>)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees overlapping copies inside std::string that are not there (its PR 105651).
  target_compile_options(pvh_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
