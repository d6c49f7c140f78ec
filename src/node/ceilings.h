// SPDX-License-Identifier: Apache-2.0
// Ceilings: sets sequence numbers aside in the coupling facility before the sequencer grants them (spec E2, E5), so
// that an owner that comes after this one starts where no number was ever granted. A write counts only while the
// DVIPA's owner key is the one of our epoch.
//
//   ceilings.reserve({.sa = id, .dvipa = d, .epoch = e, .last = n}, [](SeqNo last) { submit(SetCeiling{…}); });
//   ceilings.forget(id);                // the SA is gone
//
// Keys: ceiling/SAID (16 hexadecimal digits), a decimal number. Runs on the node's Executor alone.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/address.h"
#include "base/executor.h"
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

  /// Goes on until it is done, the SA is forgotten, or the epoch is over.
  void reserve(const Request& request);
  /// Deletes the SA's key.
  void forget(SaId sa);
  /// Reservations that the facility has not answered yet: with it out of reach they stand still.
  [[nodiscard]] std::size_t waiting() const;

 private:
  struct Ceiling {
    Request request;              // the newest
    facility::Revision revision;  // of our last write
    SeqNo done;                   // highest number set aside
    bool under_way = false;
    bool noted = false;  // the log has been told that it takes longer
  };

  void write(SaId sa);
  void answered(SaId sa, SeqNo last, const Result<facility::CasOutcome>& outcome);
  void later(SaId sa);
  [[nodiscard]] std::string key(SaId sa) const;

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
