// SPDX-License-Identifier: BSD-2-Clause
#include <utility>

#include <pvh/base/try.hpp>
#include <pvh/vmm/load.hpp>

namespace pvh::vmm {
namespace {

template <typename T, typename E>
Result<T> about(const std::string& path, std::expected<T, E>&& result) {
  if (!result) {
    Failure failure = to_failure(result.error());
    failure.subject = path.empty() ? "\"\"" : path;
    return std::unexpected(std::move(failure));
  }
  return std::move(*result);
}

}  // namespace

Result<loader::File> open_file(const std::string& path) {
  return about(path, loader::File::open(path));
}

Result<LoadedImage> load_image(const std::string& path) {
  loader::File file = TRY(open_file(path));
  loader::Image image = TRY(about(path, loader::parse_image(file.bytes())));
  return LoadedImage{std::move(file), std::move(image)};
}

}  // namespace pvh::vmm
