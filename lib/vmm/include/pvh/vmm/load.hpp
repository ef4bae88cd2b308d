// SPDX-License-Identifier: BSD-2-Clause
// Files that somebody names, opened and understood. What fails names its file.
#pragma once

#include <string>

#include <pvh/loader/file.hpp>
#include <pvh/loader/image.hpp>
#include <pvh/vmm/failure.hpp>

namespace pvh::vmm {

[[nodiscard]] Result<loader::File> open_file(const std::string& path);

// `image` refers to `file`; they move together.
struct LoadedImage {
  loader::File file;
  loader::Image image;
};

// Any kernel that loader::parse_image() knows; unpacked, when it is packed.
[[nodiscard]] Result<LoadedImage> load_image(const std::string& path);

}  // namespace pvh::vmm
