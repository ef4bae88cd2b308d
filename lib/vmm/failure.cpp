// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/vmm/failure.hpp>

namespace pvh::vmm {

std::string to_text(const Failure& failure) {
  return failure.subject.empty() ? failure.text : failure.subject + ": " + failure.text;
}

Failure to_failure(const loader::ImageFault& fault) {
  return {FailureKind::kMalformed, base::to_text(fault)};
}

Failure to_failure(const loader::PlanFault& fault) {
  const bool kernel = fault.code == loader::PlanError::kBadImage;
  return {kernel ? FailureKind::kMalformed : FailureKind::kRequest, base::to_text(fault)};
}

Failure to_failure(const loader::FileFault& fault) {
  return {FailureKind::kMissing, base::to_text(fault)};
}

Failure to_failure(const guest_memory::Fault& fault) {
  return {FailureKind::kHost, base::to_text(fault)};
}

Failure to_failure(const kvm::Fault& fault) {
  return {FailureKind::kHost, base::to_text(fault)};
}

Failure to_failure(const devices::virtio::DiskFault& fault) {
  const bool host = fault.code == devices::virtio::DiskError::kNoOverlay;
  return {host ? FailureKind::kHostIo : FailureKind::kMissing, base::to_text(fault)};
}

Failure to_failure(const devices::net::NetFault& fault) {
  using devices::net::NetError;
  const bool missing = fault.code == NetError::kNoPasst || fault.code == NetError::kNoTun ||
                       fault.code == NetError::kNoTap || fault.code == NetError::kTapNotOurs;
  return {missing ? FailureKind::kMissing : FailureKind::kHostIo, base::to_text(fault)};
}

}  // namespace pvh::vmm
