// SPDX-License-Identifier: BSD-2-Clause
// pvh.pandoc, "Hardware description", and as much of ACPI as it refers to.
#include "probe/judges.hpp"

namespace pvh::kernels::probe {

using std::string_view_literals::operator""sv;

namespace {

bool has_name(const guest::AcpiTable& root, const guest::Rsdp& rsdp) {
  return std::string_view(root.signature.data(), root.signature.size()) ==
         (rsdp.root_is_xsdt ? "XSDT"sv : "RSDT"sv);
}

void skip_tables(Claims& claims, std::string_view why) {
  claims.skip(Claim::kAcpiTables, why);
  claims.skip(Claim::kAcpiFadt, why);
}

void judge_rsdp(const Facts& facts, Claims& claims) {
  const std::optional<guest::Rsdp>& rsdp = facts.boot().rsdp();
  const std::uint64_t passed = facts.info().rsdp_paddr.get();
  if (!rsdp && passed == 0) {
    claims.skip(Claim::kRsdpPassed, "there is no RSDP"sv);
    claims.skip(Claim::kRsdpRight, "there is no RSDP"sv);
    claims.note(Note::kNoteNoAcpi, Line().text("rsdp_paddr is 0, and none was found"sv));
    return;
  }
  if (passed == 0) {
    const Line found = Line().text("rsdp_paddr is 0, one is at "sv).hex(rsdp->address.value());
    claims.judge(Claim::kRsdpPassed, false, found);
    claims.skip(Claim::kRsdpRight, "it was not passed"sv);
    claims.note(Note::kNoteSearched, found);
    return;
  }
  claims.judge(Claim::kRsdpPassed, true, Line());
  claims.judge(Claim::kRsdpRight,
               guest::read_rsdp(facts.machine(), base::PhysAddr(passed)).has_value(),
               Line().text("there is none at "sv).hex(passed));
  if (rsdp && !rsdp->passed) {
    claims.note(Note::kNoteSearched, Line().text("one is at "sv).hex(rsdp->address.value()));
  }
}

void note_place(const Facts& facts, const Piece& piece, Claims& claims) {
  const Coverage where = coverage(facts.boot().raw_memory_map(), piece.range);
  const Line what = Line().text(piece.name).text(" at "sv).hex(piece.range.first().value());
  if (piece.name == "rsdp"sv && where.none) {
    claims.note(Note::kNoteRsdpInHole, what);
  }
  if (piece.name == "acpi-root"sv || piece.name == "acpi-table"sv) {
    if (where.all_ram) {
      claims.note(Note::kNoteAcpiInRam, what);
    }
    if (where.none) {
      claims.note(Note::kNoteAcpiInHole, what);
    }
  }
}

}  // namespace

void judge_acpi(const Facts& facts, Claims& claims) {
  judge_rsdp(facts, claims);
  const std::optional<guest::Rsdp>& rsdp = facts.boot().rsdp();
  if (!rsdp) {
    claims.skip(Claim::kAcpiRoot, "there is no RSDP"sv);
    skip_tables(claims, "there is no RSDP"sv);
    return;
  }
  guest::Diagnostics diagnostics;
  guest::AcpiTables tables(facts.machine(), *rsdp, diagnostics);
  // The runtime believes a root table of any name, as Linux does; the specification has two.
  const bool believed = tables.root() && tables.root()->right;
  claims.judge(Claim::kAcpiRoot, believed && has_name(*tables.root(), *rsdp),
               Line().text("the root table at "sv).hex(rsdp->root.value()));
  if (!believed) {
    skip_tables(claims, "the root table is wrong"sv);
    return;
  }
  bool has_fadt = false;
  bool has_madt = false;
  Finding right;
  while (const std::optional<guest::AcpiTable> table = tables.next_listed()) {
    const std::string_view name(table->signature.data(), table->signature.size());
    has_fadt |= name == "FACP"sv;
    has_madt |= name == "APIC"sv;
    if (!table->right) {
      right.complain(Line().text(name).text(" at "sv).hex(table->range.first().value()));
    }
  }
  // What can be no table at all.
  for (const guest::Diagnostic& each : diagnostics.all()) {
    if (each.kind == guest::DiagnosticKind::kAcpiTableBad) {
      right.complain(Line().text("a table at "sv).hex(each.value));
    }
  }
  claims.judge(Claim::kAcpiTables, right);
  claims.judge(Claim::kAcpiFadt, has_fadt, Line().text("there is none"sv));
  if (!has_madt) {
    claims.note(Note::kNoteNoMadt, Line().text("there is none"sv));
  }
  for (const Piece& piece : facts.pieces()) {
    note_place(facts, piece, claims);
  }
}

}  // namespace pvh::kernels::probe
