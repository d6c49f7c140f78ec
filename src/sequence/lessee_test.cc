// SPDX-License-Identifier: Apache-2.0
#include "sequence/lessee.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <string>

#include "sequence/transcript.h"

namespace testudo::sequence {
namespace {

constexpr NodeId kSelf(2), kOwner(1);
constexpr std::uint32_t kIncarnation = 77;
constexpr IpAddress kDvipa(1);

std::string range(std::uint64_t first, std::uint64_t last) {
  return std::to_string(first) + "-" + std::to_string(last);
}

/// The lessee as the transcripts speak of it.
class Told {
 public:
  Words run(const Words& line) {
    answers_.clear();
    const SaId sa(line.size() > 1 ? number_of(line[1]) : 0);
    if (line[0] == "at") {
      now_ = Time{} + 10s + std::chrono::microseconds(sa.value());
    } else if (line[0] == "sa") {
      lessee_.add_sa(sa, {.dvipa = kDvipa, .epoch = Epoch(9), .owner = kOwner});
    } else if (line[0] == "remove") {
      lessee_.remove_sa(sa);
    } else if (line[0] == "owner") {
      lessee_.set_owner(kDvipa, Epoch(number_after(line, "epoch")), NodeId(static_cast<std::uint16_t>(sa.value())));
    } else if (line[0] == "take") {
      take(sa, static_cast<std::uint32_t>(number_of(line[2])));
    } else if (line[0] == "valid") {
      answers_.emplace_back(lessee_.still_valid(taken_[sa.value()], now_) ? "yes" : "no");
    } else if (line[0] == "sent") {
      lessee_.sent(sa, SeqNo(number_of(line[2])));
    } else if (line[0] == "grant" || line[0] == "recall") {
      receive(line);
    } else if (line[0] == "offer") {
      receive_offer(line);
    } else if (line[0] == "poll") {
      poll();
    } else {
      answers_.push_back("unknown: " + line[0]);
    }
    return answers_;
  }

 private:
  void take(SaId sa, std::uint32_t want) {
    const Numbers numbers = lessee_.take(sa, want, now_);
    if (!numbers) {
      answers_.emplace_back(lessee_.exhausted(sa) ? "nothing, ever" : "nothing");
      return;
    }
    taken_[sa.value()] = numbers;
    answers_.push_back(range(numbers.first.value(), numbers.last().value()));
  }

  void receive(const Words& line) {
    const bool grant = line[0] == "grant";
    const auto or_else = [&](const char* name, std::uint64_t value) {
      return has(line, name) ? number_after(line, name) : value;
    };
    const wire::FastHeader header{.type = grant ? wire::FastType::kLeaseGrant : wire::FastType::kLeaseRecall,
                                  .sender = NodeId(static_cast<std::uint16_t>(or_else("from", 1))),
                                  .incarnation = static_cast<std::uint32_t>(or_else("incarnation", kIncarnation)),
                                  .dvipa = kDvipa,
                                  .epoch = Epoch(or_else("epoch", 9))};
    std::array<std::uint8_t, 100> buffer;
    wire::FastWriter writer(buffer, header);
    const SaId sa(number_of(line[1]));
    if (grant) {
      (void)writer.append(wire::LeaseGrant{.sa = sa,
                                           .id = number_of(line[2]),
                                           .first = SeqNo(number_after(line, "first")),
                                           .count = static_cast<std::uint16_t>(number_after(line, "count")),
                                           .duration_us = 100'000,
                                           .shared = has(line, "shared")});
    } else {
      (void)writer.append(wire::LeaseRecall{.sa = sa, .id = lease_of(line[2])});
    }
    lessee_.receive(*wire::FastMessage::parse(writer.bytes()), now_);
    for (const SaId id : lessee_.granted()) answers_.push_back("SA " + std::to_string(id.value()) + " can go on");
  }

  void receive_offer(const Words& line) {
    wire::FastOutbox box(1);
    box.append(kSelf,
               {.type = wire::FastType::kLeaseOffer,
                .sender = kOwner,
                .incarnation = kIncarnation,
                .dvipa = kDvipa,
                .epoch = Epoch(9)},
               wire::LeaseOffer{.sa = SaId(number_of(line[1])),
                                .id = lease_of(line[2]),
                                .first = SeqNo(number_after(line, "first")),
                                .count = static_cast<std::uint16_t>(number_after(line, "count")),
                                .duration_us = 100'000,
                                .seen = number_after(line, "after"),
                                .age_us = static_cast<std::uint32_t>(number_after(line, "age"))});
    lessee_.receive(*wire::FastMessage::parse(box.datagram(0).bytes), now_);
    for (const SaId id : lessee_.granted()) answers_.push_back("SA " + std::to_string(id.value()) + " can go on");
  }

  void poll() {
    lessee_.poll(now_, outbox_);
    for (std::size_t i = 0; i < outbox_.size(); ++i) {
      const auto message = *wire::FastMessage::parse(outbox_.datagram(i).bytes);
      std::string to = "to " + std::to_string(outbox_.datagram(i).to.value()) + ":";
      for (std::size_t k = 0; k < message.count(); ++k) to += (k == 0 ? " " : "; ") + text(message, k);
      answers_.push_back(to);
    }
    outbox_.clear();
    if (lessee_.next_timer() == Time::max()) return;
    const auto wait = std::chrono::duration_cast<std::chrono::microseconds>(lessee_.next_timer() - now_);
    answers_.push_back("again in " + std::to_string(wait.count()));
  }

  static std::string text(const wire::FastMessage& message, std::size_t index) {
    const auto returned = [](std::uint64_t id, SeqNo last) {
      return "return " + lease_text(id) + (last == SeqNo() ? ", unused" : " to " + std::to_string(last.value()));
    };
    if (message.header().type == wire::FastType::kLeaseReturn) {
      const auto back = message.entry<wire::LeaseReturn>(index);
      return std::to_string(back.sa.value()) + " " + returned(back.id, back.last);
    }
    const auto request = message.entry<wire::LeaseRequest>(index);
    const std::string head = std::to_string(request.sa.value()) + " want " + std::to_string(request.want) + " #" +
                             std::to_string(request.id);
    return request.returned == 0 ? head : head + " and " + returned(request.returned, request.last);
  }

  Time now_ = Time{} + 10s;
  Lessee lessee_{kSelf, kIncarnation, {.sas_max = 8}};
  std::map<std::uint64_t, Numbers> taken_;
  wire::FastOutbox outbox_;
  Words answers_;
};

class LesseeTranscript : public testing::TestWithParam<const char*> {};

TEST_P(LesseeTranscript, ReadsAsWritten) {
  Told told;
  check_transcript(std::string("src/sequence/testdata/lessee_") + GetParam() + ".txt",
                   [&](const Words& line) { return told.run(line); });
}

INSTANTIATE_TEST_SUITE_P(Files, LesseeTranscript,
                         testing::Values("exclusive", "shared", "deadline", "lost", "stale", "exhaustion",
                                         "offers"));

}  // namespace
}  // namespace testudo::sequence
