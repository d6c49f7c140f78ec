// SPDX-License-Identifier: Apache-2.0
#include "wire/fast.h"

#include <algorithm>
#include <concepts>
#include <cstring>
#include <limits>

#include "base/byte_order.h"
#include "base/check.h"

namespace testudo::wire {
namespace {

constexpr std::uint16_t kMagic = 0x5466;  // 'Tf'
constexpr std::uint8_t kVersion = 2;

struct Head {
  Be<std::uint16_t> magic;
  std::uint8_t version;
  std::uint8_t type;
  Be<std::uint16_t> sender;
  Be<std::uint16_t> count;
  Be<std::uint32_t> incarnation;
  std::uint8_t dvipa[16];
  Be<std::uint64_t> epoch;
};
static_assert(sizeof(Head) == kFastHeaderSize && alignof(Head) == 1);

/// How each entry lies on the wire, in order. `io` is a Reader or a Writer.
template <typename Io>
void fields(Io& io, LeaseRequest& e) {
  io(e.sa), io(e.last), io(e.id), io(e.returned), io(e.want);
}
template <typename Io>
void fields(Io& io, LeaseGrant& e) {
  io(e.sa), io(e.first), io(e.id), io(e.duration_us), io(e.count), io(e.shared);
}
template <typename Io>
void fields(Io& io, LeaseRecall& e) {
  io(e.sa), io(e.id);
}
template <typename Io>
void fields(Io& io, LeaseReturn& e) {
  io(e.sa), io(e.last), io(e.id);
}
template <typename Io>
void fields(Io& io, ReplayCommit& e) {
  io(e.sa), io(e.base), io(e.accepted), io(e.rejected);
}
template <typename Io>
void fields(Io& io, PathMtu& e) {
  io(e.sa), io(e.mtu);
}

template <typename Io>
void fields(Io& io, LeaseOffer& e) {
  io(e.sa), io(e.first), io(e.id), io(e.seen), io(e.duration_us), io(e.age_us), io(e.count);
}

struct Reader {
  const std::uint8_t* at;
  template <std::unsigned_integral T>
  void operator()(T& value) {
    Be<T> raw;
    std::memcpy(&raw, at, sizeof raw);
    value = raw.host();
    at += sizeof raw;
  }
  void operator()(bool& value) { value = *at++ != 0; }
  template <typename Tag, typename T>
  void operator()(Strong<Tag, T>& value) {
    T raw{};
    (*this)(raw);
    value = Strong<Tag, T>(raw);
  }
};

struct Writer {
  std::uint8_t* at;
  template <std::unsigned_integral T>
  void operator()(T value) {
    const Be<T> raw(value);
    std::memcpy(at, &raw, sizeof raw);
    at += sizeof raw;
  }
  void operator()(bool value) { *at++ = value ? 1 : 0; }
  template <typename Tag, typename T>
  void operator()(Strong<Tag, T> value) {
    (*this)(value.value());
  }
};

bool sound(const LeaseRequest& e) { return e.id != 0 && e.want != 0; }
bool sound(const LeaseGrant& e) {
  const bool fits = e.first.value() <= std::numeric_limits<std::uint64_t>::max() - e.count;
  return e.id != 0 && fits && (e.count == 0 || e.first.value() != 0);
}
bool sound(const LeaseRecall& e) { return e.id != 0; }
bool sound(const LeaseReturn& e) { return e.id != 0; }
bool sound(const ReplayCommit& e) { return e.base.value() <= std::numeric_limits<std::uint64_t>::max() - 63; }
bool sound(const PathMtu& e) { return e.mtu != 0; }
bool sound(const LeaseOffer& e) {
  const bool fits = e.first.value() <= std::numeric_limits<std::uint64_t>::max() - e.count;
  return (e.id & LeaseOffer::kIds) != 0 && e.seen != 0 && e.count != 0 && e.first.value() != 0 && fits;
}

template <typename Entry>
Entry read(const std::uint8_t* at) {
  Reader reader{at};
  Entry entry;
  fields(reader, entry);
  return entry;
}

/// The bytes are exactly `count` entries, each with possible values.
template <typename Entry>
bool all_sound(std::span<const std::uint8_t> bytes, std::size_t count) {
  if (bytes.size() != count * Entry::kSize) return false;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t* at = bytes.data() + i * Entry::kSize;
    if constexpr (std::same_as<Entry, LeaseGrant>) {
      if (at[Entry::kSize - 1] > 1) return false;  // `shared` is a boolean
    }
    if (!sound(read<Entry>(at))) return false;
  }
  return true;
}

bool all_sound(FastType type, std::span<const std::uint8_t> bytes, std::size_t count) {
  switch (type) {
    case FastType::kLeaseRequest:
      return all_sound<LeaseRequest>(bytes, count);
    case FastType::kLeaseGrant:
      return all_sound<LeaseGrant>(bytes, count);
    case FastType::kLeaseRecall:
      return all_sound<LeaseRecall>(bytes, count);
    case FastType::kLeaseReturn:
      return all_sound<LeaseReturn>(bytes, count);
    case FastType::kReplayCommit:
      return all_sound<ReplayCommit>(bytes, count);
    case FastType::kPathMtu:
      return all_sound<PathMtu>(bytes, count);
    case FastType::kLeaseOffer:
      return all_sound<LeaseOffer>(bytes, count);
  }
  return false;  // a type that we do not know
}

}  // namespace

