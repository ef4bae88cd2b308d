// SPDX-License-Identifier: BSD-2-Clause
// The parts of the ELF format that a kernel image needs, in the gABI's spelling. (Do not include
// <elf.h> beside this header: its names are macros.) Source: System V gABI, chapters 4 and 5; psABI
// x86-64.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

inline constexpr std::array<std::uint8_t, 4> kElfMagic{0x7f, 'E', 'L', 'F'};

// Indices into e_ident, and their values.
inline constexpr std::size_t EI_CLASS = 4;
inline constexpr std::size_t EI_DATA = 5;
inline constexpr std::size_t EI_VERSION = 6;
inline constexpr std::size_t EI_OSABI = 7;
inline constexpr std::size_t EI_NIDENT = 16;
inline constexpr std::uint8_t ELFCLASS32 = 1;
inline constexpr std::uint8_t ELFCLASS64 = 2;
inline constexpr std::uint8_t ELFDATA2LSB = 1;
inline constexpr std::uint8_t EV_CURRENT = 1;

inline constexpr std::uint16_t ET_REL = 1;
inline constexpr std::uint16_t ET_EXEC = 2;
inline constexpr std::uint16_t ET_DYN = 3;
inline constexpr std::uint16_t ET_CORE = 4;

inline constexpr std::uint16_t EM_386 = 3;
inline constexpr std::uint16_t EM_X86_64 = 62;

inline constexpr std::uint32_t PT_NULL = 0;
inline constexpr std::uint32_t PT_LOAD = 1;
inline constexpr std::uint32_t PT_DYNAMIC = 2;
inline constexpr std::uint32_t PT_INTERP = 3;
inline constexpr std::uint32_t PT_NOTE = 4;

inline constexpr std::uint32_t PF_X = 1;
inline constexpr std::uint32_t PF_W = 2;
inline constexpr std::uint32_t PF_R = 4;

inline constexpr std::uint16_t PN_XNUM = 0xffff;
inline constexpr std::uint32_t SHT_NOTE = 7;

struct Elf32_Ehdr {
  std::array<std::uint8_t, EI_NIDENT> e_ident;
  base::Le16 e_type;
  base::Le16 e_machine;
  base::Le32 e_version;
  base::Le32 e_entry;
  base::Le32 e_phoff;
  base::Le32 e_shoff;
  base::Le32 e_flags;
  base::Le16 e_ehsize;
  base::Le16 e_phentsize;
  base::Le16 e_phnum;
  base::Le16 e_shentsize;
  base::Le16 e_shnum;
  base::Le16 e_shstrndx;
};

struct Elf64_Ehdr {
  std::array<std::uint8_t, EI_NIDENT> e_ident;
  base::Le16 e_type;
  base::Le16 e_machine;
  base::Le32 e_version;
  base::Le64 e_entry;
  base::Le64 e_phoff;
  base::Le64 e_shoff;
  base::Le32 e_flags;
  base::Le16 e_ehsize;
  base::Le16 e_phentsize;
  base::Le16 e_phnum;
  base::Le16 e_shentsize;
  base::Le16 e_shnum;
  base::Le16 e_shstrndx;
};

struct Elf32_Phdr {
  base::Le32 p_type;
  base::Le32 p_offset;
  base::Le32 p_vaddr;
  base::Le32 p_paddr;
  base::Le32 p_filesz;
  base::Le32 p_memsz;
  base::Le32 p_flags;
  base::Le32 p_align;
};

struct Elf64_Phdr {
  base::Le32 p_type;
  base::Le32 p_flags;
  base::Le64 p_offset;
  base::Le64 p_vaddr;
  base::Le64 p_paddr;
  base::Le64 p_filesz;
  base::Le64 p_memsz;
  base::Le64 p_align;
};

struct Elf32_Shdr {
  base::Le32 sh_name;
  base::Le32 sh_type;
  base::Le32 sh_flags;
  base::Le32 sh_addr;
  base::Le32 sh_offset;
  base::Le32 sh_size;
  base::Le32 sh_link;
  base::Le32 sh_info;
  base::Le32 sh_addralign;
  base::Le32 sh_entsize;
};

struct Elf64_Shdr {
  base::Le32 sh_name;
  base::Le32 sh_type;
  base::Le64 sh_flags;
  base::Le64 sh_addr;
  base::Le64 sh_offset;
  base::Le64 sh_size;
  base::Le32 sh_link;
  base::Le32 sh_info;
  base::Le64 sh_addralign;
  base::Le64 sh_entsize;
};

// The same for both classes. The name and the descriptor follow, each padded to the segment's note
// alignment.
struct Elf_Nhdr {
  base::Le32 n_namesz;
  base::Le32 n_descsz;
  base::Le32 n_type;
};

static_assert(sizeof(Elf32_Ehdr) == 52);
static_assert(offsetof(Elf32_Ehdr, e_type) == 16);
static_assert(offsetof(Elf32_Ehdr, e_machine) == 18);
static_assert(offsetof(Elf32_Ehdr, e_version) == 20);
static_assert(offsetof(Elf32_Ehdr, e_entry) == 24);
static_assert(offsetof(Elf32_Ehdr, e_phoff) == 28);
static_assert(offsetof(Elf32_Ehdr, e_shoff) == 32);
static_assert(offsetof(Elf32_Ehdr, e_flags) == 36);
static_assert(offsetof(Elf32_Ehdr, e_ehsize) == 40);
static_assert(offsetof(Elf32_Ehdr, e_phentsize) == 42);
static_assert(offsetof(Elf32_Ehdr, e_phnum) == 44);
static_assert(offsetof(Elf32_Ehdr, e_shentsize) == 46);
static_assert(offsetof(Elf32_Ehdr, e_shnum) == 48);
static_assert(offsetof(Elf32_Ehdr, e_shstrndx) == 50);
static_assert(std::has_unique_object_representations_v<Elf32_Ehdr>);

