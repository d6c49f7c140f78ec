// SPDX-License-Identifier: Apache-2.0
// Calls to an etcd cluster: goes to one of its servers, moves on to the next one when that fails, and tells whether
// any answers. Everything here runs on the executor's thread; gRPC's threads only post.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/result.h"
#include "facility/etcd/rpc.pb.h"
#include "facility/etcd/server.h"
#include "facility/in_flight.h"

namespace testudo::facility {

/// A watch that runs in etcd until it is closed by either side.
class EtcdWatchStream {
 public:
  EtcdWatchStream() = default;
  EtcdWatchStream(const EtcdWatchStream&) = delete;
  EtcdWatchStream& operator=(const EtcdWatchStream&) = delete;
  virtual ~EtcdWatchStream() = default;
  virtual void cancel() = 0;
};

class EtcdClient {
 public:
  template <typename T>
  using Callback = std::function<void(Result<T>)>;
  /// Reading may be tried again on the next server when one fails; a write may have happened, so that is never.
  enum class Retry { kNo, kOnEveryServer };

  EtcdClient(Executor& executor, std::vector<EtcdServer> servers, Duration call_timeout);
  EtcdClient(const EtcdClient&) = delete;
  EtcdClient& operator=(const EtcdClient&) = delete;
  ~EtcdClient();

  void range(etcdserverpb::RangeRequest request, Callback<etcdserverpb::RangeResponse> done);
  void txn(etcdserverpb::TxnRequest request, Callback<etcdserverpb::TxnResponse> done);
  void grant(etcdserverpb::LeaseGrantRequest request, Callback<etcdserverpb::LeaseGrantResponse> done);
  /// Also sent when this object is destroyed right after.
  void revoke(std::int64_t lease);
  /// The lease's new TTL in seconds; 0: it is over.
  void keep_alive(std::int64_t lease, Callback<std::int64_t> done);
  /// `on_response` for each answer, then `on_closed` once. The caller keeps the stream until then or cancels it.
  std::shared_ptr<EtcdWatchStream> watch(etcdserverpb::WatchCreateRequest request,
                                         std::function<void(const etcdserverpb::WatchResponse&)> on_response,
                                         std::function<void()> on_closed);

  /// False when every server has failed in a row, true when one answers again. Assumed true at first.
  void on_reachable(std::function<void(bool)> changed) { reachable_changed_.push_back(std::move(changed)); }
  /// The server in use has failed: what still waits for it should start anew.
  void on_moved(std::function<void()> moved) { moved_ = std::move(moved); }
  /// Guards a task that may run after this object is gone.
  Executor::Timer later(Duration delay, std::function<void()> task);
  void cancel(Executor::Timer timer) { executor_.cancel(timer); }
  [[nodiscard]] Time now() const { return executor_.now(); }

 private:
  template <typename Request, typename Response, typename Start>
  void unary(Request request, Start start, Callback<Response> done, Retry retry, std::size_t attempt = 1);
  void probe();
  void answered();
  void server_failed(std::size_t server);
  [[nodiscard]] std::unique_ptr<grpc::ClientContext> context() const;
  [[nodiscard]] Error error(std::size_t server, const grpc::Status& status) const;

  Executor& executor_;
  std::vector<EtcdServer> servers_;
  Duration call_timeout_;
  std::size_t current_ = 0;   // index into servers_
  std::size_t failures_ = 0;  // in a row
  bool reachable_ = true;
  std::vector<std::function<void(bool)>> reachable_changed_;
  std::function<void()> moved_;
  std::set<std::shared_ptr<grpc::ClientContext>> open_;  // cancelled by the destructor
  std::shared_ptr<InFlight> in_flight_ = std::make_shared<InFlight>();
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace testudo::facility
