// SPDX-License-Identifier: BSD-2-Clause
// The balloon from both sides at once: a hostile driver, and programs that write anything to the
// control socket. Each line is answered by one line of JSON that a model of the control foretells,
// and pages leave the guest's memory only as the driver named them.
#include <fuzzer/FuzzedDataProvider.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <pvh/base/quantity.hpp>
#include <pvh/devices/virtio/balloon_control.hpp>

#include "lib/base/testing/fuzz.hpp"
#include "lib/devices/testing/hostile_driver.hpp"

namespace {

using namespace pvh;
using namespace pvh::devices;
using fuzz::require;

constexpr std::uint64_t kMemory = std::uint64_t{1} << 30;

// One for the process, gone with it.
class Folder {
 public:
  Folder() {
    const char* const parent = std::getenv("TMPDIR");
    name_ = std::string(parent != nullptr ? parent : "/tmp") + "/balloon-XXXXXX";
    require(::mkdtemp(name_.data()) != nullptr);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    ::unlink(socket().c_str());
    ::rmdir(name_.c_str());
  }
  [[nodiscard]] std::string socket() const { return name_ + "/s"; }

 private:
  std::string name_;
};

class Client {
 public:
  Client(EventLoop& loop, const std::string& path) : loop_(loop), fd_(unix_socket()) {
    require(connect_to(fd_, *unix_address(path)) == 0);
    settle();
  }

  // Sends it and gives what came; nothing once the other end has hung up.
  std::optional<std::string> say(std::string_view text) {
    const ssize_t sent = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    require(sent == static_cast<ssize_t>(text.size()) || (sent < 0 && errno == EPIPE));
    settle();
    std::string heard(1u << 16, '\0');
    const ssize_t got = ::recv(fd_.get(), heard.data(), heard.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
      return "";
    }
    if (got <= 0) {
      return std::nullopt;
    }
    heard.resize(static_cast<std::size_t>(got));
    return heard;
  }

 private:
  void settle() {
    for (int turn = 0; turn < 8; ++turn) {
      loop_.run_once(0);
    }
  }

  EventLoop& loop_;
  base::Fd fd_;
};

std::string state(std::uint64_t target, std::uint64_t actual) {
  return fmt::format("{{\"target_bytes\":{},\"actual_bytes\":{}}}\n", target, actual);
}

// What the control answers to these bytes, which begin on a line of their own; changes the target.
struct Foretold {
  std::vector<std::optional<std::string>> lines;  // nothing: an error, in whatever words
  bool hangs_up = false;
};

Foretold foretell(std::string_view text, std::uint64_t& target, std::uint64_t actual) {
  Foretold told;
  std::string line;
  for (const char c : text) {
    if (c != '\n') {
      line += c;
      if (line.size() > virtio::BalloonControl::kLongestLine) {
        told.lines.emplace_back();
        told.hangs_up = true;
        return told;
      }
      continue;
    }
    while (!line.empty() && std::string_view(" \t\r").contains(line.back())) {
      line.pop_back();
    }
    while (!line.empty() && std::string_view(" \t\r").contains(line.front())) {
      line.erase(line.begin());
    }
    const auto size = base::parse_quantity(line, 20);
    if (line.empty() || line == "?") {
      told.lines.emplace_back(state(target, actual));
    } else if (size && *size <= kMemory) {
      target = *size / 4096 * 4096;
      told.lines.emplace_back(state(target, actual));
    } else {
      told.lines.emplace_back();
    }
    line.clear();
  }
  return told;
}

// {"error":"..."}, whose words need no escapes.
bool is_error(std::string_view line) {
  constexpr std::string_view kHead = "{\"error\":\"";
  constexpr std::string_view kTail = "\"}\n";
  if (!line.starts_with(kHead) || !line.ends_with(kTail) ||
      line.size() <= kHead.size() + kTail.size()) {
    return false;
  }
  line = line.substr(kHead.size(), line.size() - kHead.size() - kTail.size());
  for (const char c : line) {
    if (c < ' ' || c > '~' || c == '"' || c == '\\') {
      return false;
    }
  }
  return true;
}

void check_answers(std::string_view heard, const Foretold& told) {
  for (const auto& line : told.lines) {
    const auto end = heard.find('\n');
    require(end != std::string_view::npos);
    const std::string_view one = heard.substr(0, end + 1);
    require(line ? one == *line : is_error(one));
    heard.remove_prefix(end + 1);
  }
  require(heard.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  const auto loop = EventLoop::create();
  require(loop != nullptr);
  virtio::Balloon balloon;
  ::unlink(folder.socket().c_str());
  auto control =
      virtio::BalloonControl::create(*loop, balloon, base::ByteSize(kMemory), folder.socket());
  require(control.has_value());
  std::optional<Client> client;
  std::uint64_t target = 0;
  testing::HostileDriver driver(*loop, balloon,
                                static_cast<std::uint32_t>(balloon.queue_sizes().size()));
  driver.play(fuzz::to_bytes(data, size),
              [&](unsigned /*what*/, std::uint64_t place, base::Bytes bytes) {
                std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                // A line now and then that is a size, or asks.
                if (place % 4 == 0) {
                  text = fmt::format("{}{}\n", place, place % 8 == 0 ? "K" : "M") + text;
                }
                if (!client) {
                  client.emplace(*loop, folder.socket());
                }
                text += "\n";
                const Foretold told = foretell(text, target, balloon.actual().value());
                const auto heard = client->say(text);
                check_answers(heard.value_or(""), told);
                require(balloon.target().value() == target);
                if (told.hangs_up) {
                  client.reset();
                }
              });
  return 0;
}
