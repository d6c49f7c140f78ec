// SPDX-License-Identifier: Apache-2.0
// The listening side: accepts streams on one TCP port and hands them over on the executor's thread.
#pragma once

#include <functional>
#include <memory>

#include "base/result.h"
#include "xcf/grpc/credentials.h"
#include "xcf/grpc/grpc_bus.h"
#include "xcf/grpc/stream.h"

namespace testudo::xcf {

class Listener {
 public:
  using Accept = std::function<void(std::shared_ptr<Stream>)>;

  /// Binds at once; a stream that comes before on_accept() was called is turned away.
  static Result<std::unique_ptr<Listener>> bind(const GrpcOptions& options, const Credentials& credentials,
                                                Executor& executor, std::shared_ptr<facility::InFlight> in_flight);
  Listener() = default;
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  /// Closes every stream it accepted and waits for gRPC to let go of them.
  virtual ~Listener() = default;

  virtual void on_accept(Accept accept) = 0;
  [[nodiscard]] virtual Endpoint endpoint() const = 0;
};

}  // namespace testudo::xcf
