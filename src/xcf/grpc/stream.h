// SPDX-License-Identifier: Apache-2.0
// One stream of Envelopes, dialled or accepted, with a bounded queue of what waits to be sent.
//
// Thread: everything public runs on the executor's thread. gRPC's threads only post there, so no state here needs a
// lock, and the next read begins when the last message has been dealt with: a peer cannot fill our memory.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "facility/in_flight.h"
#include "xcf/messages.pb.h"

namespace testudo::xcf {

class Stream : public std::enable_shared_from_this<Stream> {
 public:
  struct Limits {
    std::size_t messages;
    std::size_t bytes;
  };
  /// After `ended` nothing comes any more. Neither runs after close().
  struct Events {
    std::function<void(const v1::Envelope&)> received;
    std::function<void(const grpc::Status&)> ended;
  };

  Stream(Executor& executor, std::shared_ptr<facility::InFlight> in_flight, Limits limits);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  /// Begins to read.
  void begin(Events events);
  /// Reports to somebody else from now on.
  void on_events(Events events) {
    if (state_ != State::kClosed) events_ = std::move(events);
  }
  /// False, and nothing queued: closed, or the queue is full.
  bool send(const v1::Envelope& message);
  /// Ends the stream; an accepted one tells the peer `status`.
  void close(const grpc::Status& status);
  [[nodiscard]] virtual std::vector<std::string> peer_names() const = 0;

 protected:
  // The reactor's operations.
  virtual void start_read(grpc::ByteBuffer* into) = 0;
  virtual void start_write(const grpc::ByteBuffer* from) = 0;
  /// Gives the stream up: no operation is started any more. Once.
  virtual void release(const grpc::Status& status, bool abort) = 0;

  // The reactor's reports, on gRPC's threads.
  void read_done(bool ok);
  void write_done(bool ok);
  void done(const grpc::Status& status);

  void set_self(std::shared_ptr<Stream> self) { self_ = std::move(self); }

 private:
  enum class State { kOpen, kEnding, kClosed };  // kEnding: the peer has ended it, its status is still to come

  void handle_read(bool ok);
  void handle_write(bool ok);
  void handle_done(const grpc::Status& status);
  void write_next();

  Executor& executor_;
  std::shared_ptr<facility::InFlight> in_flight_;
  Limits limits_;
  Events events_;
  State state_ = State::kOpen;
  grpc::ByteBuffer incoming_;
  std::deque<grpc::ByteBuffer> queue_;  // the first is being written while writing_
  std::size_t queued_bytes_ = 0;
  bool writing_ = false;
  std::shared_ptr<Stream> self_;  // until gRPC is done with it
};

}  // namespace testudo::xcf
