// SPDX-License-Identifier: BSD-2-Clause
#include <zstd.h>
#include <zstd_errors.h>

#include <memory>

#include <pvh/base/try.hpp>

#include "unpack.hpp"

namespace pvh::loader {
namespace {

struct Freer {
  void operator()(ZSTD_DCtx* context) const { ::ZSTD_freeDCtx(context); }
};

// The frame at `used`; answers where it ends. libzstd refuses windows above 128 MiB by itself.
Used unpack_frame(ZSTD_DCtx* context, base::Bytes packed, std::size_t used, Buffer& out) {
  ::ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
  for (;;) {
    const auto room = out.room();
    if (!room) {
      return no_room(out, room.error());
    }
    ZSTD_inBuffer input{packed.data() + used, packed.size() - used, 0};
    ZSTD_outBuffer output{room->data(), room->size(), 0};
    const std::size_t status = ::ZSTD_decompressStream(context, &output, &input);
    if (::ZSTD_isError(status) != 0) {
      const char* const why = ::ZSTD_getErrorName(status);
      switch (::ZSTD_getErrorCode(status)) {
        case ZSTD_error_frameParameter_windowTooLarge:
        case ZSTD_error_frameParameter_unsupported:
        case ZSTD_error_version_unsupported:
        case ZSTD_error_memory_allocation:
        case ZSTD_error_dictionary_wrong:
          return unsupported(why, used);
        default:
          return corrupt(why, used);
      }
    }
    used += input.pos;
    out.commit(output.pos);
    if (status == 0) {
      return used;
    }
    // There was room; without progress it wants input that does not exist.
    if (input.pos == 0 && output.pos == 0) {
      return cut_short(used);
    }
  }
}

}  // namespace

Used unpack_zstd(base::Bytes packed, Buffer& out) {
  const std::unique_ptr<ZSTD_DCtx, Freer> context(::ZSTD_createDCtx());
  if (context == nullptr) {
    return unsupported("libzstd has no memory", 0);
  }
  std::size_t used = 0;
  do {
    used = TRY(unpack_frame(context.get(), packed, used, out));
  } while (starts_with(packed.subspan(used), kZstdMagic));
  return used;
}

}  // namespace pvh::loader
