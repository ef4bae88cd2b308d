# SPDX-License-Identifier: BSD-2-Clause
# Compile once what several build folders compile alike. The cache lives in the tree's build folder, so that removing
# that removes everything.
option(PVH_CCACHE "Compile through ccache when it is there" ON)
find_program(PVH_CCACHE_PROGRAM ccache)
# A coverage build must write its notes file where it compiles.
if(PVH_CCACHE AND PVH_CCACHE_PROGRAM AND NOT PVH_COVERAGE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_DIR=${CMAKE_SOURCE_DIR}/build/ccache CCACHE_MAXSIZE=2G CCACHE_NOHASHDIR=1
      ${PVH_CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_C_COMPILER_LAUNCHER})
endif()
