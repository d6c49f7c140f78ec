// SPDX-License-Identifier: Apache-2.0
#include "facility/etcd/etcd_facility.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

#include "facility/etcd/etcd_client.h"
#include "facility/etcd/etcd_watch.h"
#include "facility/request_error.h"

namespace testudo::facility {
namespace pb = etcdserverpb;
namespace {

constexpr Duration kRetryInterval = 1s;  // between keepalives while none is answered

pb::Compare equal(pb::Compare::CompareTarget target, const std::string& key, Revision revision) {
  pb::Compare compare;
  compare.set_result(pb::Compare::EQUAL);
  compare.set_target(target);
  compare.set_key(key);
  const auto value = static_cast<std::int64_t>(revision.value());
  if (target == pb::Compare::CREATE) {
    compare.set_create_revision(value);
  } else {
    compare.set_mod_revision(value);  // of a key that does not exist: 0
  }
  return compare;
}

Result<CasOutcome> outcome_of(const pb::TxnResponse& response) {
  CasOutcome outcome;
  outcome.done = response.succeeded();
  if (outcome.done) {
    outcome.revision = Revision{static_cast<std::uint64_t>(response.header().revision())};
  } else if (response.responses_size() == 1 && response.responses(0).response_range().kvs_size() == 1) {
    outcome.current = entry_of(response.responses(0).response_range().kvs(0));
  }
  return outcome;
}

class EtcdFacility final : public Facility {
 public:
  EtcdFacility(Executor& executor, std::vector<EtcdServer> servers, Duration call_timeout)
      : client_(executor, std::move(servers), call_timeout) {
    client_.on_moved([this] {
      for (const auto& watch : watches_) watch->restart();
    });
  }
  ~EtcdFacility() override { stop_timers(); }

  void open_session(Duration ttl, Callback<void> opened, std::function<void()> lost) override;
  void close_session() override;
  void list(std::string prefix, Callback<Listing> done) override;
  void compare_and_set(CompareAndSet request, Callback<CasOutcome> done) override;
  void remove(std::string key, Revision expected, Callback<CasOutcome> done) override;
  void watch(std::string prefix, std::function<void(const Event&)> on_event) override {
    watches_.push_back(std::make_unique<EtcdWatch>(client_, std::move(prefix), std::move(on_event)));
  }
  void on_reachable(std::function<void(bool)> changed) override { client_.on_reachable(std::move(changed)); }

 private:
  void granted(const pb::LeaseGrantResponse& grant, Time sent);
  void schedule_keep_alive(Duration delay);
  void keep_alive();
  void renewed(Time sent);
  void session_lost();
  void stop_timers();
  void transact(pb::TxnRequest request, const std::string& key, Callback<CasOutcome> done);

