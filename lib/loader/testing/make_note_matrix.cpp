// SPDX-License-Identifier: BSD-2-Clause
// make-note-matrix DIR CODE ADDRESS: writes one kernel for each way in which a PVH note can be laid
// out, and prints their names. CODE is a flat binary that is loaded and entered, in 32-bit
// protected mode, at ADDRESS.
#include <cstdio>
#include <cstdlib>
#include <string>

#include <pvh/loader/file.hpp>

#include "lib/loader/testing/elf_builder.hpp"

int main(int argc, char** argv) {
  using namespace pvh::loader;
  if (argc != 4) {
    std::fputs("usage: make-note-matrix DIR CODE ADDRESS\n", stderr);
    return 64;
  }
  const std::string folder = argv[1];
  const auto code = File::open(argv[2]);
  if (!code) {
    std::fprintf(stderr, "make-note-matrix: %s: %s\n", argv[2],
                 pvh::base::to_text(code.error()).c_str());
    return 66;
  }
  const std::uint64_t address = std::strtoull(argv[3], nullptr, 0);
  for (const testkit::NoteCase& note_case : testkit::note_matrix()) {
    const std::string path = folder + "/" + testkit::name_of(note_case);
    if (!testkit::write_file(path, testkit::build_case(note_case, code->bytes(), address))) {
      std::fprintf(stderr, "make-note-matrix: %s: cannot be written\n", path.c_str());
      return 74;
    }
    std::puts(path.c_str());
  }
  return 0;
}
