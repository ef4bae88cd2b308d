// SPDX-License-Identifier: BSD-2-Clause
// vmm-example KERNEL DISK [INITRD [COMMAND-LINE]]: a microVM with a disk and a port of its own,
// 0x510. What the guest writes there is printed; reading it counts.
#include <atomic>
#include <cstdio>

#include <pvh/vmm/builder.hpp>

using namespace pvh;

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: vmm-example KERNEL DISK [INITRD [COMMAND-LINE]]\n", stderr);
    return 64;
  }
  std::atomic<unsigned char> reads = 0;  // two processors of the guest may come at once
  vmm::MachineBuilder builder(argv[1]);
  builder.disk(argv[2]).cpus(2).console({.kind = vmm::ConsoleKind::kStdio});
  builder.command_line(argc > 4 ? argv[4] : "console=ttyS0 quiet");
  if (argc > 3) {
    builder.module(argv[3]);
  }
  builder.port(0x510, 1,
               {.read = [&](auto, base::MutableBytes data) { data[0] = std::byte{++reads}; },
                .write = [](auto, base::Bytes data) -> devices::Action {
                  std::printf("port 0x510: %c\n", std::to_integer<char>(data[0]));
                  return {};
                }});
  auto machine = builder.build();
  if (!machine) {
    std::fprintf(stderr, "vmm-example: %s\n", to_text(machine.error()).c_str());
    return 1;
  }
  const auto ended = machine->run();
  std::printf("ended: %s\n",
              (ended ? std::string(to_string(ended->cause)) : to_text(ended.error())).c_str());
  return ended && ended->cause == vmm::EndingCause::kPowerOff ? 0 : 1;
}