  EtcdClient client_;
  std::vector<std::unique_ptr<EtcdWatch>> watches_;
  std::int64_t lease_ = 0;  // 0: no session
  bool opening_ = false;
  Duration ttl_{};
  Time renewed_{};  // when the newest keepalive that was answered had been sent
  std::function<void()> lost_;
  Executor::Timer renewal_ = 0;
  Executor::Timer lapse_ = 0;  // when the session is lost by our own clock
};

void EtcdFacility::open_session(Duration ttl, Callback<void> opened, std::function<void()> lost) {
  if (lease_ != 0 || opening_) {
    client_.later({}, [opened] { opened(fail("a session is open already: close_session() first")); });
    return;
  }
  opening_ = true;
  ttl_ = ttl;
  lost_ = std::move(lost);
  pb::LeaseGrantRequest request;
  request.set_ttl(std::chrono::ceil<std::chrono::seconds>(ttl).count());
  client_.grant(std::move(request), [this, sent = client_.now(), opened](Result<pb::LeaseGrantResponse> grant) {
    opening_ = false;
    if (!grant) return opened(tl::unexpected<Error>(grant.error()));
    if (!grant->error().empty()) return opened(fail("etcd grants no session: " + grant->error()));
    granted(*grant, sent);
    opened({});
  });
}

void EtcdFacility::granted(const pb::LeaseGrantResponse& grant, Time sent) {
  lease_ = grant.id();
  ttl_ = std::min<Duration>(ttl_, std::chrono::seconds(grant.ttl()));
  renewed_ = sent;
  renewed(sent);
  schedule_keep_alive(ttl_ / 3);
}

void EtcdFacility::schedule_keep_alive(Duration delay) {
  if (renewal_ != 0) client_.cancel(renewal_);
  renewal_ = client_.later(delay, [this] { keep_alive(); });
}

void EtcdFacility::keep_alive() {
  renewal_ = 0;
  schedule_keep_alive(ttl_ / 3);
  client_.keep_alive(lease_, [this, lease = lease_, sent = client_.now()](Result<std::int64_t> ttl) {
    if (lease_ != lease) return;
    if (!ttl) {  // not answered: lapse_ decides. Soon again, for etcd may come back just before that.
      schedule_keep_alive(std::min(ttl_ / 10, kRetryInterval));
    } else if (*ttl > 0) {
      renewed(sent);
    } else {
      session_lost();
    }
  });
}

void EtcdFacility::renewed(Time sent) {
  renewed_ = std::max(renewed_, sent);
  if (lapse_ != 0) client_.cancel(lapse_);
  lapse_ = client_.later(renewed_ + ttl_ - client_.now(), [this] { session_lost(); });
}

void EtcdFacility::stop_timers() {
  for (Executor::Timer* timer : {&renewal_, &lapse_}) {
    if (*timer != 0) client_.cancel(std::exchange(*timer, 0));
  }
}

void EtcdFacility::session_lost() {
  stop_timers();
  client_.revoke(std::exchange(lease_, 0));  // if etcd still has it, its keys need not linger
  if (auto lost = std::exchange(lost_, nullptr)) lost();
}

void EtcdFacility::close_session() {
  stop_timers();
  lost_ = nullptr;
  if (lease_ != 0) client_.revoke(std::exchange(lease_, 0));
}

void EtcdFacility::list(std::string prefix, Callback<Listing> done) {
  pb::RangeRequest request;
  request.set_key(prefix.empty() ? std::string("\0", 1) : prefix);
  request.set_range_end(range_end(prefix));
  request.set_sort_order(pb::RangeRequest::ASCEND);
  client_.range(std::move(request), [done = std::move(done)](Result<pb::RangeResponse> response) {
    if (!response) return done(tl::unexpected<Error>(response.error()));
    Listing listing{.entries = {}, .at = Revision{static_cast<std::uint64_t>(response->header().revision())}};
    for (const pb::KeyValue& kv : response->kvs()) listing.entries.push_back(entry_of(kv));
    done(std::move(listing));
  });
}

void EtcdFacility::compare_and_set(CompareAndSet request, Callback<CasOutcome> done) {
  if (const auto error = request_error(request, lease_ != 0)) {
    client_.later({}, [error, done] { done(tl::unexpected<Error>(*error)); });
    return;
  }
  pb::TxnRequest txn;
  *txn.add_compare() = equal(pb::Compare::MOD, request.key, request.expected);
  if (!request.fence_key.empty()) {
    *txn.add_compare() = equal(pb::Compare::CREATE, request.fence_key, request.fence_created);
  }
  auto* put = txn.add_success()->mutable_request_put();
  put->set_key(request.key);
  put->set_value(request.value);
  if (request.with_session) put->set_lease(lease_);
  transact(std::move(txn), request.key, std::move(done));
}

void EtcdFacility::remove(std::string key, Revision expected, Callback<CasOutcome> done) {
  if (const auto error = removal_error(key, expected)) {
    client_.later({}, [error, done] { done(tl::unexpected<Error>(*error)); });
    return;
  }
  pb::TxnRequest txn;
  *txn.add_compare() = equal(pb::Compare::MOD, key, expected);
  txn.add_success()->mutable_request_delete_range()->set_key(key);
  transact(std::move(txn), key, std::move(done));
}

void EtcdFacility::transact(pb::TxnRequest txn, const std::string& key, Callback<CasOutcome> done) {
  txn.add_failure()->mutable_request_range()->set_key(key);
  client_.txn(std::move(txn), [done = std::move(done)](Result<pb::TxnResponse> response) {
    if (!response) return done(tl::unexpected<Error>(response.error()));
    done(outcome_of(*response));
  });
}

}  // namespace

Result<std::unique_ptr<Facility>> connect_etcd(Executor& executor, EtcdOptions options) {
  auto servers = make_servers(options);
  if (!servers) return tl::unexpected<Error>(servers.error());
  return std::make_unique<EtcdFacility>(executor, std::move(*servers), options.call_timeout);
}

}  // namespace testudo::facility
