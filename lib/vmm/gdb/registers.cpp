// SPDX-License-Identifier: BSD-2-Clause
#include "registers.hpp"

#include <fmt/format.h>

namespace pvh::vmm::gdb {
namespace {

// Names that gdb knows have a meaning to it, and it checks that such a feature is complete. The
// last is ours, and shown as it is.
std::string_view name_of(Feature feature) {
  switch (feature) {
    case Feature::kCore:
      return "org.gnu.gdb.i386.core";
    case Feature::kSse:
      return "org.gnu.gdb.i386.sse";
    case Feature::kSegments:
      return "org.gnu.gdb.i386.segments";
    case Feature::kControl:
      return "pvh.x86.control";
  }
  return "";
}

std::string flags_type(std::string_view name, std::initializer_list<std::string_view> bits) {
  std::string text = fmt::format("<flags id=\"{}\" size=\"4\">", name);
  unsigned bit = 0;
  for (const std::string_view flag : bits) {
    if (!flag.empty()) {
      fmt::format_to(std::back_inserter(text), R"(<field name="{0}" start="{1}" end="{1}"/>)", flag,
                     bit);
    }
    ++bit;
  }
  return text + "</flags>\n";
}

std::string types_of(Feature feature) {
  if (feature == Feature::kCore) {
    return flags_type("i386_eflags",
                      {"CF", "", "PF", "",   "AF", "",   "ZF", "SF", "TF",  "IF",  "DF",
                       "OF", "", "",   "NT", "",   "RF", "VM", "AC", "VIF", "VIP", "ID"});
  }
  if (feature == Feature::kSse) {
    return "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>\n"
           "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>\n"
           "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>\n"
           "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>\n"
           "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>\n"
           "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>\n"
           "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
           "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
           "<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
           "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/>"
           "</union>\n" +
           flags_type("i386_mxcsr", {"IE", "DE", "ZE", "OE", "UE", "PE", "DAZ", "IM", "DM", "ZM",
                                     "OM", "UM", "PM", "", "", "FZ"});
  }
  return "";
}

}  // namespace

std::string target_description() {
  // No operating system: gdb's knowledge of Linux is about its processes, not about its kernel.
  std::string text =
      "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target>\n"
      "<architecture>i386:x86-64</architecture>\n<osabi>none</osabi>\n";
  const Register* before = nullptr;
  for (const Register& one : kRegisters) {
    if (before == nullptr || before->feature != one.feature) {
      fmt::format_to(std::back_inserter(text), "{}<feature name=\"{}\">\n{}",
                     before == nullptr ? "" : "</feature>\n", name_of(one.feature),
                     types_of(one.feature));
    }
    fmt::format_to(std::back_inserter(text), "<reg name=\"{}\" bitsize=\"{}\" type=\"{}\"/>\n",
                   one.name, one.bytes * 8, one.type);
    before = &one;
  }
  return text + "</feature>\n</target>\n";
}

}  // namespace pvh::vmm::gdb
