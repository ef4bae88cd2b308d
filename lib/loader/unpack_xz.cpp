// SPDX-License-Identifier: BSD-2-Clause
// xz, with the x86 filter that Linux applies to its kernels, and its predecessor, .lzma.
#include <lzma.h>

#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <pvh/base/try.hpp>

#include "unpack.hpp"

namespace pvh::loader {
namespace {

// The decoder sets its dictionary aside at once, as large as the header says. Linux uses up to
// 128 MiB, `xz -9` 64 MiB.
constexpr std::uint64_t kMemoryLimit = std::uint64_t{256} << 20;

struct Closer {
  void operator()(lzma_stream* stream) const { ::lzma_end(stream); }
};

Used run(lzma_stream& stream, base::Bytes packed, std::size_t used, Buffer& out) {
  for (;;) {
    const auto room = out.room();
    if (!room) {
      return no_room(out, room.error());
    }
    const std::size_t in_size = packed.size() - used;
    stream.next_in = reinterpret_cast<const std::uint8_t*>(packed.data() + used);
    stream.avail_in = in_size;
    stream.next_out = reinterpret_cast<std::uint8_t*>(room->data());
    stream.avail_out = room->size();
    // LZMA_BUF_ERROR comes at the second call without progress, so at most one call is idle.
    const lzma_ret status = ::lzma_code(&stream, LZMA_RUN);
    used += in_size - stream.avail_in;
    out.commit(room->size() - stream.avail_out);
    switch (status) {
      case LZMA_OK:
        break;
      case LZMA_STREAM_END:
        return used;
      case LZMA_BUF_ERROR:
        return cut_short(used);
      case LZMA_MEMLIMIT_ERROR:
        return unsupported(fmt::format("it needs {} MiB to unpack, more than {}",
                                       ::lzma_memusage(&stream) >> 20, kMemoryLimit >> 20),
                           used);
      case LZMA_OPTIONS_ERROR:
        return unsupported("options or a filter that liblzma does not know", used);
      case LZMA_MEM_ERROR:
        return unsupported("liblzma has no memory", used);
      default:
        return corrupt("not valid", used);
    }
  }
}

}  // namespace

Used unpack_lzma(base::Bytes packed, Buffer& out) {
  lzma_stream stream = LZMA_STREAM_INIT;
  const std::unique_ptr<lzma_stream, Closer> closer(&stream);
  if (::lzma_alone_decoder(&stream, kMemoryLimit) != LZMA_OK) {
    return unsupported("liblzma has no memory", 0);
  }
  return run(stream, packed, 0, out);
}

Used unpack_xz(base::Bytes packed, Buffer& out) {
  std::size_t used = 0;
  do {
    lzma_stream stream = LZMA_STREAM_INIT;
    const std::unique_ptr<lzma_stream, Closer> closer(&stream);
    if (::lzma_stream_decoder(&stream, kMemoryLimit, 0) != LZMA_OK) {
      return unsupported("liblzma has no memory", used);
    }
    used = TRY(run(stream, packed, used, out));
    // Between streams and after the last there may be padding, four zeroes at a time. (liblzma's
    // own concatenation would stumble over the length that the Linux build appends.)
    while (starts_with(packed.subspan(used), std::string_view("\0\0\0\0", 4))) {
      used += 4;
    }
  } while (starts_with(packed.subspan(used), kXzMagic));
  return used;
}

}  // namespace pvh::loader
