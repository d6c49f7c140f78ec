// SPDX-License-Identifier: Apache-2.0
#include "xcf/grpc/client_stream.h"

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/client_callback.h>

#include <utility>

#include "xcf/grpc/credentials.h"

namespace testudo::xcf {
namespace {

constexpr const char* kMethod = "/testudo.xcf.v1.Xcf/Exchange";

/// Bytes, not messages, go to gRPC: the serialized form stays ours to zero.
class ClientStream final : public Stream, public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  ClientStream(std::shared_ptr<grpc::Channel> channel, Executor& executor,
               std::shared_ptr<facility::InFlight> in_flight, Limits limits)
      : Stream(executor, std::move(in_flight), limits), channel_(std::move(channel)), stub_(channel_) {}

  void start() {
    set_self(shared_from_this());
    stub_.PrepareBidiStreamingCall(&context_, kMethod, {}, this);
    AddHold();  // until release(): operations are started from the executor's thread
    StartCall();
  }

  [[nodiscard]] std::vector<std::string> peer_names() const override {
    return certificate_names(context_.auth_context().get());
  }

  void OnReadDone(bool ok) override { read_done(ok); }
  void OnWriteDone(bool ok) override { write_done(ok); }
  void OnDone(const grpc::Status& status) override { done(status); }

 private:
  void start_read(grpc::ByteBuffer* into) override { StartRead(into); }
  void start_write(const grpc::ByteBuffer* from) override { StartWrite(from); }
  void release(const grpc::Status&, bool abort) override {
    if (abort) context_.TryCancel();
    RemoveHold();
  }

  std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
};

}  // namespace

std::shared_ptr<Stream> dial(std::shared_ptr<grpc::Channel> channel, Executor& executor,
                             std::shared_ptr<facility::InFlight> in_flight, Stream::Limits limits) {
  auto stream = std::make_shared<ClientStream>(std::move(channel), executor, std::move(in_flight), limits);
  stream->start();
  return stream;
}

}  // namespace testudo::xcf
