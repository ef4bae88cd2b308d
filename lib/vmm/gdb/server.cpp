// SPDX-License-Identifier: BSD-2-Clause
#include "server.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "registers.hpp"

namespace pvh::vmm::gdb {
namespace {

constexpr Thread kAnyThread = std::numeric_limits<Thread>::max();

// gdb prints the number only; the protocol gives none of them a meaning.
constexpr std::string_view kMalformed = "E16";  // EINVAL
constexpr std::string_view kFailed = "E01";
constexpr std::string_view kTooLarge = "E07";  // E2BIG
constexpr std::string_view kOk = "OK";
constexpr std::string_view kUnsupported;

// gdb's own numbers of signals, which are not the host's everywhere.
enum Signal : std::uint8_t { kSigInt = 2, kSigIll = 4, kSigTrap = 5, kSigSegv = 11 };

std::uint8_t signal_of(StopReason reason) {
  switch (reason) {
    case StopReason::kInterrupted:
      return kSigInt;
    case StopReason::kCrashed:
      return kSigSegv;
    case StopReason::kCannotRun:
      return kSigIll;
    case StopReason::kAttached:
    case StopReason::kStepped:
    case StopReason::kSoftwareBreakpoint:
    case StopReason::kHardwareBreakpoint:
    case StopReason::kWrite:
    case StopReason::kAccess:
      return kSigTrap;
  }
  return kSigTrap;
}

// The protocol counts threads from 1: 0 and -1 mean others.
std::string name_of(Thread thread) {
  return fmt::format("{:x}", thread + 1);
}

std::string_view text_of(BreakpointError error) {
  switch (error) {
    case BreakpointError::kNotMapped:
      return "no memory is mapped there; a hardware breakpoint needs none";
    case BreakpointError::kTooMany:
      return "the processor has four debug registers, and they are in use";
    case BreakpointError::kBadSize:
      return "this size cannot be watched";
    case BreakpointError::kHost:
      return "KVM refused";
  }
  return "";
}

}  // namespace

std::string Server::take_output() {
  return std::exchange(output_, {});
}

void Server::send(std::string_view payload) {
  last_frame_ = frame(payload);
  output_ += last_frame_;
}

void Server::receive(base::Bytes bytes) {
  reader_.feed(bytes, [this](const Event& event) {
    if (state_ == State::kStopped || state_ == State::kRunning) {
      obey(event);
    }
  });
}

void Server::obey(const Event& event) {
  if (const auto* const packet = std::get_if<Packet>(&event)) {
    if (acknowledge_) {
      output_ += '+';
    }
    state_ == State::kRunning ? obey_running(packet->payload) : obey(packet->payload);
  } else if (std::holds_alternative<Interrupt>(event)) {
    if (state_ == State::kRunning) {
      report(target_.interrupt());
    }
  } else if (std::holds_alternative<Refused>(event)) {
    output_ += acknowledge_ ? last_frame_ : "";
  } else if (std::holds_alternative<BadChecksum>(event)) {
    output_ += acknowledge_ ? "-" : "";
  } else if (std::holds_alternative<TooLong>(event)) {
    output_ += acknowledge_ ? "+" : "";
    if (state_ == State::kStopped) {
      send(kTooLarge);
    }
  }
}

void Server::obey(std::string_view packet) {
  if (const auto reply = reply_to(packet)) {
    send(*reply);
  }
}

void Server::obey_running(std::string_view packet) {
  const bool kill = packet == "k" || packet.starts_with("vKill");
  const bool detach = packet == "D" || packet.starts_with("D;");
  if (kill || detach) {
    stop_ = target_.interrupt();
    state_ = State::kStopped;
    obey(packet);
  }
}

void Server::report(const Stop& stop) {
  stop_ = stop;
  current_ = stop.thread;
  state_ = State::kStopped;
  send(stop_reply(stop));
}

void Server::report_end(MachineEnd end) {
  send(fmt::format("{}{:02x}", end.by_signal ? 'X' : 'W', end.value));
}

std::string Server::stop_reply(const Stop& stop) const {
  std::string text = fmt::format("T{:02x}thread:{};", signal_of(stop.reason), name_of(stop.thread));
  switch (stop.reason) {
    case StopReason::kSoftwareBreakpoint:
      text += "swbreak:;";
      break;
    case StopReason::kHardwareBreakpoint:
      text += "hwbreak:;";
      break;
    case StopReason::kWrite:
      text += fmt::format("watch:{:x};", stop.address);
      break;
    case StopReason::kAccess:
      text += fmt::format("awatch:{:x};", stop.address);
      break;
    case StopReason::kAttached:
    case StopReason::kInterrupted:
    case StopReason::kStepped:
    case StopReason::kCrashed:
    case StopReason::kCannotRun:
      break;
  }
  return text;
}

std::optional<std::string> Server::reply_to(std::string_view packet) {
  Cursor rest(packet.substr(std::min<std::size_t>(1, packet.size())));
  switch (packet.empty() ? '\0' : packet.front()) {
    case '?':
      return stop_reply(stop_);
    case 'q':
    case 'Q':
      return query(Cursor(packet));
    case 'H':
      return select_thread(rest);
    case 'T':
      return thread_alive(rest);
    case 'g':
      return read_registers();
    case 'G':
      return write_registers(rest);
    case 'p':
      return read_register(rest);
    case 'P':
      return write_register(rest);
    case 'm':
      return read_memory(rest);
    case 'M':
      return write_memory(rest, Transfer::kHex);
    case 'X':
      return write_memory(rest, Transfer::kBinary);
    case 'Z':
      return set_breakpoint(rest, true);
    case 'z':
      return set_breakpoint(rest, false);
    case 'c':
    case 'C':
      return resume_all(Cursor(packet), Motion::kGo);
    case 's':
    case 'S':
      return resume_all(Cursor(packet), Motion::kStep);
    case 'v':
      return verbose(packet);
    case 'D':
      detach();
      return std::string(kOk);
    case 'k':
      target_.kill();
      state_ = State::kKilled;
      return std::nullopt;
    default:
      return std::string(kUnsupported);
  }
}

// ---- what the server can do, and who is there

std::string Server::query(Cursor packet) {
  if (packet.take("qSupported")) {
    return fmt::format(
        "PacketSize={:x};QStartNoAckMode+;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+",
        kPacketSize);
  }
  if (packet.take("qXfer:features:read:")) {
    return features(packet);
  }
  if (packet.take("qThreadExtraInfo,")) {
    const auto thread = thread_of(packet);
    return thread && *thread != kAnyThread ? to_hex(target_.describe(*thread))
                                           : std::string(kFailed);
  }
  const std::string_view all = packet.rest();
  if (all == "QStartNoAckMode") {
    acknowledge_ = false;  // from the next packet on; the peer still acknowledges our OK
    return std::string(kOk);
  }
  if (all == "qfThreadInfo") {
    return thread_list();
  }
  if (all == "qsThreadInfo") {
    return "l";
  }
  if (all == "qC") {
    return "QC" + name_of(current_);
  }
  if (all == "qAttached") {
    return "1";  // gdb detaches from such a target when it quits, and does not kill it
  }
  return std::string(kUnsupported);
}

std::string Server::features(Cursor range) const {
  if (!range.take("target.xml:")) {
    return std::string(kFailed);
  }
  const auto offset = range.number();
  const auto comma = range.take(',');
  const auto size = range.number();
  if (!offset || !comma || !size || !range.done()) {
    return std::string(kMalformed);
  }
  const std::string document = target_description();
  if (*offset >= document.size()) {
    return "l";
  }
  // Half of the limit: every byte may need an escape.
  const std::string_view part = std::string_view(document).substr(
      *offset, static_cast<std::size_t>(std::min<std::uint64_t>(*size, kPacketSize / 2)));
  const bool last = *offset + part.size() == document.size();
  return (last ? "l" : "m") + std::string(part);
}

std::string Server::thread_list() const {
  std::string text = "m";
  for (Thread thread = 0; thread < target_.threads(); ++thread) {
    text += (thread == 0 ? "" : ",") + name_of(thread);
  }
  return text;
}

std::optional<Thread> Server::thread_of(Cursor& packet) const {
  if (packet.take("-1")) {
    return kAnyThread;
  }
  const auto number = packet.number();
  if (!number || *number > target_.threads()) {
    return std::nullopt;
  }
  return *number == 0 ? kAnyThread : static_cast<Thread>(*number - 1);
}

std::string Server::select_thread(Cursor packet) {
  // Of Hc too little depends to keep it: gdb says by vCont which threads go.
  const bool general = packet.take('g');
  if (!general && !packet.take('c')) {
    return std::string(kMalformed);
  }
  const auto thread = thread_of(packet);
  if (!thread || !packet.done()) {
    return std::string(kFailed);
  }
  if (general && *thread != kAnyThread) {
    current_ = *thread;
  }
  return std::string(kOk);
}

std::string Server::thread_alive(Cursor packet) const {
  const auto thread = thread_of(packet);
  return std::string(thread && *thread != kAnyThread && packet.done() ? kOk : kFailed);
}

// ---- registers and memory

std::string Server::read_registers() {
  const auto registers = target_.read_registers(current_);
  return registers ? to_hex(*registers) : std::string(kFailed);
}

std::string Server::write_registers(Cursor packet) {
  const auto registers = from_hex(packet.rest());
  if (!registers || registers->size() != kRegisterBytes) {
    return std::string(kMalformed);
  }
  return std::string(target_.write_registers(current_, *registers) ? kOk : kFailed);
}

std::string Server::read_register(Cursor packet) {
  const auto number = packet.number();
  if (!number || !packet.done() || *number >= kRegisters.size()) {
    return std::string(kMalformed);
  }
  const auto index = static_cast<std::size_t>(*number);
  const auto registers = target_.read_registers(current_);
  return registers
             ? to_hex(
                   base::Bytes(*registers).subspan(register_offset(index), kRegisters[index].bytes))
             : std::string(kFailed);
}

std::string Server::write_register(Cursor packet) {
  const auto number = packet.number();
  const bool equals = packet.take('=');
  const auto value = from_hex(packet.rest());
  if (!number || !equals || !value || *number >= kRegisters.size() ||
      value->size() != kRegisters[static_cast<std::size_t>(*number)].bytes) {
    return std::string(kMalformed);
  }
  auto registers = target_.read_registers(current_);
  if (!registers) {
    return std::string(kFailed);
  }
  const auto place = register_offset(static_cast<std::size_t>(*number));
  std::ranges::copy(*value, registers->begin() + static_cast<std::ptrdiff_t>(place));
  return std::string(target_.write_registers(current_, *registers) ? kOk : kFailed);
}

std::string Server::read_memory(Cursor packet) {
  const auto address = packet.number();
  const bool comma = packet.take(',');
  const auto size = packet.number();
  if (!address || !comma || !size || !packet.done()) {
    return std::string(kMalformed);
  }
  // Fewer bytes than were asked for are a valid answer.
  std::vector<std::byte> bytes(
      static_cast<std::size_t>(std::min<std::uint64_t>(*size, kPacketSize / 2)));
  const std::size_t got = target_.read_memory(current_, *address, bytes);
  if (got == 0 && !bytes.empty()) {
    return std::string(kFailed);
  }
  return to_hex(base::Bytes(bytes).first(got));
}

std::string Server::write_memory(Cursor packet, Transfer transfer) {
  const auto address = packet.number();
  const bool comma = packet.take(',');
  const auto size = packet.number();
  if (!address || !comma || !size || !packet.take(':')) {
    return std::string(kMalformed);
  }
  std::optional<std::vector<std::byte>> bytes;
  if (transfer == Transfer::kHex) {
    bytes = from_hex(packet.rest());
  } else {
    const auto raw = std::as_bytes(std::span(packet.rest()));
    bytes.emplace(raw.begin(), raw.end());
  }
  if (!bytes || bytes->size() != *size) {
    return std::string(kMalformed);
  }
  // gdb asks by an empty X whether X is understood.
  const bool done = bytes->empty() || target_.write_memory(current_, *address, *bytes);
  return std::string(done ? kOk : kFailed);
}

std::string Server::set_breakpoint(Cursor packet, bool insert) {
  const auto type = packet.number();
  const bool comma = packet.take(',');
  const auto address = packet.number();
  const bool second_comma = packet.take(',');
  const auto kind = packet.number();
  if (!type || !comma || !address || !second_comma || !kind || !packet.done()) {
    return std::string(kMalformed);
  }
  constexpr std::uint64_t kReadWatchpoint = 3;
  if (*type == kReadWatchpoint || *type > std::uint64_t{4}) {
    return std::string(kUnsupported);  // of the former gdb then makes one for every access
  }
  const auto which = static_cast<BreakpointKind>(*type);
  const bool watches = which == BreakpointKind::kWrite || which == BreakpointKind::kAccess;
  const Breakpoint breakpoint{.kind = which, .address = *address, .size = watches ? *kind : 1};
  if (!insert) {
    target_.remove(breakpoint);
    return std::string(kOk);
  }
  if (const auto error = target_.insert(current_, breakpoint)) {
    return fmt::format("E.pvh.{}", text_of(*error));
  }
  return std::string(kOk);
}

// ---- going on

std::optional<std::string> Server::verbose(std::string_view packet) {
  Cursor rest(packet);
  if (packet == "vCont?") {
    return "vCont;c;C;s;S";
  }
  if (rest.take("vCont")) {
    return continue_threads(rest);
  }
  if (rest.take("vKill")) {
    target_.kill();
    state_ = State::kKilled;
    return std::string(kOk);
  }
  return std::string(kUnsupported);
}

// ";action[:thread]" again and again; the first that fits a thread is the thread's.
std::optional<std::string> Server::continue_threads(Cursor actions) {
  const std::string malformed(kMalformed);
  std::vector<std::optional<Motion>> chosen(target_.threads());
  while (!actions.done()) {
    if (!actions.take(';')) {
      return malformed;
    }
    Motion motion = Motion::kStay;
    if (actions.take('c')) {
      motion = Motion::kGo;
    } else if (actions.take('s')) {
      motion = Motion::kStep;
    } else {
      const bool go = actions.take('C');
      // A signal for the thread comes with it: processors take none.
      if ((!go && !actions.take('S')) || !actions.number()) {
        return malformed;
      }
      motion = go ? Motion::kGo : Motion::kStep;
    }
    Thread thread = kAnyThread;
    if (actions.take(':')) {
      const auto named = thread_of(actions);
      if (!named) {
        return malformed;
      }
      thread = *named;
    }
    for (Thread one = 0; one < chosen.size(); ++one) {
      if (!chosen[one] && (thread == kAnyThread || thread == one)) {
        chosen[one] = motion;
      }
    }
  }
  std::vector<Motion> motions;
  for (const auto& motion : chosen) {
    motions.push_back(motion.value_or(Motion::kStay));
  }
  if (std::ranges::all_of(motions, [](Motion motion) { return motion == Motion::kStay; })) {
    return malformed;
  }
  resume(motions);
  return std::nullopt;
}

// c, C, s and S: "[signal;][address]". Those that step do so alone.
std::optional<std::string> Server::resume_all(Cursor packet, Motion motion) {
  const bool with_signal = packet.take('C') || packet.take('S');
  if (!with_signal && !packet.take('c') && !packet.take('s')) {
    return std::string(kMalformed);
  }
  if (with_signal && !packet.number()) {
    return std::string(kMalformed);
  }
  // "At another address" is what gdb does by writing the register.
  if (!packet.done()) {
    return std::string(kMalformed);
  }
  std::vector<Motion> motions(target_.threads(), motion == Motion::kStep ? Motion::kStay : motion);
  motions[current_] = motion;
  resume(motions);
  return std::nullopt;
}

void Server::resume(const std::vector<Motion>& motions) {
  state_ = State::kRunning;
  target_.resume(motions);
}

void Server::detach() {
  target_.detach();
  state_ = State::kDetached;
}

}  // namespace pvh::vmm::gdb
