// SPDX-License-Identifier: Apache-2.0
#include "xcf/grpc/listener.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <mutex>
#include <set>
#include <utility>

#include "xcf/messages.grpc.pb.h"

namespace testudo::xcf {
namespace {

/// Bytes, not messages, go to gRPC: the serialized form stays ours to zero.
class ServerStream final : public Stream, public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  ServerStream(grpc::CallbackServerContext* context, Executor& executor,
               std::shared_ptr<facility::InFlight> in_flight, Limits limits)
      : Stream(executor, std::move(in_flight), limits),
        context_(context),
        names_(certificate_names(context->auth_context().get())) {}

  void keep() { set_self(shared_from_this()); }
  [[nodiscard]] std::vector<std::string> peer_names() const override { return names_; }

  void OnReadDone(bool ok) override { read_done(ok); }
  void OnWriteDone(bool ok) override { write_done(ok); }
  void OnDone() override { done({grpc::StatusCode::UNAVAILABLE, "the peer closed the connection"}); }

 private:
  void start_read(grpc::ByteBuffer* into) override { StartRead(into); }
  void start_write(const grpc::ByteBuffer* from) override { StartWrite(from); }
  void release(const grpc::Status& status, bool abort) override {
    if (abort || status.ok()) context_->TryCancel();  // OK: the peer has ended the stream and wants no status
    Finish(status);                                   // from now on gRPC may end `context_`
  }

  grpc::CallbackServerContext* context_;
  std::vector<std::string> names_;
};

class GrpcListener final : public Listener, v1::Xcf::WithRawCallbackMethod_Exchange<v1::Xcf::Service> {
 public:
  GrpcListener(const GrpcOptions& options, Executor& executor, std::shared_ptr<facility::InFlight> in_flight)
      : executor_(executor),
        in_flight_(std::move(in_flight)),
        limits_{.messages = options.queue_messages, .bytes = options.queue_bytes},
        address_(options.listen.address) {}
  ~GrpcListener() override;

  Result<void> start(const GrpcOptions& options, const Credentials& credentials);
  void on_accept(Accept accept) override { accept_ = std::move(accept); }
  [[nodiscard]] Endpoint endpoint() const override {
    return {.address = address_, .port = static_cast<std::uint16_t>(port_)};
  }

 private:
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Exchange(
      grpc::CallbackServerContext* context) override;
  void hand_over(const std::shared_ptr<Stream>& stream);

  Executor& executor_;
  std::shared_ptr<facility::InFlight> in_flight_;
  Stream::Limits limits_;
  IpAddress address_;
  int port_ = 0;
  Accept accept_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
  std::unique_ptr<grpc::Server> server_;

  std::mutex mutex_;  // guards what follows: accepted by gRPC, not yet handed over
  bool stopping_ = false;
  std::set<std::shared_ptr<Stream>> accepted_;
};

const grpc::Status& stopping() {
  static const grpc::Status status(grpc::StatusCode::UNAVAILABLE, "the node is stopping or not yet started");
  return status;
}

Result<void> GrpcListener::start(const GrpcOptions& options, const Credentials& credentials) {
  grpc::ServerBuilder builder;
  set_up_transport(options, builder);
  builder.AddListeningPort(options.listen.to_string(), credentials.server, &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  if (server_ && port_ != 0) return {};
  return fail(
      "cannot listen on " + options.listen.to_string() +
      " for XCF control streams: the address must be this host's, the port free, and key and certificate in " +
      options.key_file + " and " + options.certificate_file + " must belong together");
}

GrpcListener::~GrpcListener() {
  alive_.reset();
  std::set<std::shared_ptr<Stream>> waiting;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting.swap(accepted_);
  }
  for (const auto& stream : waiting) stream->close(stopping());
  if (server_) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
}

// On one of gRPC's threads.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* GrpcListener::Exchange(
    grpc::CallbackServerContext* context) {
  auto stream = std::make_shared<ServerStream>(context, executor_, in_flight_, limits_);
  stream->keep();
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) {
      accepted_.insert(stream);
      executor_.post([this, alive = std::weak_ptr(alive_), stream] {
        if (!alive.expired()) hand_over(stream);
      });
      return stream.get();
    }
  }
  stream->close(stopping());
  return stream.get();
}

void GrpcListener::hand_over(const std::shared_ptr<Stream>& stream) {
  {
    const std::lock_guard lock(mutex_);
    accepted_.erase(stream);
  }
  if (accept_) {
    accept_(stream);
  } else {
    stream->close(stopping());
  }
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::bind(const GrpcOptions& options, const Credentials& credentials,
                                                 Executor& executor,
                                                 std::shared_ptr<facility::InFlight> in_flight) {
  auto listener = std::make_unique<GrpcListener>(options, executor, std::move(in_flight));
  if (auto started = listener->start(options, credentials); !started) return tl::unexpected<Error>(started.error());
  return listener;
}

}  // namespace testudo::xcf
