// SPDX-License-Identifier: BSD-2-Clause
// start_info.h: the modules, and what the command line says of them:
//
//   expect.modules=COUNT                  so many modules
//   expect.module=INDEX,SIZE,CHECKSUM     this one is so long and has these bytes
#include "common/checksum.hpp"
#include "probe/judges.hpp"

namespace pvh::kernels::probe {

using std::string_view_literals::operator""sv;

namespace {

Line words(std::uint32_t index) {
  return Line().text("module "sv).decimal(index);
}

// Takes "N" or "N," off the front.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::size_t end = 0;
  while (end < text.size() && text[end] != ',') {
    ++end;
  }
  const auto number = guest::parse_number(std::string_view(text.data(), end));
  text.remove_prefix(end < text.size() ? end + 1 : end);
  return number;
}

void judge_records(const Facts& facts, std::uint32_t count, Claims& claims) {
  Finding present;
  Finding text;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto entry = facts.module(i);
    if (!entry) {
      continue;  // not listed
    }
    const std::uint64_t address = entry->paddr.get();
    const std::uint64_t size = entry->size.get();
    const std::uint64_t line = entry->cmdline_paddr.get();
    const auto range = base::Range::from_size(base::PhysAddr(address), base::ByteSize(size));
    if (address == 0 || (size != 0 && !range)) {
      present.complain(words(i).text(" at "sv).hex(address).text(" +"sv).hex(size));
    }
    if (line != 0 && !facts.string_length(base::PhysAddr(line))) {
      text.complain(words(i).text(", cmdline_paddr "sv).hex(line));
    }
    if (entry->reserved.get() != 0) {
      claims.note(Note::kNoteModuleReserved, words(i).text(": "sv).hex(entry->reserved.get()));
    }
    if (address % base::kPageSize.value() != 0) {
      claims.note(Note::kNoteModuleUnaligned, words(i).text(" at "sv).hex(address));
    }
    if (range && !coverage(facts.boot().raw_memory_map(), *range).all_ram) {
      claims.note(Note::kNoteModuleNotRam, words(i).text(" at "sv).hex(address));
    }
  }
  claims.judge(Claim::kModulesPresent, present);
  claims.judge(Claim::kModulesText, text);
}

// Neither another module nor the image nor boot data may share a module's bytes. ACPI's tables are
// not handed over by the loader alone, and count all the same.
void judge_apart(const Facts& facts, Claims& claims) {
  Finding apart;
  for (const Piece& piece : facts.pieces()) {
    const Piece* other = piece.name == "module"sv ? facts.overlapped(piece) : nullptr;
    if (other != nullptr) {
      apart.complain(words(piece.index)
                         .text(" and "sv)
                         .text(other->name)
                         .text(" share "sv)
                         .hex(other->range.first().value()));
    }
  }
  claims.judge(Claim::kModulesApart, apart);
}

void judge_expected_count(const Facts& facts, Claims& claims) {
  const auto expected = guest::find_argument(facts.boot().command_line(), "expect.modules"sv);
  const auto count = expected && expected->value ? guest::parse_number(*expected->value)
                                                 : std::optional<std::uint64_t>();
  if (!count) {
    claims.skip(Claim::kModulesCount, "no expect.modules"sv);
    return;
  }
  claims.judge(Claim::kModulesCount, facts.info().nr_modules.get() == *count,
               Line().text("nr_modules is "sv).decimal(facts.info().nr_modules.get()));
}

void judge_expected_content(const Facts& facts, Claims& claims) {
  Finding content;
  bool asked = false;
  guest::CommandLine line(facts.boot().command_line());
  while (const std::optional<guest::Argument> argument = line.next()) {
    if (argument->name != "expect.module"sv || !argument->value) {
      continue;
    }
    asked = true;
    std::string_view rest = *argument->value;
    const auto index = take_number(rest);
    const auto size = take_number(rest);
    const auto sum = take_number(rest);
    const bool is_there = index && *index < facts.info().nr_modules.get();
    const std::uint32_t number = is_there ? static_cast<std::uint32_t>(*index) : 0;
    const auto entry = is_there ? facts.module(number) : std::nullopt;
    if (!size || !sum || !entry) {
      content.complain(Line().text("there is no module "sv).text(*argument->value));
      continue;
    }
    const auto range = base::Range::from_size(base::PhysAddr(entry->paddr.get()),
                                              base::ByteSize(entry->size.get()));
    const auto found = range ? checksum(facts.machine(), *range) : std::nullopt;
    if (entry->size.get() != *size || found != *sum) {
      content.complain(words(number)
                           .text(" has "sv)
                           .decimal(entry->size.get())
                           .text(" bytes, checksum "sv)
                           .hex(found ? *found : 0));
    }
  }
  if (asked) {
    claims.judge(Claim::kModulesContent, content);
  } else {
    claims.skip(Claim::kModulesContent, "no expect.module"sv);
  }
}

}  // namespace

void judge_modules(const Facts& facts, Claims& claims) {
  const std::uint32_t total = facts.info().nr_modules.get();
  const std::uint32_t count = total < kMostModulesLookedAt ? total : kMostModulesLookedAt;
  if (total == 0) {
    constexpr std::string_view kWhy = "there are no modules"sv;
    claims.skip(Claim::kModulesListed, kWhy);
    claims.skip(Claim::kModulesPresent, kWhy);
    claims.skip(Claim::kModulesText, kWhy);
    claims.skip(Claim::kModulesApart, kWhy);
  } else {
    claims.judge(Claim::kModulesListed,
                 facts.module(0).has_value() && facts.module(total - 1).has_value(),
                 Line().text("modlist_paddr is "sv).hex(facts.info().modlist_paddr.get()));
    judge_records(facts, count, claims);
    judge_apart(facts, claims);
  }
  judge_expected_count(facts, claims);
  judge_expected_content(facts, claims);
}

}  // namespace pvh::kernels::probe
