// SPDX-License-Identifier: BSD-2-Clause
// What a guest of Xen can ask besides.
#include <pvh/guest/xen.hpp>
#include <pvh/memory_map/codec.hpp>

#include "probe/judges.hpp"

namespace pvh::kernels::probe {

using std::string_view_literals::operator""sv;

namespace {

constexpr std::size_t kMostEntries = 1024;  // Xen's own limit
std::array<std::byte, kMostEntries * memory_map::entry_size(memory_map::Form::kPacked)> answer;

void judge_map_call(const Facts& facts, const guest::xen::Token& token, Claims& claims) {
  const auto count = guest::xen::memory_map(facts.machine(), token, answer);
  claims.judge(Claim::kXenMap, count && *count > 0,
               Line().text("error "sv).decimal(count ? 0 : static_cast<unsigned>(count.error())));
  if (!count || facts.boot().map_source() == guest::MapSource::kXen) {
    return;
  }
  const auto table = facts.boot().raw_memory_map();
  bool same = *count == table.size();
  for (std::uint32_t i = 0; same && i < *count; ++i) {
    same = memory_map::decode_entry(memory_map::Form::kPacked, answer, i) == table[i];
  }
  if (!same) {
    claims.note(Note::kNoteXenMapDiffers, Line()
                                              .text("the table has "sv)
                                              .decimal(table.size())
                                              .text(" entries, the call "sv)
                                              .decimal(*count));
  }
}

}  // namespace

void judge_xen(const Facts& facts, Claims& claims) {
  const std::optional<guest::xen::Token>& token = facts.boot().xen();
  if (!token) {
    claims.skip(Claim::kXenVersion, "Xen is not here"sv);
    claims.skip(Claim::kXenMap, "Xen is not here"sv);
    return;
  }
  const auto version = guest::xen::version(facts.machine(), *token);
  const std::uint32_t leaf = facts.machine().cpuid(token->cpuid_base() + 1).eax;
  claims.judge(Claim::kXenVersion, version && *version == leaf,
               Line().text("the leaf has "sv).hex(leaf));
  judge_map_call(facts, *token, claims);
}

}  // namespace pvh::kernels::probe
