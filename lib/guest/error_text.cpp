// SPDX-License-Identifier: BSD-2-Clause
// The sentences, in a source of their own: they are linked only where somebody asks for them.
#include <pvh/guest/error.hpp>

namespace pvh::guest {

using std::string_view_literals::operator""sv;

std::string_view describe(BootErrorCode code) {
  switch (code) {
    case BootErrorCode::kNoStartInfo:
      return "EBX is 0: the kernel was not entered by PVH; use a loader that finds its PVH note"sv;
    case BootErrorCode::kStartInfoUnreadable:
      return "EBX points where no memory is, or over the end of the first 4 GiB"sv;
    case BootErrorCode::kBadMagic:
      return "EBX does not point at a start_info (0x336ec578): the loader speaks another protocol"sv;
    case BootErrorCode::kStartInfoInsideImage:
      return "start_info lies inside the kernel: the loader does not know how large it is"sv;
    case BootErrorCode::kVersion0WithoutXen:
      return "start_info version 0 has no memory map and there is no Xen to ask; use version 1"sv;
    case BootErrorCode::kEmptyMap:
      return "the memory map has no entries and there is no Xen to ask"sv;
    case BootErrorCode::kMalformedMemmap:
      return "the memory map has entries but no address, or lies where no memory is"sv;
    case BootErrorCode::kMemmapTooLarge:
      return "the memory map says that it has more than 65536 entries"sv;
    case BootErrorCode::kMapStorageTooSmall:
      return "the memory map has more entries than there is room for; enlarge PVH_STORAGE"sv;
    case BootErrorCode::kMapHypercallFailed:
      return "Xen refused to tell the memory map and start_info has none"sv;
    case BootErrorCode::kNoUsableRam:
      return "the memory map has not one whole page of RAM"sv;
    case BootErrorCode::kTooManyReservations:
      return "more is in use than there is room to note; enlarge PVH_STORAGE"sv;
    case BootErrorCode::kTooManyModules:
      return "there are more modules than there is room for; enlarge PVH_STORAGE"sv;
    case BootErrorCode::kModuleOverImage:
      return "a module lies over the kernel: the loader does not know how large the kernel is"sv;
    case BootErrorCode::kCommandLineOverImage:
      return "the command line lies over the kernel: the loader does not know how large it is"sv;
  }
  return "unknown error"sv;
}

std::string_view describe(DiagnosticKind kind) {
  switch (kind) {
    case DiagnosticKind::kNewerVersion:
      return "start_info is newer than version 1; read as version 1"sv;
    case DiagnosticKind::kMemmapWithoutAddress:
      return "the memory map has entries but no address; Xen was asked instead"sv;
    case DiagnosticKind::kMemmapUnreadable:
      return "the memory map lies where no memory is; Xen was asked instead"sv;
    case DiagnosticKind::kTableWithoutRam:
      return "the memory map has no whole page of RAM; Xen was asked instead"sv;
    case DiagnosticKind::kMapPossiblyTruncated:
      return "Xen has more entries than there is room for; nothing above is used; enlarge "
             "PVH_STORAGE"sv;
    case DiagnosticKind::kMapAnomaly:
      return "the memory map is not clean; see its report"sv;
    case DiagnosticKind::kModuleListMissing:
      return "there are modules but their list is missing or cannot be read; none is used"sv;
    case DiagnosticKind::kModuleAbsent:
      return "a module has no address or no size"sv;
    case DiagnosticKind::kModuleWraps:
      return "a module passes the end of the address space; it is not used"sv;
    case DiagnosticKind::kModuleNotInRam:
      return "a module is not all in RAM"sv;
    case DiagnosticKind::kModulesOverlap:
      return "two modules share memory"sv;
    case DiagnosticKind::kModuleOverBootData:
      return "a module lies over start_info or what it points at"sv;
    case DiagnosticKind::kStringUnreadable:
      return "a text lies where no memory is; it is taken for empty"sv;
    case DiagnosticKind::kStringUnterminated:
      return "a text has no end within 64 KiB of readable memory; it is taken for empty"sv;
    case DiagnosticKind::kStringStorageTooSmall:
      return "a text above what is mapped does not fit Storage::strings; it is taken for empty"sv;
    case DiagnosticKind::kModuleStringNotInRam:
      return "a module's text is neither in RAM nor near start_info; it is taken for empty"sv;
    case DiagnosticKind::kRsdpBad:
      return "ACPI's root pointer is wrong; it was searched instead"sv;
    case DiagnosticKind::kRsdpMissing:
      return "ACPI's root pointer was neither passed nor found"sv;
    case DiagnosticKind::kAcpiTableBad:
      return "an ACPI table is wrong; it is left out"sv;
    case DiagnosticKind::kReservationOutsideSpace:
      return "something in use passes the end of the address space; cut off there"sv;
  }
  return "unknown"sv;
}

}  // namespace pvh::guest
