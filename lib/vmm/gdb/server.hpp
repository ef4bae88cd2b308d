// SPDX-License-Identifier: BSD-2-Clause
// gdb's remote serial protocol, served for a Target: a state machine that takes what the peer sent
// and what the target reports, and gives what is to be sent. It knows no socket and no thread.
//
// All-stop only. While the machine runs, an interrupt, a kill and a detach are obeyed; whatever
// else comes then is dropped, because the protocol has no answer for it. A peer can make the target
// do anything to its guest, but nothing here grows with what it sends: a packet has at most
// kPacketSize bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pvh/base/bytes.hpp>

#include "hex.hpp"
#include "packet.hpp"
#include "target.hpp"

namespace pvh::vmm::gdb {

// How the machine ended: with a status, or as a program that signal `value` (gdb's number) killed.
struct MachineEnd {
  bool by_signal = false;
  std::uint8_t value = 0;
};

class Server {
 public:
  enum class State : std::uint8_t {
    kStopped,  // the peer has the word
    kRunning,
    kDetached,  // the peer goes, the machine goes on
    kKilled     // the peer wanted the machine to end
  };

  // `attached` is how the target stands when the peer comes. The target must outlive the server.
  Server(Target& target, const Stop& attached) : target_(target), stop_(attached) {}

  void receive(base::Bytes bytes);
  // What runs was stopped.
  void report(const Stop& stop);
  void report_end(MachineEnd end);

  [[nodiscard]] State state() const { return state_; }
  // What is to be sent, once.
  [[nodiscard]] std::string take_output();

 private:
  enum class Transfer : std::uint8_t { kHex, kBinary };

  void obey(const Event& event);
  void obey(std::string_view packet);
  void obey_running(std::string_view packet);
  void send(std::string_view payload);

  // Each gives the reply; nothing when none is due now.
  [[nodiscard]] std::optional<std::string> reply_to(std::string_view packet);
  [[nodiscard]] std::string query(Cursor packet);
  [[nodiscard]] std::string features(Cursor range) const;
  [[nodiscard]] std::string thread_list() const;
  [[nodiscard]] std::string select_thread(Cursor packet);
  [[nodiscard]] std::string thread_alive(Cursor packet) const;
  [[nodiscard]] std::string read_registers();
  [[nodiscard]] std::string write_registers(Cursor packet);
  [[nodiscard]] std::string read_register(Cursor packet);
  [[nodiscard]] std::string write_register(Cursor packet);
  [[nodiscard]] std::string read_memory(Cursor packet);
  [[nodiscard]] std::string write_memory(Cursor packet, Transfer transfer);
  [[nodiscard]] std::string set_breakpoint(Cursor packet, bool insert);
  [[nodiscard]] std::optional<std::string> verbose(std::string_view packet);
  [[nodiscard]] std::optional<std::string> continue_threads(Cursor actions);
  [[nodiscard]] std::optional<std::string> resume_all(Cursor packet, Motion motion);
  void resume(const std::vector<Motion>& motions);
  void detach();

  [[nodiscard]] std::string stop_reply(const Stop& stop) const;
  // 0 is any thread, -1 all of them; kAnyThread for both. Nothing when there is no such thread.
  [[nodiscard]] std::optional<Thread> thread_of(Cursor& packet) const;

  Target& target_;
  Stop stop_;                      // the last one
  Thread current_ = stop_.thread;  // what g, m and their like are about
  State state_ = State::kStopped;
  bool acknowledge_ = true;
  PacketReader reader_;
  std::string last_frame_;
  std::string output_;
};

}  // namespace pvh::vmm::gdb
