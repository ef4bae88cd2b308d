// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>
#include <numeric>

#include <fmt/format.h>
#include <pvh/abi/virtio.hpp>
#include <pvh/base/checked.hpp>
#include <pvh/devices/virtio/blk.hpp>

namespace pvh::devices::virtio {
namespace {

using namespace abi;  // NOLINT(google-build-using-namespace): the specification's names, here only

constexpr std::uint64_t kSector = kVirtioBlkSectorSize;

// One operation, so that a reset, which must wait for what is under way, does not wait for long.
constexpr std::uint64_t kMostAtOnce = std::uint64_t{4} << 20;
// Zeros are written from one buffer, again and again.
constexpr std::size_t kZeros = std::size_t{64} << 10;
constexpr std::size_t kMostZerosAtOnce = 16;

// One DISCARD or WRITE_ZEROES request.
constexpr std::uint32_t kMostRanges = 16;
constexpr std::uint32_t kMostRangeSectors = std::uint32_t{1} << 21;  // 1 GiB
constexpr std::uint32_t kDiscardAlignment = 8;  // sectors: what file systems give back are blocks

// A header and a status go with the data.
constexpr std::uint32_t kMostSegments = Blk::kRequests - 2;

constexpr const char* kCannotRead = "cannot be read";
constexpr const char* kCannotWrite = "cannot be written";
constexpr const char* kCannotFlush = "cannot be flushed";

bool is_unsupported(int error) {
  // EINVAL: a block device whose blocks are larger than the piece.
  return error == EOPNOTSUPP || error == ENOSYS || error == ENODEV || error == EINVAL;
}

}  // namespace

std::unique_ptr<Blk> Blk::create(Parts parts) {
  std::unique_ptr<Blk> blk(new Blk(std::move(parts)));
  if (blk->parts_.limits != RateLimits{}) {
    blk->limiter_ = RateLimiter::create({.loop = blk->parts_.loop,
                                         .limits = blk->parts_.limits,
                                         .ready = [self = blk.get()] { self->serve_queue(); },
                                         .clock = blk->parts_.clock});
    if (!blk->limiter_) {
      return nullptr;
    }
  }
  if (const std::uint32_t tail = blk->parts_.disk.tail(); tail != 0) {
    blk->parts_.complain(
        fmt::format("the guest does not see its last {} bytes, which are no whole sector", tail));
  }
  return blk;
}

Blk::Blk(Parts parts) : parts_(std::move(parts)), requests_(kRequests), free_(kRequests) {
  std::iota(free_.begin(), free_.end(), std::size_t{0});
  parts_.io->set_handler(
      [this](std::span<const AsyncIo::Completion> completions) { completed(completions); });
  config_.capacity = base::Le64(parts_.disk.size() / kSector);
  config_.seg_max = base::Le32(kMostSegments);
  config_.blk_size = base::Le32(parts_.disk.block_size());
  if (!parts_.disk.read_only()) {
    config_.max_discard_sectors = base::Le32(kMostRangeSectors);
    config_.max_discard_seg = base::Le32(kMostRanges);
    config_.discard_sector_alignment = base::Le32(kDiscardAlignment);
    config_.max_write_zeroes_sectors = base::Le32(kMostRangeSectors);
    config_.max_write_zeroes_seg = base::Le32(kMostRanges);
    config_.write_zeroes_may_unmap = 1;
  }
}

Blk::~Blk() {
  parts_.io->drain();
}

std::uint32_t Blk::id() const {
  return VIRTIO_ID_BLOCK;
}

std::uint64_t Blk::features() const {
  return VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH |
         (parts_.disk.read_only() ? VIRTIO_BLK_F_RO
                                  : VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES);
}

void Blk::read_config(std::uint64_t offset, base::MutableBytes data) const {
  read_config_bytes(std::as_bytes(std::span(&config_, 1)), offset, data);
}

void Blk::activate(Activation activation) {
  active_ = std::move(activation);
  write_through_ = (active_->features & VIRTIO_BLK_F_FLUSH) == 0 && !parts_.disk.is_snapshot();
}

void Blk::notify(std::size_t /*queue*/) {
  serve_queue();
}

void Blk::reset() {
  if (limiter_) {
    limiter_->cancel();
  }
  parts_.io->drain();
  free_.resize(kRequests);
  std::iota(free_.begin(), free_.end(), std::size_t{0});
  starved_ = false;
  active_.reset();
}

void Blk::serve_queue() {
  if (!active_) {
    return;
  }
  starved_ = false;
  if (serve(*active_, 0, chain_, [this](Chain& chain) { return take(chain); })) {
    parts_.io->submit();
  } else {
    reset();
  }
}

bool Blk::take(Chain& chain) {
  if (free_.empty()) {
    starved_ = true;
    return false;
  }
  const std::size_t slot = free_.back();
  Request& request = requests_[slot];
  const std::optional<Status> status = parse(chain, request);
  if (limiter_) {
    const bool moves = !status && !request.extents.empty() &&
                       (request.kind == Kind::kRead || request.kind == Kind::kWrite);
    if (!limiter_->take(moves ? request.extents[0].size : 0)) {
      return false;
    }
  }
  if (status) {
    push(chain, *status);
    return true;
  }
  std::swap(request.chain, chain);
  free_.pop_back();
  go_on(slot);
  return true;
}

std::optional<Blk::Status> Blk::parse(const Chain& chain, Request& request) const {
  std::array<std::byte, sizeof(virtio_blk_req)> bytes;
  if (copy_from(chain.readable, 0, bytes) != bytes.size() || chain.writable_bytes == 0) {
    return VIRTIO_BLK_S_IOERR;
  }
  const auto header = std::bit_cast<virtio_blk_req>(bytes);  // the one look at it
  request.sync = false;
  request.extents.clear();
  request.extent = 0;
  request.done = 0;
  const bool read_only = parts_.disk.read_only();
  const auto offered = [this](std::uint64_t feature) { return (active_->features & feature) != 0; };
  switch (header.type.get()) {
    case VIRTIO_BLK_T_IN:
      request.kind = Kind::kRead;
      return parse_transfer(request, header.sector.get(), chain.writable_bytes - 1);
    case VIRTIO_BLK_T_OUT:
      request.kind = Kind::kWrite;
      return read_only ? std::optional(VIRTIO_BLK_S_IOERR)
                       : parse_transfer(request, header.sector.get(),
                                        chain.readable_bytes - sizeof(header));
    case VIRTIO_BLK_T_FLUSH:
      if (read_only || parts_.disk.is_snapshot()) {
        return VIRTIO_BLK_S_OK;  // nothing is to be kept
      }
      request.kind = Kind::kWrite;
      request.sync = true;
      return std::nullopt;
    case VIRTIO_BLK_T_GET_ID:
      return give_id(chain);
    case VIRTIO_BLK_T_DISCARD:
      request.kind = Kind::kDiscard;
      return offered(VIRTIO_BLK_F_DISCARD) ? parse_ranges(chain, request) : VIRTIO_BLK_S_UNSUPP;
    case VIRTIO_BLK_T_WRITE_ZEROES:
      request.kind = Kind::kZero;
      return offered(VIRTIO_BLK_F_WRITE_ZEROES) ? parse_ranges(chain, request)
                                                : VIRTIO_BLK_S_UNSUPP;
    default:
      return VIRTIO_BLK_S_UNSUPP;
  }
}

bool Blk::is_inside(std::uint64_t sector, std::uint64_t sectors) const {
  const std::uint64_t capacity = parts_.disk.size() / kSector;
  return sector <= capacity && sectors <= capacity - sector;
}

std::optional<Blk::Status> Blk::parse_transfer(Request& request, std::uint64_t sector,
                                               std::uint64_t size) const {
  if (size % kSector != 0 || !is_inside(sector, size / kSector)) {
    return VIRTIO_BLK_S_IOERR;
  }
  request.extents.push_back({sector * kSector, size});
  return std::nullopt;
}

std::optional<Blk::Status> Blk::parse_ranges(const Chain& chain, Request& request) const {
  const std::uint64_t size = chain.readable_bytes - sizeof(virtio_blk_req);
  const std::uint64_t count = size / sizeof(virtio_blk_discard_write_zeroes);
  if (size % sizeof(virtio_blk_discard_write_zeroes) != 0 || count == 0 || count > kMostRanges) {
    return VIRTIO_BLK_S_IOERR;
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    std::array<std::byte, sizeof(virtio_blk_discard_write_zeroes)> bytes;
    copy_from(chain.readable, sizeof(virtio_blk_req) + i * sizeof(bytes), bytes);
    const auto range = std::bit_cast<virtio_blk_discard_write_zeroes>(bytes);
    const std::uint32_t flags = range.flags.get();
    const bool unmap = (flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) != 0;
    // A discard unmaps anyhow, and is not to say so. [5.2.6.2]
    if ((flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) != 0 ||
        (unmap && request.kind == Kind::kDiscard)) {
      return VIRTIO_BLK_S_UNSUPP;
    }
    const std::uint32_t sectors = range.num_sectors.get();
    if (sectors > kMostRangeSectors || !is_inside(range.sector.get(), sectors)) {
      return VIRTIO_BLK_S_IOERR;
    }
    // Several ranges are unmapped only if all may be.
    request.unmap = unmap && (i == 0 || request.unmap);
    request.extents.push_back({range.sector.get() * kSector, sectors * kSector});
  }
  request.sync = write_through_;  // fallocate() has no flag for it
  return std::nullopt;
}

Blk::Status Blk::give_id(const Chain& chain) const {
  std::array<std::byte, VIRTIO_BLK_ID_BYTES> id{};
  const auto text = std::as_bytes(std::span(parts_.id));
  std::ranges::copy(text.first(std::min(text.size(), id.size())), id.begin());
  // The last byte is the status's.
  const std::uint64_t room = chain.writable_bytes - 1;
  if (room == 0) {
    return VIRTIO_BLK_S_IOERR;
  }
  copy_to(chain.writable, 0, std::span(id).first(std::min<std::uint64_t>(room, id.size())));
  return VIRTIO_BLK_S_OK;
}

// Starts the next operation of a request, or finishes it.
void Blk::go_on(std::size_t slot) {
  Request& request = requests_[slot];
  while (request.extent < request.extents.size() &&
         request.done == request.extents[request.extent].size) {
    ++request.extent;
    request.done = 0;
  }
  if (request.extent < request.extents.size()) {
    const Extent& extent = request.extents[request.extent];
    const Extent left{extent.offset + request.done, extent.size - request.done};
    if (request.kind == Kind::kRead || request.kind == Kind::kWrite) {
      prepare_transfer(request, left);
    } else if (request.kind == Kind::kDiscard && !can_punch_) {
      finish(slot, VIRTIO_BLK_S_OK);  // it was a hint
      return;
    } else {
      prepare_zeroing(request, left);
    }
  } else if (request.sync) {
    request.operation = {.kind = FileOperation::Kind::kSync, .fd = parts_.disk.writable_fd()};
  } else {
    finish(slot, VIRTIO_BLK_S_OK);
    return;
  }
  parts_.io->start(slot, request.operation);
}

void Blk::prepare_transfer(Request& request, const Extent& left) {
  const bool reads = request.kind == Kind::kRead;
  std::uint64_t size = std::min(left.size, kMostAtOnce);
  int fd = parts_.disk.writable_fd();
  if (reads) {
    const Disk::Place place = parts_.disk.find(left.offset, size);
    size = place.size;
    fd = place.fd;
  }
  if (reads) {
    take_part(request.chain.writable, request.done, size, request.buffers);
  } else {
    take_part(request.chain.readable, sizeof(virtio_blk_req) + request.done, size, request.buffers);
  }
  request.operation = {
      .kind = reads ? FileOperation::Kind::kRead : FileOperation::Kind::kWrite,
      .fd = fd,
      .offset = left.offset,
      .size = size,
      .buffers = request.buffers,
      .flags = !reads && write_through_ ? RWF_DSYNC : 0,
  };
}

void Blk::prepare_zeroing(Request& request, const Extent& left) {
  // Block devices know these too, as what BLKDISCARD and BLKZEROOUT do.
  const bool punch = (request.kind == Kind::kDiscard || request.unmap) && can_punch_;
  request.operation = {
      .kind = FileOperation::Kind::kFallocate,
      .fd = parts_.disk.writable_fd(),
      .offset = left.offset,
      .size = left.size,
      .flags = FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE)};
  if (punch || can_zero_) {
    return;
  }
  zeros_.resize(kZeros);
  request.buffers.clear();
  std::uint64_t size = 0;
  while (size < left.size && request.buffers.size() < kMostZerosAtOnce) {
    const std::uint64_t piece = std::min<std::uint64_t>(left.size - size, zeros_.size());
    request.buffers.push_back({zeros_.data(), piece});
    size += piece;
  }
  request.operation.kind = FileOperation::Kind::kWrite;
  request.operation.size = size;
  request.operation.buffers = request.buffers;
  request.operation.flags = 0;  // synced behind the last one
}

