// SPDX-License-Identifier: BSD-2-Clause
#include "aml.hpp"

#include <cassert>

#include <pvh/base/bytes.hpp>
#include <pvh/base/checked.hpp>

namespace pvh::vmm::aml {
namespace {

constexpr std::uint8_t kZeroOp = 0x00;
constexpr std::uint8_t kOneOp = 0x01;
constexpr std::uint8_t kNameOp = 0x08;
constexpr std::uint8_t kBytePrefix = 0x0a;
constexpr std::uint8_t kWordPrefix = 0x0b;
constexpr std::uint8_t kDWordPrefix = 0x0c;
constexpr std::uint8_t kStringPrefix = 0x0d;
constexpr std::uint8_t kQWordPrefix = 0x0e;
constexpr std::uint8_t kScopeOp = 0x10;
constexpr std::uint8_t kBufferOp = 0x11;
constexpr std::uint8_t kPackageOp = 0x12;
constexpr std::uint8_t kMethodOp = 0x14;
constexpr std::uint8_t kNotifyOp = 0x86;
constexpr std::uint8_t kExtendedPrefix = 0x5b;
constexpr std::uint8_t kDeviceOp = 0x82;

constexpr std::uint8_t kIoDescriptor = 0x47;
constexpr std::uint8_t kDecode16 = 1;
constexpr std::uint8_t kInterruptDescriptor = 0x89;
constexpr std::uint8_t kMemory32FixedDescriptor = 0x86;  // 6.4.3.4
constexpr std::uint8_t kReadWrite = 1;
constexpr std::uint8_t kInterruptConsumer = 1u << 0;
constexpr std::uint8_t kInterruptEdge = 1u << 1;
constexpr std::uint8_t kEndTag = 0x79;

void put_bytes(Term& to, std::uint64_t value, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    to.push_back(static_cast<std::byte>(value >> (8 * i) & 0xff));
  }
}

void put(Term& to, const Term& term) {
  to.insert(to.end(), term.begin(), term.end());
}

void put(Term& to, NameSegment name) {
  for (const char c : name.text()) {
    to.push_back(static_cast<std::byte>(c));
  }
}

// PkgLength counts itself: one byte for up to 63, or one that holds four bits and says how many
// more follow.
void put_package_length(Term& to, std::size_t content) {
  constexpr std::size_t kShort = 1u << 6;
  if (content + 1 < kShort) {
    put_bytes(to, content + 1, 1);
    return;
  }
  unsigned more = 1;
  while (content + 1 + more >= std::size_t{1} << (4 + 8 * more)) {
    ++more;
  }
  assert(more <= 3);
  const std::size_t length = content + 1 + more;
  put_bytes(to, more << 6 | (length & 0xf), 1);
  put_bytes(to, length >> 4, more);
}

Term packed(std::initializer_list<std::uint8_t> opcode, const Term& content) {
  Term term;
  for (const std::uint8_t byte : opcode) {
    put_bytes(term, byte, 1);
  }
  put_package_length(term, content.size());
  put(term, content);
  return term;
}

unsigned hex_digit(char c) {
  return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'A' + 10) & 0xf;
}

}  // namespace

NameSegment NameSegment::numbered(char letter, unsigned number) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  assert(number < 0x1000);
  return NameSegment(std::array<char, 4>{letter, kDigits[number >> 8 & 0xf],
                                         kDigits[number >> 4 & 0xf], kDigits[number & 0xf]});
}

Term integer(std::uint64_t value) {
  Term term;
  if (value <= 1) {
    put_bytes(term, value == 0 ? kZeroOp : kOneOp, 1);
  } else if (value <= UINT8_MAX) {
    put_bytes(term, kBytePrefix, 1);
    put_bytes(term, value, 1);
  } else if (value <= UINT16_MAX) {
    put_bytes(term, kWordPrefix, 1);
    put_bytes(term, value, 2);
  } else if (value <= UINT32_MAX) {
    put_bytes(term, kDWordPrefix, 1);
    put_bytes(term, value, 4);
  } else {
    put_bytes(term, kQWordPrefix, 1);
    put_bytes(term, value, 8);
  }
  return term;
}

