// SPDX-License-Identifier: BSD-2-Clause
// A hostile driver, and programs of the host's that come, talk, rest and go: packets of every kind
// between few ports, so that connections come about. Nothing may crash, hang or touch other memory.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <pvh/abi/virtio.hpp>
#include <pvh/base/fd.hpp>
#include <pvh/devices/virtio/vsock.hpp>

#include "lib/devices/testing/hostile_driver.hpp"

namespace {

namespace abi = pvh::abi;
namespace base = pvh::base;
namespace devices = pvh::devices;

constexpr std::uint64_t kCid = 3;
constexpr std::uint32_t kFirstPort = std::uint32_t{1} << 30;  // of those that the device chooses

base::Fd unix_socket(const std::string& path, bool listens) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto* const at = reinterpret_cast<const sockaddr*>(&address);
  if (listens) {
    if (::bind(fd.get(), at, sizeof(address)) != 0 || ::listen(fd.get(), 4) != 0) {
      std::abort();
    }
  } else if (::connect(fd.get(), at, sizeof(address)) != 0) {
    fd.reset();
  }
  return fd;
}

// Two programs that the guest can reach, for as long as the fuzzer runs.
struct Servers {
  std::string folder = (std::filesystem::temp_directory_path() / "vsock-XXXXXX").string();
  std::string path = std::string(::mkdtemp(folder.data())) + "/v";
  std::array<base::Fd, 2> listeners{unix_socket(path + "_0", true), unix_socket(path + "_1", true)};

  Servers() = default;
  Servers(const Servers&) = delete;
  Servers& operator=(const Servers&) = delete;
  ~Servers() { std::filesystem::remove_all(folder); }
};

// Mostly in order: the input's bits say what is not.
std::vector<std::byte> packet(unsigned what, std::uint64_t place, base::Bytes bytes) {
  const auto near = static_cast<std::uint32_t>(place & 3);
  abi::virtio_vsock_hdr header{};
  header.src_cid = base::Le64((place & 0x4000) != 0 ? place : kCid);
  header.dst_cid = base::Le64((place & 0x8000) != 0 ? place : abi::VMADDR_CID_HOST);
  header.src_port = base::Le32(static_cast<std::uint32_t>(place >> 2 & 3));
  header.dst_port = base::Le32((place & 0x10) != 0 ? kFirstPort + near : near);
  header.len = base::Le32((place & 0x2000) != 0 ? static_cast<std::uint32_t>(place)
                                                : static_cast<std::uint32_t>(bytes.size()));
  header.type = base::Le16((place & 0x1000) != 0 ? std::uint16_t{2}
                                                 : std::uint16_t{abi::VIRTIO_VSOCK_TYPE_STREAM});
  header.op = base::Le16(static_cast<std::uint16_t>(what % 9));
  header.flags = base::Le32(static_cast<std::uint32_t>(place >> 5 & 3));
  header.buf_alloc = base::Le32((place & 0x800) != 0 ? 16u : 1u << 16);
  header.fwd_cnt = base::Le32((place & 0x400) != 0 ? static_cast<std::uint32_t>(place) : 0u);
  const auto wire = base::to_bytes(header);
  std::vector<std::byte> result(wire.begin(), wire.end());
  result.insert(result.end(), bytes.begin(), bytes.end());
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Servers servers;
  const auto loop = devices::EventLoop::create();
  auto vsock = devices::virtio::Vsock::create(*loop, kCid, servers.path);
  if (!loop || !vsock) {
    std::abort();
  }
  devices::testing::HostileDriver driver(*loop, **vsock, 3);
  std::vector<base::Fd> peers;
  driver.play(std::as_bytes(std::span(data, size)), [&](unsigned what, std::uint64_t place,
                                                        base::Bytes bytes) {
    const std::size_t peer = peers.empty() ? 0 : place % peers.size();
    if (what < 16) {
      driver.offer(1, packet(what, place, bytes), 0);
    } else if (what < 20) {
      peers.push_back(unix_socket(servers.path, false));
      const std::string greeting = "CONNECT " + std::to_string(place & 3) + "\n";
      static_cast<void>(::send(peers.back().get(), greeting.data(), greeting.size(),
                               MSG_DONTWAIT | MSG_NOSIGNAL));
    } else if (what < 24) {
      for (const base::Fd& listener : servers.listeners) {
        if (base::Fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
            accepted) {
          peers.push_back(std::move(accepted));
        }
      }
    } else if (peers.empty()) {
      return;
    } else if (what < 28) {
      static_cast<void>(
          ::send(peers[peer].get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
    } else if (what < 30) {
      std::array<std::byte, 4096> heard;
      static_cast<void>(::recv(peers[peer].get(), heard.data(), heard.size(), MSG_DONTWAIT));
    } else if (what == 30) {
      ::shutdown(peers[peer].get(), SHUT_WR);
    } else {
      peers.erase(peers.begin() + static_cast<std::ptrdiff_t>(peer));
    }
  });
  // What nobody accepted does not wait for the next input.
  for (const base::Fd& listener : servers.listeners) {
    while (base::Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC))) {
    }
  }
  return 0;
}
