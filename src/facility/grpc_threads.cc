// SPDX-License-Identifier: Apache-2.0
#include "facility/grpc_threads.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <memory>

namespace testudo::facility {
namespace {

/// A channel that leads nowhere (no credentials) and one call on it, which takes the reference to the threads.
struct DeadChannel {
  DeadChannel() {
    stub.UnaryCall(&context, "/none", {}, &request, &response, [](const grpc::Status&) {});
  }
  std::shared_ptr<grpc::Channel> channel = grpc::CreateChannel("none", nullptr);
  grpc::GenericStub stub{channel};
  grpc::ClientContext context;
  grpc::Slice nothing{""};
  grpc::ByteBuffer request{&nothing, 1};
  grpc::ByteBuffer response;
};

}  // namespace

void keep_grpc_threads() {
  static const auto* const never_destroyed = new DeadChannel();
  static_cast<void>(never_destroyed);
}

}  // namespace testudo::facility