Term string(std::string_view value) {
  Term term;
  put_bytes(term, kStringPrefix, 1);
  for (const char c : value) {
    term.push_back(static_cast<std::byte>(c));
  }
  put_bytes(term, 0, 1);
  return term;
}

Term eisa_id(std::string_view id) {
  assert(id.size() == 7);
  const auto letter = [&id](std::size_t i) {
    return static_cast<unsigned>(id[i] - 'A' + 1) & 0x1f;
  };
  const unsigned maker = letter(0) << 10 | letter(1) << 5 | letter(2);
  unsigned product = 0;
  for (const char c : id.substr(3)) {
    product = product << 4 | hex_digit(c);
  }
  // Big-endian words in a little-endian number. Always a DWord, even if a small one would do.
  Term term;
  put_bytes(term, kDWordPrefix, 1);
  for (const unsigned word : {maker, product}) {
    put_bytes(term, word >> 8, 1);
    put_bytes(term, word & 0xff, 1);
  }
  return term;
}

Term name(NameSegment name, const Term& value) {
  Term term;
  put_bytes(term, kNameOp, 1);
  put(term, name);
  put(term, value);
  return term;
}

Term package(std::initializer_list<Term> elements) {
  assert(elements.size() <= UINT8_MAX);
  Term content;
  put_bytes(content, elements.size(), 1);
  for (const Term& element : elements) {
    put(content, element);
  }
  return packed({kPackageOp}, content);
}

Term device(NameSegment name, std::initializer_list<Term> terms) {
  Term content;
  put(content, name);
  for (const Term& term : terms) {
    put(content, term);
  }
  return packed({kExtendedPrefix, kDeviceOp}, content);
}

Term method(NameSegment name, unsigned arguments, std::initializer_list<Term> terms) {
  assert(arguments <= 7);
  Term content;
  put(content, name);
  put_bytes(content, arguments, 1);  // not serialized
  for (const Term& term : terms) {
    put(content, term);
  }
  return packed({kMethodOp}, content);
}

Term notify(NameSegment object, std::uint8_t value) {
  Term term;
  put_bytes(term, kNotifyOp, 1);
  put(term, object);
  put(term, integer(value));
  return term;
}

Term scope(NameSegment name, const std::vector<Term>& terms) {
  Term content;
  put(content, name);
  for (const Term& term : terms) {
    put(content, term);
  }
  return packed({kScopeOp}, content);
}

Term io_ports(std::uint16_t first, std::uint8_t count) {
  Term term;
  put_bytes(term, kIoDescriptor, 1);
  put_bytes(term, kDecode16, 1);
  put_bytes(term, first, 2);  // lowest first port
  put_bytes(term, first, 2);  // highest first port
  put_bytes(term, 1, 1);      // alignment
  put_bytes(term, count, 1);
  return term;
}

Term edge_interrupt(std::uint32_t gsi) {
  Term term;
  put_bytes(term, kInterruptDescriptor, 1);
  put_bytes(term, 6, 2);  // bytes that follow
  put_bytes(term, kInterruptConsumer | kInterruptEdge, 1);
  put_bytes(term, 1, 1);  // one interrupt
  put_bytes(term, gsi, 4);
  return term;
}

Term memory(base::Range range) {
  assert(range.last() <= base::PhysAddr(UINT32_MAX));
  Term term;
  put_bytes(term, kMemory32FixedDescriptor, 1);
  put_bytes(term, 9, 2);  // bytes that follow
  put_bytes(term, kReadWrite, 1);
  put_bytes(term, range.first().value(), 4);
  put_bytes(term, range.size().value(), 4);
  return term;
}

Term resources(std::initializer_list<Term> descriptors) {
  Term list;
  for (const Term& descriptor : descriptors) {
    put(list, descriptor);
  }
  put_bytes(list, kEndTag, 1);
  put_bytes(list, 0, 1);  // a checksum of 0 is not checked
  Term content = integer(list.size());
  put(content, list);
  return packed({kBufferOp}, content);
}

}  // namespace pvh::vmm::aml
