// SPDX-License-Identifier: BSD-2-Clause
// Any bytes from the peer, between any reports of the target, are answered in frames that a peer
// can read; and the server asks nothing of the target that its contract does not allow.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "packet.hpp"
#include "server.hpp"
#include "testing/fake_target.hpp"

namespace {

using namespace pvh::vmm::gdb;  // NOLINT(google-build-using-namespace): all of it is under test

void require(bool ok) {
  if (!ok) {
    std::abort();
  }
}

// Acknowledgements, and frames that are whole, right and not too long.
void check_output(const std::string& output) {
  PacketReader reader;
  std::size_t frames = 0;
  reader.feed(std::as_bytes(std::span(output)), [&](const Event& event) {
    require(!std::holds_alternative<BadChecksum>(event) && !std::holds_alternative<TooLong>(event));
    frames += std::holds_alternative<Packet>(event) ? 1 : 0;
  });
  require(frames == static_cast<std::size_t>(std::ranges::count(output, '$')));
}

}  // namespace

// Chunks: a byte of length, and that many bytes for the server. A length of 0 lets the target
// report what the next byte says. Payloads stand alone, so that the fuzzer need not find checksums.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span input(data, size);
  testing::FakeTarget target;
  Server server(target, {StopReason::kAttached, 0});
  std::size_t at = 0;
  while (at < input.size()) {
    const std::size_t length = input[at++];
    const auto chunk = input.subspan(at, std::min(length, input.size() - at));
    at += chunk.size();
    if (length == 0 && at < input.size()) {
      const std::uint8_t what = input[at++];
      if (server.state() == Server::State::kRunning) {
        server.report({static_cast<StopReason>(what % 9), what % 2U, what});
      }
    } else {
      const std::string raw(chunk.begin(), chunk.end());
      const std::string sent = length % 2 == 0 ? frame(raw) : raw;
      server.receive(std::as_bytes(std::span(sent)));
    }
    check_output(server.take_output());
    require(target.motions.empty() || target.motions.size() == target.threads());
    require(target.detached == (server.state() == Server::State::kDetached));
    require(target.killed == (server.state() == Server::State::kKilled));
    for (const Breakpoint& one : target.breakpoints) {
      require(one.size == 1 || one.kind == BreakpointKind::kWrite ||
              one.kind == BreakpointKind::kAccess);
    }
  }
  return 0;
}
