// SPDX-License-Identifier: BSD-2-Clause
#define ZLIB_CONST
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <memory>

#include <pvh/base/try.hpp>

#include "unpack.hpp"

namespace pvh::loader {
namespace {

constexpr std::size_t kChunk = std::numeric_limits<uInt>::max();
constexpr int kGzipOnly = 16 + MAX_WBITS;

struct Closer {
  void operator()(z_stream* stream) const { ::inflateEnd(stream); }
};

// The member at `used`; answers where it ends.
Used unpack_member(base::Bytes packed, std::size_t used, Buffer& out) {
  z_stream stream{};
  if (::inflateInit2(&stream, kGzipOnly) != Z_OK) {
    return corrupt("zlib has no memory", 0);
  }
  const std::unique_ptr<z_stream, Closer> closer(&stream);
  for (;;) {
    const auto room = out.room();
    if (!room) {
      return no_room(out, room.error());
    }
    const auto in_size = static_cast<uInt>(std::min(packed.size() - used, kChunk));
    const auto out_size = static_cast<uInt>(std::min(room->size(), kChunk));
    stream.next_in = reinterpret_cast<const Bytef*>(packed.data() + used);
    stream.avail_in = in_size;
    stream.next_out = reinterpret_cast<Bytef*>(room->data());
    stream.avail_out = out_size;
    const int status = ::inflate(&stream, Z_NO_FLUSH);
    used += in_size - stream.avail_in;
    out.commit(out_size - stream.avail_out);
    if (status == Z_STREAM_END) {
      return used;
    }
    // Z_BUF_ERROR is "no progress": there was room, so it wants input that does not exist.
    if (status == Z_BUF_ERROR) {
      return cut_short(used);
    }
    if (status != Z_OK) {
      return corrupt(stream.msg != nullptr ? stream.msg : "not valid", used);
    }
  }
}

}  // namespace

Used unpack_gzip(base::Bytes packed, Buffer& out) {
  std::size_t used = 0;
  do {
    used = TRY(unpack_member(packed, used, out));
  } while (starts_with(packed.subspan(used), kGzipMagic));
  return used;
}

}  // namespace pvh::loader
