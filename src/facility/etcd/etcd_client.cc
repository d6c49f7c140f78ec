// SPDX-License-Identifier: Apache-2.0
#include "facility/etcd/etcd_client.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <chrono>
#include <utility>

namespace testudo::facility {
namespace pb = etcdserverpb;
namespace {

constexpr Duration kProbeInterval = 1s;
constexpr Duration kProbeIntervalWhenLost = 200ms;

bool server_is_gone(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE ||
         status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
}

/// One keepalive: a stream of one request and one answer. Lives until gRPC is done with it.
class KeepAliveCall final : public grpc::ClientBidiReactor<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse> {
 public:
  using Done = std::function<void(const grpc::Status&, bool answered, std::int64_t ttl)>;

  KeepAliveCall(std::shared_ptr<grpc::ClientContext> context, std::int64_t lease, Done done)
      : context_(std::move(context)), done_(std::move(done)) {
    request_.set_id(lease);
  }
  void start(pb::Lease::Stub& stub) {
    stub.async()->LeaseKeepAlive(context_.get(), this);
    StartWriteLast(&request_, {});
    StartRead(&response_);
    StartCall();
  }
  void OnReadDone(bool ok) override { answered_ = ok; }
  void OnDone(const grpc::Status& status) override {
    done_(status, answered_, response_.ttl());
    delete this;
  }

 private:
  std::shared_ptr<grpc::ClientContext> context_;
  Done done_;
  pb::LeaseKeepAliveRequest request_;
  pb::LeaseKeepAliveResponse response_;
  bool answered_ = false;
};

class WatchCall final : public grpc::ClientBidiReactor<pb::WatchRequest, pb::WatchResponse>,
                        public EtcdWatchStream {
 public:
  struct Sink {  // both run on gRPC's threads
    std::function<void(pb::WatchResponse)> response;
    std::function<void(const grpc::Status&)> closed;
  };

  WatchCall(std::shared_ptr<grpc::ClientContext> context, pb::WatchCreateRequest request, Sink sink)
      : context_(std::move(context)), sink_(std::move(sink)) {
    *request_.mutable_create_request() = std::move(request);
  }
  void start(pb::Watch::Stub& stub, std::shared_ptr<WatchCall> self) {
    self_ = std::move(self);
    stub.async()->Watch(context_.get(), this);
    StartWrite(&request_);
    StartRead(&response_);
    StartCall();
  }
  void cancel() override { context_->TryCancel(); }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    sink_.response(std::move(response_));
    response_.Clear();
    StartRead(&response_);
  }
  void OnDone(const grpc::Status& status) override {
    sink_.closed(status);
    const auto self = std::move(self_);  // the last reference may be this one
  }

 private:
  std::shared_ptr<grpc::ClientContext> context_;
  Sink sink_;
  pb::WatchRequest request_;
  pb::WatchResponse response_;
  std::shared_ptr<WatchCall> self_;
};

}  // namespace

EtcdClient::EtcdClient(Executor& executor, std::vector<EtcdServer> servers, Duration call_timeout)
    : executor_(executor), servers_(std::move(servers)), call_timeout_(call_timeout) {
  later({}, [this] { probe(); });
}

EtcdClient::~EtcdClient() {
  alive_.reset();
  for (const auto& context : open_) context->TryCancel();
  in_flight_->wait();
}

Executor::Timer EtcdClient::later(Duration delay, std::function<void()> task) {
  return executor_.run_after(delay, [alive = std::weak_ptr(alive_), task = std::move(task)] {
    if (!alive.expired()) task();
  });
}

std::unique_ptr<grpc::ClientContext> EtcdClient::context() const {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::duration_cast<std::chrono::system_clock::duration>(call_timeout_));
  return context;
}

Error EtcdClient::error(std::size_t server, const grpc::Status& status) const {
  return {"etcd at " + servers_[server].name + ": " + status.error_message()};
}

template <typename Request, typename Response, typename Start>
void EtcdClient::unary(Request request, Start start, Callback<Response> done, Retry retry, std::size_t attempt) {
  struct Call {
    Request request;
    Response response;
  };
  auto call = std::make_shared<Call>(Call{std::move(request), {}});
  const std::shared_ptr<grpc::ClientContext> ctx = context();
  const std::size_t server = current_;
  open_.insert(ctx);
  in_flight_->began();
  // On the executor's thread, once gRPC has an outcome.
  auto finish = [this, call, ctx, server, start, done = std::move(done), retry,
                 attempt](const grpc::Status& status) {
    open_.erase(ctx);
    if (status.ok()) {
      answered();
      return done(std::move(call->response));
    }
    if (!server_is_gone(status)) {
      answered();
      return done(tl::unexpected<Error>(error(server, status)));
    }
    server_failed(server);
    if (retry == Retry::kOnEveryServer && attempt < servers_.size()) {
      return unary(std::move(call->request), start, done, retry, attempt + 1);
    }
    done(tl::unexpected<Error>(error(server, status)));
  };
  start(
      servers_[server], ctx.get(), &call->request, &call->response,
      [executor = &executor_, alive = std::weak_ptr(alive_), in_flight = in_flight_, finish](grpc::Status status) {
        executor->post([alive, finish, status] {
          if (!alive.expired()) finish(status);
        });
        in_flight->ended();
      });
}

