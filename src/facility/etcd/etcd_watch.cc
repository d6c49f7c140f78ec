// SPDX-License-Identifier: Apache-2.0
#include "facility/etcd/etcd_watch.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

namespace testudo::facility {
namespace pb = etcdserverpb;
namespace {
constexpr Duration kRetry = 200ms;
}

std::string range_end(std::string prefix) {
  while (!prefix.empty()) {
    auto& last = prefix.back();
    if (static_cast<unsigned char>(last) != 0xff) {
      last = static_cast<char>(static_cast<unsigned char>(last) + 1);
      return prefix;
    }
    prefix.pop_back();
  }
  return std::string("\0", 1);  // etcd: to the end of the key space
}

Entry entry_of(const pb::KeyValue& kv) {
  return {.key = kv.key(),
          .value = kv.value(),
          .created = Revision{static_cast<std::uint64_t>(kv.create_revision())},
          .modified = Revision{static_cast<std::uint64_t>(kv.mod_revision())}};
}

EtcdWatch::EtcdWatch(EtcdClient& client, std::string prefix, std::function<void(const Event&)> on_event)
    : client_(client), prefix_(std::move(prefix)), on_event_(std::move(on_event)) {
  begin();
}

void EtcdWatch::begin() {
  ++attempt_;
  if (stream_) std::exchange(stream_, nullptr)->cancel();
  if (listed_) {
    follow();
  } else {
    list();
  }
}

void EtcdWatch::restart() {
  if (listed_) again_after(kRetry);
}

void EtcdWatch::again_after(Duration delay) {
  client_.later(delay, [this, attempt = ++attempt_] {
    if (attempt == attempt_) begin();
  });
}

void EtcdWatch::list() {
  pb::RangeRequest request;
  request.set_key(prefix_.empty() ? std::string("\0", 1) : prefix_);
  request.set_range_end(range_end(prefix_));
  client_.range(std::move(request), [this, attempt = attempt_](Result<pb::RangeResponse> response) {
    if (attempt != attempt_) return;
    if (!response) return again_after(kRetry);
    listed(*response);
  });
}

bool EtcdWatch::report(Event event) {
  if (event.deleted) {
    known_.erase(event.entry.key);
  } else if (std::exchange(known_[event.entry.key], event.entry.modified) == event.entry.modified) {
    return true;  // reported before
  }
  const std::weak_ptr alive(alive_);
  on_event_(event);
  return !alive.expired();
}

void EtcdWatch::listed(const pb::RangeResponse& response) {
  const std::int64_t at = response.header().revision();
  std::set<std::string> present;
  for (const pb::KeyValue& kv : response.kvs()) present.insert(kv.key());
  std::vector<std::string> gone;
  for (const auto& [key, modified] : known_) {
    if (!present.contains(key)) gone.push_back(key);
  }
  listed_ = true;
  seen_ = at;
  const auto attempt = attempt_;
  for (const std::string& key : gone) {
    const Revision modified{static_cast<std::uint64_t>(at)};
    if (!report({.entry = {.key = key, .value = {}, .created = {}, .modified = modified}, .deleted = true})) return;
  }
  for (const pb::KeyValue& kv : response.kvs()) {
    if (!report({.entry = entry_of(kv)})) return;
  }
  if (attempt == attempt_) follow();
}

void EtcdWatch::follow() {
  pb::WatchCreateRequest request;
  request.set_key(prefix_.empty() ? std::string("\0", 1) : prefix_);
  request.set_range_end(range_end(prefix_));
  request.set_start_revision(seen_ + 1);
  stream_ = client_.watch(
      std::move(request),
      [this, attempt = attempt_](const pb::WatchResponse& response) {
        if (attempt == attempt_) received(response);
      },
      [this, attempt = attempt_] {
        if (attempt == attempt_) again_after(kRetry);
      });
}

void EtcdWatch::received(const pb::WatchResponse& response) {
  // Compacted, or a store that is younger than what was seen (restored from a backup): the history is of no use.
  if (response.compact_revision() != 0 || (response.created() && response.header().revision() < seen_)) {
    listed_ = false;
    return begin();
  }
  if (response.canceled()) return again_after(kRetry);
  // etcd never splits one revision over two answers, so seen_ may move to the newest one of this answer beforehand.
  std::vector<Event> events;
  const std::int64_t before = seen_;
  for (const pb::Event& event : response.events()) {
    if (event.kv().mod_revision() <= before) continue;
    seen_ = std::max(seen_, event.kv().mod_revision());
    events.push_back({.entry = entry_of(event.kv()), .deleted = event.type() == pb::Event::DELETE});
  }
  for (Event& event : events) {
    if (!report(std::move(event))) return;
  }
}

}  // namespace testudo::facility
