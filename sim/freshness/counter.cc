// SPDX-License-Identifier: Apache-2.0
// Counter: what leases are compared with. The source is a counter in the coupling facility that answers each
// request for so many numbers with the next ones; nothing is given back.
#include <cstring>
#include <deque>

#include "base/check.h"
#include "sim/freshness/numbering.h"

namespace testudo::freshness {
namespace {

struct Note {
  std::uint64_t first = 0;
  std::uint32_t count = 0;
};

Mail mail_of(std::size_t host, const Note& note) {
  Mail mail{host, std::vector<std::uint8_t>(sizeof note)};
  std::memcpy(mail.bytes.data(), &note, sizeof note);
  return mail;
}

Note note_of(const Mail& mail) {
  Note note;
  CHECK(mail.bytes.size() == sizeof note);
  std::memcpy(&note, mail.bytes.data(), sizeof note);
  return note;
}

class Counter final : public Numbering {
 public:
  explicit Counter(const Case& c) : scheme_(c.scheme), block_(c.block), hosts_(c.targets) {
    CHECK(scheme_ != Scheme::kBlocks || block_ > 1);
  }

  void receive(const Mail& mail, Time) override {
    const Note note = note_of(mail);
    Host& host = hosts_[mail.host];
    host.asked -= note.count;
    host.have += note.count;
    host.ranges.push_back(note);
  }

  sequence::Numbers take(std::size_t index, std::uint32_t want, Time) override {
    Host& host = hosts_[index];
    host.want = want;
    if (want == 0 || host.ranges.empty()) return {};
    Note& range = host.ranges.front();
    const std::uint32_t count = std::min(want, range.count);
    const sequence::Numbers numbers{.first = SeqNo(range.first), .count = count, .stop = Time::max()};
    range.first += count;
    range.count -= count;
    if (range.count == 0) host.ranges.pop_front();
    host.have -= count;
    host.want -= count;
    return numbers;
  }

  bool may_send(std::size_t, const sequence::Numbers&, Time) const override { return true; }
  void sent(std::size_t, SeqNo) override {}

  void end_turn(std::size_t index, Time, Mails& out) override {
    Host& host = hosts_[index];
    if (scheme_ == Scheme::kBlocks) {  // the next one when half of one is left
      while (host.have + host.asked < host.want + block_ / 2) ask(host, index, block_, out);
      return;
    }
    while (host.have + host.asked < host.want) {
      ask(host, index, scheme_ == Scheme::kPerPacket ? 1 : host.want - host.have - host.asked, out);
    }
  }

  Time next_turn(std::size_t) const override { return Time::max(); }

  void receive_at_source(const Mail& mail, Time, Mails& out) override {
    Note note = note_of(mail);
    note.first = next_;
    next_ += note.count;
    out.push_back(mail_of(mail.host, note));
  }

  void source_turn(Time, Mails&) override {}
  Time next_source_turn() const override { return Time::max(); }
  void expect(std::size_t, Time, Mails&) override {}
  std::uint64_t granted() const override { return next_ - 1; }
  void count_offers(Result&) const override {}

 private:
  struct Host {
    std::uint32_t have = 0, asked = 0, want = 0;  // numbers; want: still missing
    std::deque<Note> ranges;
  };
  static void ask(Host& host, std::size_t index, std::uint32_t count, Mails& out) {
    host.asked += count;
    out.push_back(mail_of(index, {.first = 0, .count = count}));
  }

  Scheme scheme_;
  std::uint32_t block_;
  std::vector<Host> hosts_;
  std::uint64_t next_ = 1;
};

}  // namespace

std::unique_ptr<Numbering> make_counter(const Case& c) { return std::make_unique<Counter>(c); }

}  // namespace testudo::freshness
