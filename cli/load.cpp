// SPDX-License-Identifier: BSD-2-Clause
#include "load.hpp"

#include <pvh/base/try.hpp>

#include "exit_status.hpp"
#include "output.hpp"

namespace pvh::cli {
namespace {

template <typename T, typename E>
std::expected<T, Complaint> about(const std::string& path, std::expected<T, E>&& result) {
  if (!result) {
    return std::unexpected(
        Complaint{path.empty() ? "\"\"" : path, vmm::to_failure(result.error())});
  }
  return std::move(*result);
}

}  // namespace

int fail(const Complaint& complaint) {
  const std::string& subject = complaint.failure.subject;
  complain(subject.empty() ? complaint.subject : subject, complaint.failure.text);
  return exit_status(complaint.failure.kind);
}

std::expected<loader::File, Complaint> open_file(const std::string& path) {
  return about(path, loader::File::open(path));
}

std::expected<LoadedImage, Complaint> load_image(const std::string& path) {
  loader::File file = TRY(open_file(path));
  loader::Image image = TRY(about(path, loader::parse_image(file.bytes())));
  return LoadedImage{std::move(file), std::move(image)};
}

}  // namespace pvh::cli
