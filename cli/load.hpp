// SPDX-License-Identifier: BSD-2-Clause
// Files that the command line names, opened and understood.
#pragma once

#include <expected>
#include <string>

#include <pvh/loader/file.hpp>
#include <pvh/loader/image.hpp>
#include <pvh/vmm/failure.hpp>

namespace pvh::cli {

// A failure and what it is about.
struct Complaint {
  std::string subject;
  vmm::Failure failure;
};

// Says it, and gives the exit status.
[[nodiscard]] int fail(const Complaint& complaint);

[[nodiscard]] std::expected<loader::File, Complaint> open_file(const std::string& path);

// `image` refers to `file`; they move together.
struct LoadedImage {
  loader::File file;
  loader::Image image;
};

[[nodiscard]] std::expected<LoadedImage, Complaint> load_image(const std::string& path);

}  // namespace pvh::cli
