// SPDX-License-Identifier: BSD-2-Clause
// `pvh inspect`: what a kernel file is.
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <pvh/abi/elf.hpp>
#include <pvh/loader/image.hpp>
#include <pvh/vmm/load.hpp>

#include "commands.hpp"
#include "exit_status.hpp"
#include "output.hpp"

namespace pvh::cli {
namespace {

struct InspectArguments {
  std::string kernel;
  bool json = false;
};

std::string machine_name(std::uint16_t machine) {
  switch (machine) {
    case abi::EM_X86_64:
      return "x86-64";
    case abi::EM_386:
      return "i386";
    default:
      return fmt::format("machine {}", machine);
  }
}

std::string permissions(std::uint32_t flags) {
  return fmt::format("{}{}{}", (flags & abi::PF_R) != 0 ? 'r' : '-',
                     (flags & abi::PF_W) != 0 ? 'w' : '-', (flags & abi::PF_X) != 0 ? 'x' : '-');
}

std::string format_line(const loader::Image& image) {
  std::string text =
      fmt::format("{}, {}, {}", to_string(image.elf_class), machine_name(image.machine),
                  image.relocatable ? "position-independent" : "fixed addresses");
  if (image.compression != loader::Compression::kNone) {
    text += fmt::format(", unpacked from {}", to_string(image.compression));
  }
  if (image.container == loader::Container::kBzImage) {
    text += " in a bzImage";
  }
  return text;
}

std::string note_source(const loader::Note& note) {
  return fmt::format("{} {}",
                     note.source == loader::NoteSource::kProgramHeader ? "PT_NOTE" : "SHT_NOTE",
                     note.index);
}

std::string modules_line(const loader::Image& image) {
  if (!image.pvh_entry) {
    return "none: it has no PVH entry";
  }
  return loader::first_module_is_metadata(image)
             ? fmt::format("{} takes the first for its loader's metadata: pass none",
                           image.guest_os)
             : "any number, each with a command line";
}

std::string as_text(const std::string& path, const loader::Image& image) {
  std::string text;
  const auto line = [&text](std::string_view name, const std::string& value) {
    fmt::format_to(std::back_inserter(text), "{:<10}{}\n", name, printable(value));
  };
  line("file", path);
  line("format", format_line(image));
  line("elf size", fmt::format("{} bytes", image.elf.size()));
  line("entry", image.pvh_entry ? fmt::format("{:#x} by PVH (e_entry {:#x})",
                                              image.pvh_entry->value(), image.elf_entry)
                                : fmt::format("none by PVH (e_entry {:#x})", image.elf_entry));
  if (image.relocation) {
    line("movable", fmt::format("by {:#x} within {:#x}-{:#x}", image.relocation->alignment,
                                image.relocation->min.value(), image.relocation->max.value()));
  }
  if (!image.guest_os.empty()) {
    line("guest os", image.guest_os);
  }
  line("modules", modules_line(image));
  text += "\nsegments  header  physical              in file     in memory   offset      access\n";
  for (const loader::Segment& segment : image.segments) {
    fmt::format_to(std::back_inserter(text),
                   "          {:<6}  {:#018x}    {:#010x}  {:#010x}  {:#010x}  {}\n", segment.index,
                   segment.paddr.value(), segment.file_size, segment.memory_size.value(),
                   segment.offset, permissions(segment.flags));
  }
  text +=
      "\nnotes     where        offset      owner         type        value               "
      "verdict\n";
  for (const loader::Note& note : image.notes) {
    fmt::format_to(std::back_inserter(text),
                   "          {:<11}  {:#010x}  {:<12}  {:#010x}  {:<18}  {}\n", note_source(note),
                   note.offset, printable(note.owner), note.type,
                   note.value ? fmt::format("{:#x}", *note.value)
                              : fmt::format("{} bytes", note.descriptor_size),
                   to_string(note.verdict));
  }
  for (const loader::ImageFault& problem : image.problems) {
    fmt::format_to(std::back_inserter(text), "\nproblem   {}\n", printable(base::to_text(problem)));
  }
  return text;
}

nlohmann::json as_json(const std::string& path, const loader::Image& image) {
  auto segments = nlohmann::json::array();
  for (const loader::Segment& segment : image.segments) {
    segments.push_back({{"header", segment.index},
                        {"paddr", segment.paddr.value()},
                        {"vaddr", segment.vaddr},
                        {"file_size", segment.file_size},
                        {"memory_size", segment.memory_size.value()},
                        {"offset", segment.offset},
                        {"alignment", segment.alignment},
                        {"access", permissions(segment.flags)}});
  }
  auto notes = nlohmann::json::array();
  for (const loader::Note& note : image.notes) {
    notes.push_back({{"where", note_source(note)},
                     {"offset", note.offset},
                     {"owner", ascii(note.owner)},
                     {"type", note.type},
                     {"descriptor_size", note.descriptor_size},
                     {"padding", note.padding},
                     {"verdict", to_string(note.verdict)}});
    if (note.value) {
      notes.back()["value"] = *note.value;
    }
  }
  auto problems = nlohmann::json::array();
  for (const loader::ImageFault& problem : image.problems) {
    problems.push_back(ascii(base::to_text(problem)));
  }
  nlohmann::json json = {{"version", 1},
                         {"file", ascii(path)},
                         {"container", to_string(image.container)},
                         {"compression", to_string(image.compression)},
                         {"class", to_string(image.elf_class)},
                         {"machine", machine_name(image.machine)},
                         {"position_independent", image.relocatable},
                         {"elf_size", image.elf.size()},
                         {"elf_entry", image.elf_entry},
                         {"guest_os", ascii(image.guest_os)},
                         {"first_module_is_metadata", loader::first_module_is_metadata(image)},
                         {"pvh_entry", nullptr},
                         {"relocation", nullptr},
                         {"segments", segments},
                         {"notes", notes},
                         {"problems", problems}};
  if (image.pvh_entry) {
    json["pvh_entry"] = image.pvh_entry->value();
  }
  if (image.relocation) {
    json["relocation"] = {{"alignment", image.relocation->alignment},
                          {"min", image.relocation->min.value()},
                          {"max", image.relocation->max.value()}};
  }
  return json;
}

// 0 when it could be planned, kMalformed when it has problems: a script can ask.
int inspect(const InspectArguments& arguments) {
  const auto loaded = vmm::load_image(arguments.kernel);
  if (!loaded) {
    return fail(loaded.error());
  }
  const loader::Image& image = loaded->image;
  const int printed = print(arguments.json ? as_json(arguments.kernel, image).dump(2) + "\n"
                                           : as_text(arguments.kernel, image));
  return printed != kOk || image.problems.empty() ? printed : kMalformed;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto* const command =
      app.add_subcommand("inspect", "what a kernel file is: format, segments, notes, entry");
  const auto arguments = std::make_shared<InspectArguments>();
  command->add_option("KERNEL", arguments->kernel, "ELF, bzImage, or either compressed")
      ->required();
  command->add_flag("--json", arguments->json, "print JSON");
  command->callback([arguments, &action] { action = [arguments] { return inspect(*arguments); }; });
}

}  // namespace pvh::cli
