// SPDX-License-Identifier: BSD-2-Clause
// As much of ACPI's machine language as names, devices and their resources need. A term is its
// bytes; composing terms is concatenation, and a package knows its length.
// Source: ACPI 6.5, chapter 20 (AML) and 6.4 (resources).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include <pvh/base/address.hpp>

namespace pvh::vmm::aml {

using Term = std::vector<std::byte>;

// Four characters: letters, digits, '_'; shorter names are padded with '_'.
class NameSegment {
 public:
  // A name in the program's text; a bad one does not compile.
  template <std::size_t kSize>
  consteval NameSegment(const char (&text)[kSize])  // NOLINT(google-explicit-constructor)
      : text_{'_', '_', '_', '_'} {
    static_assert(kSize >= 2 && kSize <= 5, "one to four characters");
    for (std::size_t i = 0; i + 1 < kSize; ++i) {
      const char c = text[i];
      const bool digit = c >= '0' && c <= '9' && i != 0;
      const bool letter = (c >= 'A' && c <= 'Z') || c == '_';
      if (!digit && !letter) {
        throw "not an ACPI name";
      }
      text_[i] = c;
    }
  }
  // `letter` and three hexadecimal digits: C000 to CFFF, V000 to VFFF.
  [[nodiscard]] static NameSegment numbered(char letter, unsigned number);

  [[nodiscard]] const std::array<char, 4>& text() const { return text_; }

 private:
  explicit NameSegment(std::array<char, 4> text) : text_(text) {}

  std::array<char, 4> text_;
};

[[nodiscard]] Term integer(std::uint64_t value);
[[nodiscard]] Term string(std::string_view value);
// Three letters and four hexadecimal digits, packed as EISA did: "PNP0501".
[[nodiscard]] Term eisa_id(std::string_view id);

[[nodiscard]] Term name(NameSegment name, const Term& value);
// At most 255 elements.
[[nodiscard]] Term package(std::initializer_list<Term> elements);
[[nodiscard]] Term device(NameSegment name, std::initializer_list<Term> terms);
// A control method; `arguments` are at most 7.
[[nodiscard]] Term method(NameSegment name, unsigned arguments, std::initializer_list<Term> terms);
[[nodiscard]] Term notify(NameSegment object, std::uint8_t value);
[[nodiscard]] Term scope(NameSegment name, const std::vector<Term>& terms);

// Resources, and the buffer that a _CRS has of them.
[[nodiscard]] Term io_ports(std::uint16_t first, std::uint8_t count);
// Edge-triggered, active high, not shared: an ISA interrupt.
[[nodiscard]] Term edge_interrupt(std::uint32_t gsi);
// Below 4 GiB; readable and writable.
[[nodiscard]] Term memory(base::Range range);
[[nodiscard]] Term resources(std::initializer_list<Term> descriptors);

}  // namespace pvh::vmm::aml