static_assert(sizeof(Elf64_Ehdr) == 64);
static_assert(offsetof(Elf64_Ehdr, e_type) == 16);
static_assert(offsetof(Elf64_Ehdr, e_machine) == 18);
static_assert(offsetof(Elf64_Ehdr, e_version) == 20);
static_assert(offsetof(Elf64_Ehdr, e_entry) == 24);
static_assert(offsetof(Elf64_Ehdr, e_phoff) == 32);
static_assert(offsetof(Elf64_Ehdr, e_shoff) == 40);
static_assert(offsetof(Elf64_Ehdr, e_flags) == 48);
static_assert(offsetof(Elf64_Ehdr, e_ehsize) == 52);
static_assert(offsetof(Elf64_Ehdr, e_phentsize) == 54);
static_assert(offsetof(Elf64_Ehdr, e_phnum) == 56);
static_assert(offsetof(Elf64_Ehdr, e_shentsize) == 58);
static_assert(offsetof(Elf64_Ehdr, e_shnum) == 60);
static_assert(offsetof(Elf64_Ehdr, e_shstrndx) == 62);
static_assert(std::has_unique_object_representations_v<Elf64_Ehdr>);

static_assert(sizeof(Elf32_Phdr) == 32);
static_assert(offsetof(Elf32_Phdr, p_type) == 0);
static_assert(offsetof(Elf32_Phdr, p_offset) == 4);
static_assert(offsetof(Elf32_Phdr, p_vaddr) == 8);
static_assert(offsetof(Elf32_Phdr, p_paddr) == 12);
static_assert(offsetof(Elf32_Phdr, p_filesz) == 16);
static_assert(offsetof(Elf32_Phdr, p_memsz) == 20);
static_assert(offsetof(Elf32_Phdr, p_flags) == 24);
static_assert(offsetof(Elf32_Phdr, p_align) == 28);
static_assert(std::has_unique_object_representations_v<Elf32_Phdr>);

static_assert(sizeof(Elf64_Phdr) == 56);
static_assert(offsetof(Elf64_Phdr, p_type) == 0);
static_assert(offsetof(Elf64_Phdr, p_flags) == 4);
static_assert(offsetof(Elf64_Phdr, p_offset) == 8);
static_assert(offsetof(Elf64_Phdr, p_vaddr) == 16);
static_assert(offsetof(Elf64_Phdr, p_paddr) == 24);
static_assert(offsetof(Elf64_Phdr, p_filesz) == 32);
static_assert(offsetof(Elf64_Phdr, p_memsz) == 40);
static_assert(offsetof(Elf64_Phdr, p_align) == 48);
static_assert(std::has_unique_object_representations_v<Elf64_Phdr>);

static_assert(sizeof(Elf32_Shdr) == 40);
static_assert(offsetof(Elf32_Shdr, sh_name) == 0);
static_assert(offsetof(Elf32_Shdr, sh_type) == 4);
static_assert(offsetof(Elf32_Shdr, sh_flags) == 8);
static_assert(offsetof(Elf32_Shdr, sh_addr) == 12);
static_assert(offsetof(Elf32_Shdr, sh_offset) == 16);
static_assert(offsetof(Elf32_Shdr, sh_size) == 20);
static_assert(offsetof(Elf32_Shdr, sh_link) == 24);
static_assert(offsetof(Elf32_Shdr, sh_info) == 28);
static_assert(offsetof(Elf32_Shdr, sh_addralign) == 32);
static_assert(offsetof(Elf32_Shdr, sh_entsize) == 36);
static_assert(std::has_unique_object_representations_v<Elf32_Shdr>);

static_assert(sizeof(Elf64_Shdr) == 64);
static_assert(offsetof(Elf64_Shdr, sh_name) == 0);
static_assert(offsetof(Elf64_Shdr, sh_type) == 4);
static_assert(offsetof(Elf64_Shdr, sh_flags) == 8);
static_assert(offsetof(Elf64_Shdr, sh_addr) == 16);
static_assert(offsetof(Elf64_Shdr, sh_offset) == 24);
static_assert(offsetof(Elf64_Shdr, sh_size) == 32);
static_assert(offsetof(Elf64_Shdr, sh_link) == 40);
static_assert(offsetof(Elf64_Shdr, sh_info) == 44);
static_assert(offsetof(Elf64_Shdr, sh_addralign) == 48);
static_assert(offsetof(Elf64_Shdr, sh_entsize) == 56);
static_assert(std::has_unique_object_representations_v<Elf64_Shdr>);

static_assert(sizeof(Elf_Nhdr) == 12);
static_assert(offsetof(Elf_Nhdr, n_namesz) == 0);
static_assert(offsetof(Elf_Nhdr, n_descsz) == 4);
static_assert(offsetof(Elf_Nhdr, n_type) == 8);
static_assert(std::has_unique_object_representations_v<Elf_Nhdr>);

}  // namespace pvh::abi
