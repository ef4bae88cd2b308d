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
