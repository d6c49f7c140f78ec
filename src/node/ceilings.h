// SPDX-License-Identifier: Apache-2.0
// Ceilings: sets sequence numbers aside in the coupling facility before the sequencer grants them (spec E2, E5), so
// that an owner that comes after this one starts where no number was ever granted. A write counts only while the
// DVIPA's owner key is the one of our epoch.
//
//   ceilings.reserve({.sa = id, .dvipa = d, .epoch = e, .last = n}, [](SeqNo last) { submit(SetCeiling{…}); });
//   ceilings.forget(id);                // the SA is gone
//
// Of an SA whose key comes again (ike/manual_sa.h) the numbers have a name that does too. It is opened before the
// SA is installed, which then begins behind whatever was set aside under that name, by whomever, whenever:
//
//   ceilings.open({.name = ike::sequence_name(sa), .dvipa = d, .epoch = e, .mark = rng.next()},
//   [](Result<Ceilings::Opened> opened) {
//     install(sa, opened->first());
//     ceilings.adopt(id, *opened);
//   });
//
// Keys: ceiling/SAID (16 hexadecimal digits), a decimal number, deleted with the SA. manual-ceiling/NAME, the
// number and who has opened it last; never deleted, and nobody else raises it. Runs on the node's Executor alone.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/address.h"
#include "base/executor.h"
#include "base/result.h"
#include "base/strong.h"
#include "facility/facility.h"

namespace testudo::node {

class Ceilings {
 public:
  struct Request {
    SaId sa;
    IpAddress dvipa;
    Epoch epoch;
    SeqNo last;  // set aside up to and including this number
  };
  using Reserved = std::function<void(SaId sa, SeqNo last)>;

  /// `owner_key`: of a DVIPA's owner key in the facility. `reserved` runs after each successful write.
  Ceilings(facility::Facility& facility, Executor& executor, std::string prefix,
           std::function<std::string(IpAddress)> owner_key, Reserved reserved,
           std::function<void(const std::string&)> note);
  ~Ceilings();

  /// Numbers of a name, found and taken over.
  struct Name {
    std::string name;
    IpAddress dvipa;
    Epoch epoch;
    std::uint64_t mark = 0;  // random: whose the numbers are from now on
  };
  struct Opened {
    std::string name;
    std::string holder;           // the mark
    facility::Revision revision;  // of its write
    SeqNo done;                   // set aside before
    [[nodiscard]] SeqNo first() const { return SeqNo(done.value() + 1); }
  };
  /// One attempt. From its success on nobody who has opened the name before raises its ceiling: should they still
  /// send, then within what is below `first()`.
  void open(const Name& name, std::function<void(Result<Opened>)> done);
  /// The SA's numbers are these.
  void adopt(SaId sa, const Opened& opened);

  /// What a former owner has set aside for an SA.
  struct Inherited {
    SeqNo last;  // kUnknown: what is there is no number, so nobody knows what was granted
    facility::Revision revision;
  };
  static constexpr SeqNo kUnknown{~std::uint64_t{0}};
  /// Takeover: what the keys of all SAs begin with that were made under the same epoch as this one
  /// (ike/installation.h), and what such a key says. Nothing: it is not the key of an SA.
  [[nodiscard]] static std::string keys_beside(const std::string& prefix, SaId sa);
  [[nodiscard]] static std::optional<std::pair<SaId, Inherited>> read(const facility::Entry& entry);
  void inherit(SaId sa, const Inherited& inherited);

  /// Goes on until it is done, the SA is forgotten, or the epoch is over.
  void reserve(const Request& request);
  /// Deletes the SA's key, if it is not one of a name.
  void forget(SaId sa);
  /// The SA is another owner's now, and with it what its key says.
  void abandon(SaId sa) { ceilings_.erase(sa); }
  /// Reservations that the facility has not answered yet: with it out of reach they stand still.
  [[nodiscard]] std::size_t waiting() const;

 private:
  struct Ceiling {
    Request request;              // the newest
    facility::Revision revision;  // of our last write
    SeqNo done;                   // highest number set aside
    bool under_way = false;
    bool noted = false;  // the log has been told that it takes longer
    // Of a name:
    std::string name;
    std::string holder;
    bool lost = false;  // it is somebody else's now: no more numbers, ever
  };
  struct Write {
    SaId sa;
    SeqNo last;
    std::string key;
    bool named = false;
  };

  void write(SaId sa);
  void answered(const Write& write, const Result<facility::CasOutcome>& outcome);
  void refused(SaId sa, Ceiling& ceiling, const std::optional<facility::Entry>& current);
  void later(SaId sa);
  void take_over(const Name& name, const Result<facility::Facility::Listing>& found,
                 const std::function<void(Result<Opened>)>& done);
  [[nodiscard]] std::string key(SaId sa) const;
  [[nodiscard]] std::string key(const std::string& name) const;

  facility::Facility& facility_;
  Executor& executor_;
  std::string prefix_;
  std::function<std::string(IpAddress)> owner_key_;
  Reserved reserved_;
  std::function<void(const std::string&)> note_;
  std::map<SaId, Ceiling> ceilings_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace testudo::node
