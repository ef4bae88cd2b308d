# SPDX-License-Identifier: BSD-2-Clause
# The three shapes of target in this tree. A library is a folder lib/<name>; its public headers are in
# include/pvh/<name>, its tests beside the code.

# What a kernel links: as every kernel is compiled, small, and in sections of their own, so that a kernel is no larger
# than what it uses.
# clang's -Oz calls functions that a kernel does not have, for shifts of 64 bits and for what -Os compiles in place.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  set(PVH_SMALLEST -Oz)
else()
  set(PVH_SMALLEST -Os)
endif()
set(PVH_FREESTANDING_FLAGS ${PVH_SMALLEST} -ffunction-sections -fdata-sections -fcf-protection=none)

# pvh_library(NAME [FREESTANDING] SOURCES ... [KERNEL32 ...] [KERNEL64 ...] [PUBLIC targets...] [PRIVATE targets...])
# makes pvh_NAME (alias pvh::NAME). FREESTANDING makes its twins pvh_NAME_freestanding and pvh_NAME_freestanding32 from
# the same sources too, and from those which only a kernel has.
function(pvh_library name)
  cmake_parse_arguments(A "FREESTANDING" "" "SOURCES;KERNEL32;KERNEL64;PUBLIC;PRIVATE" ${ARGN})
  add_library(pvh_${name} STATIC ${A_SOURCES})
  add_library(pvh::${name} ALIAS pvh_${name})
  target_include_directories(pvh_${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>)
  target_link_libraries(pvh_${name} PUBLIC ${A_PUBLIC} PRIVATE ${A_PRIVATE} pvh_warnings pvh_sanitizers)
  pvh_check_headers(${name})
  if(A_FREESTANDING)
    pvh_freestanding_twin(${name} freestanding "${PVH_KERNEL_FLAGS_64}" "${A_PUBLIC}" ${A_SOURCES} ${A_KERNEL64})
    pvh_freestanding_twin(${name} freestanding32 "${PVH_KERNEL_FLAGS_32}" "${A_PUBLIC}" ${A_SOURCES} ${A_KERNEL32})
  endif()
endfunction()

function(pvh_freestanding_twin name suffix flags public)
  list(TRANSFORM public REPLACE "^pvh::(.*)$" "pvh_\\1_${suffix}")
  add_library(pvh_${name}_${suffix} STATIC ${ARGN})
  target_include_directories(pvh_${name}_${suffix} PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>)
  target_compile_options(pvh_${name}_${suffix} PRIVATE ${PVH_FREESTANDING_FLAGS} ${flags})
  target_link_libraries(pvh_${name}_${suffix} PUBLIC ${public} PRIVATE pvh_warnings)
endfunction()

# Every public header is compiled alone and included twice: it stands by itself and is guarded.
function(pvh_check_headers name)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/include
       ${CMAKE_CURRENT_SOURCE_DIR}/include/pvh/${name}/*.hpp)
  list(FILTER headers EXCLUDE REGEX "/internal/")  # which stand behind a public one
  foreach(header IN LISTS headers)
    string(MAKE_C_IDENTIFIER ${header} id)
    set(source ${CMAKE_CURRENT_BINARY_DIR}/header_check/${id}.cpp)
    file(CONFIGURE OUTPUT ${source} CONTENT "#include <${header}>\n#include <${header}>\n")
    list(APPEND sources ${source})
  endforeach()
  if(sources AND PVH_UNIT_TESTS)
    add_library(pvh_${name}_headers OBJECT ${sources})
    target_compile_options(pvh_${name}_headers PRIVATE -O0)
    target_link_libraries(pvh_${name}_headers PRIVATE pvh_${name} pvh_warnings)
  endif()
endfunction()

# What tools/coverage and tools/fuzz build: all that the functions below make, and what that needs.
add_custom_target(unit_tests)
add_custom_target(fuzzers)

# They run from one build folder; the others need not spend half their time on them.
option(PVH_UNIT_TESTS "Build the unit tests with everything else (else: the target unit_tests)" ON)

# pvh_test(NAME SOURCES ... [LINK targets...]) makes the GoogleTest program bin/tests/NAME.
function(pvh_test name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  if(NOT PVH_UNIT_TESTS)
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
  target_link_libraries(${name} PRIVATE ${A_LINK} GTest::gmock_main pvh_warnings pvh_sanitizers)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE PVH_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
  add_test(NAME ${name} COMMAND ${name})
  add_dependencies(unit_tests ${name})
endfunction()

# pvh_fuzzer(NAME SOURCES ... [LINK targets...]) makes the libFuzzer program bin/fuzz/NAME in the fuzz preset.
function(pvh_fuzzer name)
  if(NOT PVH_FUZZ)
    return()
  endif()
  cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE ${A_LINK} pvh_warnings pvh_sanitizers)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/fuzz)
  add_test(NAME ${name} COMMAND ${name})
  add_dependencies(fuzzers ${name})
endfunction()
