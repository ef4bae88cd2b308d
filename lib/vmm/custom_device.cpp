// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <utility>

#include <pvh/vmm/custom_device.hpp>

namespace pvh::vmm {
namespace {

class HandledDevice final : public devices::Device {
 public:
  explicit HandledDevice(Handlers handlers) : handlers_(std::move(handlers)) {}

  void read(std::uint64_t offset, base::MutableBytes data) override {
    std::ranges::fill(data, std::byte{0xff});  // also what a handler leaves as it was
    if (handlers_.read) {
      handlers_.read(offset, data);
    }
  }
  [[nodiscard]] devices::Action write(std::uint64_t offset, base::Bytes data) override {
    return handlers_.write ? handlers_.write(offset, data) : devices::Action{};
  }

 private:
  Handlers handlers_;
};

}  // namespace

std::shared_ptr<devices::Device> make_device(Handlers handlers) {
  return std::make_shared<HandledDevice>(std::move(handlers));
}

}  // namespace pvh::vmm
