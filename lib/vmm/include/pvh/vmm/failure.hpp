// SPDX-License-Identifier: BSD-2-Clause
// Why a machine could not be made, or could not go on: the faults of all the libraries below,
// sorted by whose they are. The command line turns the kind into the exit status.
#pragma once

#include <expected>
#include <string>
#include <type_traits>
#include <utility>

#include <pvh/devices/net/error.hpp>
#include <pvh/devices/virtio/disk.hpp>
#include <pvh/guest_memory/guest_memory.hpp>
#include <pvh/kvm/kvm.hpp>
#include <pvh/loader/file.hpp>
#include <pvh/loader/image.hpp>
#include <pvh/loader/plan.hpp>

namespace pvh::vmm {

enum class FailureKind {
  kRequest,    // what was asked for cannot be done: too many CPUs, a module larger than memory
  kMalformed,  // the kernel
  kMissing,    // a file, a program or an interface that is not there or may not be used
  kHost,       // KVM or the host's memory refuse
  kHostIo      // a console that cannot be opened, written; a network that cannot be had
};

struct Failure {
  FailureKind kind;
  std::string text;
  std::string subject{};  // the file or the option that it is about; empty: the kernel
};

// "subject: what is wrong; what to do"
[[nodiscard]] std::string to_text(const Failure& failure);

template <typename T>
using Result = std::expected<T, Failure>;

[[nodiscard]] Failure to_failure(const loader::ImageFault& fault);
[[nodiscard]] Failure to_failure(const loader::PlanFault& fault);
[[nodiscard]] Failure to_failure(const loader::FileFault& fault);
[[nodiscard]] Failure to_failure(const guest_memory::Fault& fault);
[[nodiscard]] Failure to_failure(const kvm::Fault& fault);
[[nodiscard]] Failure to_failure(const devices::virtio::DiskFault& fault);
[[nodiscard]] Failure to_failure(const devices::net::NetFault& fault);

// Another library's result as one of ours.
template <typename T, typename E>
[[nodiscard]] Result<T> lift(std::expected<T, E>&& result) {
  if (!result) {
    return std::unexpected(to_failure(result.error()));
  }
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(*result);
  }
}

}  // namespace pvh::vmm
