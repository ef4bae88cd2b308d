// SPDX-License-Identifier: BSD-2-Clause
#include <bzlib.h>

#include <algorithm>
#include <limits>
#include <memory>

#include <pvh/base/try.hpp>

#include "unpack.hpp"

namespace pvh::loader {
namespace {

constexpr std::size_t kChunk = std::numeric_limits<unsigned>::max();

struct Closer {
  void operator()(bz_stream* stream) const { ::BZ2_bzDecompressEnd(stream); }
};

// The stream at `used`; answers where it ends.
Used unpack_stream(base::Bytes packed, std::size_t used, Buffer& out) {
  bz_stream stream{};
  if (::BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK) {
    return corrupt("libbz2 has no memory", used);
  }
  const std::unique_ptr<bz_stream, Closer> closer(&stream);
  for (;;) {
    const auto room = out.room();
    if (!room) {
      return no_room(out, room.error());
    }
    const auto in_size = static_cast<unsigned>(std::min(packed.size() - used, kChunk));
    const auto out_size = static_cast<unsigned>(std::min(room->size(), kChunk));
    // libbz2 predates const; it does not write there.
    stream.next_in = const_cast<char*>(reinterpret_cast<const char*>(packed.data() + used));
    stream.avail_in = in_size;
    stream.next_out = reinterpret_cast<char*>(room->data());
    stream.avail_out = out_size;
    const int status = ::BZ2_bzDecompress(&stream);
    const unsigned eaten = in_size - stream.avail_in;
    const unsigned made = out_size - stream.avail_out;
    used += eaten;
    out.commit(made);
    if (status == BZ_STREAM_END) {
      return used;
    }
    if (status != BZ_OK) {
      return corrupt(status == BZ_MEM_ERROR ? "libbz2 has no memory" : "not valid", used);
    }
    // There was room; without progress it wants input that does not exist.
    if (eaten == 0 && made == 0) {
      return cut_short(used);
    }
  }
}

}  // namespace

Used unpack_bzip2(base::Bytes packed, Buffer& out) {
  std::size_t used = 0;
  do {
    used = TRY(unpack_stream(packed, used, out));
  } while (starts_with(packed.subspan(used), kBzip2Magic));
  return used;
}

}  // namespace pvh::loader