void EtcdClient::range(pb::RangeRequest request, Callback<pb::RangeResponse> done) {
  unary<pb::RangeRequest, pb::RangeResponse>(
      std::move(request), [](EtcdServer& server, auto... call) { server.kv->async()->Range(call...); },
      std::move(done), Retry::kOnEveryServer);
}

void EtcdClient::txn(pb::TxnRequest request, Callback<pb::TxnResponse> done) {
  unary<pb::TxnRequest, pb::TxnResponse>(
      std::move(request), [](EtcdServer& server, auto... call) { server.kv->async()->Txn(call...); },
      std::move(done), Retry::kNo);
}

void EtcdClient::grant(pb::LeaseGrantRequest request, Callback<pb::LeaseGrantResponse> done) {
  // A lease that was granted and not told to us ends by itself.
  unary<pb::LeaseGrantRequest, pb::LeaseGrantResponse>(
      std::move(request), [](EtcdServer& server, auto... call) { server.lease->async()->LeaseGrant(call...); },
      std::move(done), Retry::kOnEveryServer);
}

void EtcdClient::revoke(std::int64_t lease) {
  struct Call {
    std::unique_ptr<grpc::ClientContext> context;
    pb::LeaseRevokeRequest request;
    pb::LeaseRevokeResponse response;
  };
  auto call = std::make_shared<Call>();
  call->context = context();
  call->request.set_id(lease);
  in_flight_->began();
  servers_[current_].lease->async()->LeaseRevoke(
      call->context.get(), &call->request, &call->response,
      [call, in_flight = in_flight_](const grpc::Status&) { in_flight->ended(); });
}

void EtcdClient::keep_alive(std::int64_t lease, Callback<std::int64_t> done) {
  const std::shared_ptr<grpc::ClientContext> ctx = context();
  const std::size_t server = current_;
  open_.insert(ctx);
  in_flight_->began();
  auto finish = [this, ctx, server, done = std::move(done)](const grpc::Status& status, bool got,
                                                            std::int64_t ttl) {
    open_.erase(ctx);
    if (got) {
      answered();
      return done(ttl);
    }
    if (server_is_gone(status)) server_failed(server);
    done(tl::unexpected<Error>(error(server, status)));
  };
  auto* call = new KeepAliveCall(ctx, lease,
                                 [executor = &executor_, alive = std::weak_ptr(alive_), in_flight = in_flight_,
                                  finish](const grpc::Status& status, bool got, std::int64_t ttl) {
                                   executor->post([alive, finish, status, got, ttl] {
                                     if (!alive.expired()) finish(status, got, ttl);
                                   });
                                   in_flight->ended();
                                 });
  call->start(*servers_[server].lease);
}

std::shared_ptr<EtcdWatchStream> EtcdClient::watch(pb::WatchCreateRequest request,
                                                   std::function<void(const pb::WatchResponse&)> on_response,
                                                   std::function<void()> on_closed) {
  const auto ctx = std::make_shared<grpc::ClientContext>();  // no deadline
  open_.insert(ctx);
  in_flight_->began();
  auto response = [executor = &executor_, alive = std::weak_ptr(alive_),
                   on_response = std::move(on_response)](pb::WatchResponse message) {
    executor->post([alive, on_response, message = std::move(message)] {
      if (!alive.expired()) on_response(message);
    });
  };
  auto closed = [executor = &executor_, alive = std::weak_ptr(alive_), in_flight = in_flight_, this, ctx,
                 on_closed = std::move(on_closed)](const grpc::Status&) {
    executor->post([alive, this, ctx, on_closed] {
      if (alive.expired()) return;
      open_.erase(ctx);
      on_closed();
    });
    in_flight->ended();
  };
  auto call = std::make_shared<WatchCall>(
      ctx, std::move(request), WatchCall::Sink{.response = std::move(response), .closed = std::move(closed)});
  call->start(*servers_[current_].watch, call);
  return call;
}

void EtcdClient::probe() {
  later(reachable_ ? kProbeInterval : kProbeIntervalWhenLost, [this] { probe(); });
  pb::RangeRequest request;
  request.set_key(std::string("\0", 1));
  request.set_limit(1);
  range(std::move(request), [](const Result<pb::RangeResponse>&) {});
}

void EtcdClient::answered() {
  failures_ = 0;
  if (std::exchange(reachable_, true)) return;
  for (const auto& changed : reachable_changed_) changed(true);
}

void EtcdClient::server_failed(std::size_t server) {
  if (server != current_) return;  // already moved on
  current_ = (current_ + 1) % servers_.size();
  ++failures_;
  if (moved_) moved_();
  if (failures_ < servers_.size() || !std::exchange(reachable_, false)) return;
  for (const auto& changed : reachable_changed_) changed(false);
}

}  // namespace testudo::facility