std::optional<FastMessage> FastMessage::parse(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kFastHeaderSize || bytes.size() > kFastDatagramMax) return std::nullopt;
  Head head;
  std::memcpy(&head, bytes.data(), sizeof head);
  if (head.magic.host() != kMagic || head.version != kVersion) return std::nullopt;

  FastMessage message;
  message.header_ = {.type = static_cast<FastType>(head.type),
                     .sender = NodeId(head.sender.host()),
                     .incarnation = head.incarnation.host(),
                     .dvipa = IpAddress(std::span<const std::uint8_t, 16>(head.dvipa)),
                     .epoch = Epoch(head.epoch.host())};
  message.count_ = head.count.host();
  message.entries_ = bytes.data() + kFastHeaderSize;
  if (message.count_ == 0 || message.header_.sender == NodeId()) return std::nullopt;
  if (!all_sound(message.header_.type, bytes.subspan(kFastHeaderSize), message.count_)) return std::nullopt;
  return message;
}

template <typename Entry>
Entry FastMessage::entry(std::size_t index) const {
  CHECK(header_.type == Entry::kType && index < count_);
  return read<Entry>(entries_ + index * Entry::kSize);
}

FastWriter::FastWriter(std::span<std::uint8_t> buffer, const FastHeader& header)
    : buffer_(buffer.first(std::min(buffer.size(), kFastDatagramMax))), header_(header) {
  CHECK(buffer_.size() > kFastHeaderSize);
  Head head{};
  head.magic = Be<std::uint16_t>(kMagic);
  head.version = kVersion;
  head.type = static_cast<std::uint8_t>(header.type);
  head.sender = Be<std::uint16_t>(header.sender.value());
  head.incarnation = Be<std::uint32_t>(header.incarnation);
  const auto dvipa = header.dvipa.bytes();
  std::memcpy(head.dvipa, dvipa.data(), dvipa.size());
  head.epoch = Be<std::uint64_t>(header.epoch.value());
  std::memcpy(buffer_.data(), &head, sizeof head);
}

template <typename Entry>
bool FastWriter::append(const Entry& entry) {
  CHECK(header_.type == Entry::kType && sound(entry));
  if (buffer_.size() - size_ < Entry::kSize) return false;
  Writer writer{buffer_.data() + size_};
  Entry copy = entry;
  fields(writer, copy);
  size_ += Entry::kSize;
  const Be<std::uint16_t> count(++count_);
  std::memcpy(buffer_.data() + offsetof(Head, count), &count, sizeof count);
  return true;
}

std::span<const std::uint8_t> FastWriter::bytes() const {
  if (count_ == 0) return {};
  return buffer_.first(size_);
}

FastOutbox::FastOutbox(std::size_t capacity) : slots_(capacity) { CHECK(capacity > 0); }

FastOutbox::Slot* FastOutbox::open(NodeId to, const FastHeader& header) {
  if (used_ == slots_.size()) return nullptr;
  Slot& slot = slots_[used_++];
  slot.to = to;
  slot.closed = false;
  slot.writer.emplace(slot.buffer, header);
  return &slot;
}

template <typename Entry>
void FastOutbox::append(NodeId to, const FastHeader& header, const Entry& entry) {
  for (std::size_t i = used_; i-- > 0;) {
    Slot& slot = slots_[i];
    if (slot.closed || slot.to != to || slot.writer->header() != header) continue;
    if (slot.writer->append(entry)) return;
    slot.closed = true;
    break;
  }
  Slot* slot = open(to, header);
  if (slot == nullptr || !slot->writer->append(entry)) ++lost_;
}

FastDatagram FastOutbox::datagram(std::size_t index) {
  CHECK(index < used_);
  Slot& slot = slots_[index];
  slot.closed = true;
  return {slot.to, slot.writer->bytes()};
}

void FastOutbox::clear() { used_ = 0; }

#define TESTUDO_FAST_ENTRY(Entry)                              \
  template Entry FastMessage::entry<Entry>(std::size_t) const; \
  template bool FastWriter::append(const Entry&);              \
  template void FastOutbox::append(NodeId, const FastHeader&, const Entry&);
TESTUDO_FAST_ENTRY(LeaseRequest)
TESTUDO_FAST_ENTRY(LeaseGrant)
TESTUDO_FAST_ENTRY(LeaseRecall)
TESTUDO_FAST_ENTRY(LeaseReturn)
TESTUDO_FAST_ENTRY(ReplayCommit)
TESTUDO_FAST_ENTRY(PathMtu)
TESTUDO_FAST_ENTRY(LeaseOffer)
#undef TESTUDO_FAST_ENTRY

}  // namespace testudo::wire