void Blk::completed(std::span<const AsyncIo::Completion> completions) {
  for (const AsyncIo::Completion& completion : completions) {
    advance(completion.slot, completion.result);
  }
  parts_.io->submit();
  if (active_->queues[0].wants_interrupt()) {
    active_->driver->used_buffers();
  }
  if (starved_) {
    serve_queue();
  }
}

void Blk::advance(std::size_t slot, std::int64_t result) {
  Request& request = requests_[slot];
  const FileOperation& operation = request.operation;
  using enum FileOperation::Kind;
  const bool transfers = operation.kind == kRead || operation.kind == kWrite;
  if (result < 0 || (result == 0 && transfers)) {
    const int error = static_cast<int>(-result);
    if (error == EINTR || error == EAGAIN || try_another_way(request, error)) {
      go_on(slot);
      return;
    }
    complain(operation.kind == kRead   ? kCannotRead
             : operation.kind == kSync ? kCannotFlush
                                       : kCannotWrite,
             error);
    finish(slot, VIRTIO_BLK_S_IOERR);
    return;
  }
  if (operation.kind == kSync) {
    request.sync = false;
  } else {
    const std::uint64_t bytes = transfers ? static_cast<std::uint64_t>(result) : operation.size;
    if (operation.kind != kRead) {
      // The operation may have begun within a sector, the beginning of which this request wrote
      // too.
      const std::uint64_t lead = operation.offset % kSector;
      parts_.disk.written(operation.offset - lead, lead + bytes);
    }
    request.done += bytes;
  }
  go_on(slot);
}

// Whether the host cannot do it in this way, and there is another.
bool Blk::try_another_way(const Request& request, int error) {
  if (request.operation.kind != FileOperation::Kind::kFallocate || !is_unsupported(error)) {
    return false;
  }
  if ((request.operation.flags & FALLOC_FL_PUNCH_HOLE) != 0) {
    can_punch_ = false;
  } else {
    can_zero_ = false;
  }
  return true;
}

void Blk::finish(std::size_t slot, Status status) {
  push(requests_[slot].chain, status);
  free_.push_back(slot);
}

void Blk::push(const Chain& chain, Status status) {
  if (chain.writable_bytes != 0) {
    copy_to(chain.writable, chain.writable_bytes - 1, std::as_bytes(std::span(&status, 1)));
  }
  active_->queues[0].push(chain.head,
                          base::narrow<std::uint32_t>(chain.writable_bytes).value_or(UINT32_MAX));
}

void Blk::complain(const char* what, int error) {
  if (complaints_.emplace(what, error).second) {
    // A read that gives nothing is behind the end of the file.
    parts_.complain(fmt::format("{}: {}; the guest sees an I/O error", what,
                                error == 0 ? "the file became shorter" : base::errno_text(error)));
  }
}

}  // namespace pvh::devices::virtio
