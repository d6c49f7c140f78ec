// SPDX-License-Identifier: Apache-2.0
#include "xcf/grpc/stream.h"

#include <utility>

#include "xcf/grpc/codec.h"
#include "xcf/hello_check.h"

namespace testudo::xcf {

Stream::Stream(Executor& executor, std::shared_ptr<facility::InFlight> in_flight, Limits limits)
    : executor_(executor), in_flight_(std::move(in_flight)), limits_(limits) {
  in_flight_->began();
}

void Stream::begin(Events events) {
  if (state_ != State::kOpen) return;
  events_ = std::move(events);
  start_read(&incoming_);
}

bool Stream::send(const v1::Envelope& message) {
  if (state_ != State::kOpen) return false;
  grpc::ByteBuffer buffer = serialize(message);
  if (queue_.size() >= limits_.messages || queued_bytes_ + buffer.Length() > limits_.bytes) return false;
  queued_bytes_ += buffer.Length();
  queue_.push_back(std::move(buffer));
  write_next();
  return true;
}

void Stream::write_next() {
  if (writing_ || queue_.empty() || state_ != State::kOpen) return;
  writing_ = true;
  start_write(&queue_.front());
}

void Stream::close(const grpc::Status& status) {
  const State before = std::exchange(state_, State::kClosed);
  events_ = {};
  if (before != State::kOpen) return;
  // A refusal must reach the peer; anything else may be cut off, so that a peer that does not read holds nothing
  // up.
  release(status, status.error_code() != grpc::StatusCode::FAILED_PRECONDITION);
}

void Stream::read_done(bool ok) {
  executor_.post([self = shared_from_this(), ok] { self->handle_read(ok); });
}

void Stream::write_done(bool ok) {
  executor_.post([self = shared_from_this(), ok] { self->handle_write(ok); });
}

void Stream::done(const grpc::Status& status) {
  executor_.post([self = shared_from_this(), status] { self->handle_done(status); });
  const auto in_flight = in_flight_;
  const auto self = std::move(self_);
  in_flight->ended();
}

void Stream::handle_read(bool ok) {
  if (state_ != State::kOpen) return;
  if (!ok) {
    state_ = State::kEnding;
    return release(grpc::Status::OK, /*abort=*/false);
  }
  v1::Envelope message;
  if (!parse(incoming_, message)) {
    const auto ended = events_.ended;
    const grpc::Status status(grpc::StatusCode::INVALID_ARGUMENT, "the peer sent something that is no XCF message");
    close(status);
    return ended(status);
  }
  incoming_.Clear();
  const auto received = events_.received;  // may close this stream
  received(message);
  zero_keys(message);
  if (state_ == State::kOpen) start_read(&incoming_);
}

void Stream::handle_write(bool ok) {
  writing_ = false;
  queued_bytes_ -= queue_.front().Length();
  queue_.pop_front();
  if (ok) write_next();  // if not, the read fails as well, and ends the stream
}

void Stream::handle_done(const grpc::Status& status) {
  const bool tell = state_ != State::kClosed && events_.ended;
  state_ = State::kClosed;
  const Events events = std::exchange(events_, {});
  if (tell) events.ended(status);
}

}  // namespace testudo::xcf
