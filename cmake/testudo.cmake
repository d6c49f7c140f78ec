# How every folder of the project is built. A folder's CMakeLists.txt is one call of testudo_folder().

# Top to bottom is the dependency order. tools/check_layers.py reads this list.
set(TESTUDO_LAYERS
  base wire crypto ipsec policy sequence distributor target io path
  facility xcf vipa ike node)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

option(TESTUDO_FUZZ "Build the fuzz targets (needs clang)" OFF)
set(TESTUDO_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize takes them: address,undefined or thread")

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(GTest REQUIRED)
find_package(Protobuf REQUIRED)
find_package(absl REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)

add_library(testudo_flags INTERFACE)
target_compile_options(testudo_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Woverloaded-virtual -Werror)
target_include_directories(testudo_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
if(TESTUDO_SANITIZE)
  add_compile_options(-fsanitize=${TESTUDO_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TESTUDO_SANITIZE})
endif()
if(TESTUDO_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Refuses an include that points up the list of layers. Runs at every build.
add_custom_target(check_layers ALL
  COMMAND ${PROJECT_SOURCE_DIR}/tools/check_layers.py ${PROJECT_SOURCE_DIR}
  COMMENT "Checking that no include points up the layers")

enable_testing()

# testudo_folder(NAME [DEPS target...] [EXCLUDE regex] [FUZZ_DEPS target...])
#
# Makes of the current folder (and its sub-folders):
#   testudo_NAME        a static library of every .cc that is not a test, a fuzz target or a benchmark
#   NAME_test           one GoogleTest program of every *_test.cc, run by ctest with the label "unit"
#   NAME_X_fuzz         one libFuzzer program per X_fuzz.cc, with TESTUDO_FUZZ; its seed corpus is fuzz/corpus/X/
#   NAME_bench          one Google Benchmark program of every *_bench.cc
#
# EXCLUDE: sources that are a library of their own. FUZZ_DEPS: what the fuzz targets link instead of testudo_NAME, when
# their part of the folder needs much less.
function(testudo_folder name)
  cmake_parse_arguments(ARG "" "EXCLUDE" "DEPS;FUZZ_DEPS" ${ARGN})
  file(GLOB_RECURSE all CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(sources ${all})
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz|bench)\\.cc$")
  if(ARG_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${ARG_EXCLUDE}")
  endif()
  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  set(fuzzers ${all})
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  set(benches ${all})
  list(FILTER benches INCLUDE REGEX "_bench\\.cc$")

  set(library testudo_${name})
  if(sources)
    add_library(${library} STATIC ${sources})
    target_link_libraries(${library} PUBLIC testudo_flags ${ARG_DEPS})
  else()
    add_library(${library} INTERFACE)
    target_link_libraries(${library} INTERFACE testudo_flags ${ARG_DEPS})
  endif()

  if(tests)
    find_library(RAPIDCHECK rapidcheck REQUIRED)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE ${library} GTest::gmock_main GTest::gtest ${RAPIDCHECK})
    add_test(NAME ${name}_test COMMAND ${name}_test WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${name}_test PROPERTIES LABELS unit TIMEOUT 600)
  endif()

  if(TESTUDO_FUZZ)
    foreach(source IN LISTS fuzzers)
      get_filename_component(stem ${source} NAME_WE)
      add_executable(${name}_${stem} ${source})
      if(ARG_FUZZ_DEPS)
        target_link_libraries(${name}_${stem} PRIVATE ${ARG_FUZZ_DEPS})
      else()
        target_link_libraries(${name}_${stem} PRIVATE ${library})
      endif()
      target_link_options(${name}_${stem} PRIVATE -fsanitize=fuzzer)
    endforeach()
  elseif(benches)
    find_package(benchmark REQUIRED)
    add_executable(${name}_bench EXCLUDE_FROM_ALL ${benches})
    target_link_libraries(${name}_bench PRIVATE ${library} benchmark::benchmark_main)
  endif()
endfunction()
