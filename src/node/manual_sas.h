// SPDX-License-Identifier: Apache-2.0
// ManualSas: the files of manual SAs and filters that an operator has loaded. What they hold is given to the
// OwnerRole whenever this node owns the DVIPA, and distributed by it like what charon negotiates.
//
//   ManualSas manual({config, executor, rng, ceilings, owner, log});
//   manual.load(load_manual_file(path, &config.definition).file, [](Result<ManualSas::Loaded> done) { … });
//   manual.unload(path);
//   manual.became_owner(dvipa); manual.lost(dvipa);       // from vipa::Ownership
//
// A load takes the whole file or nothing of it. Loaded again, what has not changed stays as it is, and goes on.
//
// (SA, sequence number) never comes twice: before an outbound SA is installed its numbers are opened in the
// coupling facility under a name that comes from its key alone (ike::sequence_name(), Ceilings::open()), and it
// begins behind whatever was ever set aside there: before a restart, at another owner, from another file.
//
// Control thread only.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "base/rng.h"
#include "node/ceilings.h"
#include "node/config.h"
#include "node/log.h"
#include "node/manual_file.h"
#include "node/owner_role.h"

namespace testudo::node {

class ManualSas {
 public:
  struct Parts {
    const NodeConfig& config;
    Executor& executor;
    Rng& rng;
    Ceilings& ceilings;
    OwnerRole& owner;
    Log& log;
  };
  /// Of one load.
  struct Loaded {
    std::size_t installed = 0;  // SAs that are new
    std::size_t kept = 0;       // and that were there
    std::size_t removed = 0;
    std::size_t waiting = 0;  // of a DVIPA that this node does not own now
    std::size_t filters = 0;
  };
  /// Of one file.
  struct Shown {
    std::string path;
    std::size_t sas = 0, installed = 0, filters = 0;
  };

  explicit ManualSas(Parts parts) : parts_(parts) {}
  ~ManualSas() { *alive_ = false; }
  ManualSas(const ManualSas&) = delete;
  ManualSas& operator=(const ManualSas&) = delete;

  /// One at a time. Answers when the facility has.
  void load(ManualFile file, std::function<void(Result<Loaded>)> done);
  /// Returns how many SAs are gone.
  Result<std::size_t> unload(const std::string& path);

  void became_owner(IpAddress dvipa);
  void lost(IpAddress dvipa);
  /// Its hard limit is reached: it does not come back by itself.
  void expired(SaId id);

  [[nodiscard]] std::vector<Shown> files() const;

 private:
  struct Sa {
    ipsec::SaParameters parameters;
    std::optional<SaId> installed{};
    bool expired = false;
    bool dropped = false;  // its file does not have it any more
  };
  using SaList = std::vector<std::shared_ptr<Sa>>;
  struct File {
    SaList sas;
    std::vector<StaticFilter> filters;
  };
  /// A load that waits for the facility.
  struct Load {
    std::string path;
    File file;
    std::function<void(Result<Loaded>)> done;
    std::map<Sa*, Ceilings::Opened> opened;
    std::map<IpAddress, Epoch> epochs;  // of the DVIPAs that were owned when it began
    std::size_t outstanding = 1;        // openings, and the asking for them
    std::string failed;
  };

  [[nodiscard]] std::optional<Epoch> epoch_of(IpAddress dvipa) const;
  [[nodiscard]] File prepared(ManualFile file) const;
  [[nodiscard]] std::string conflict_with_files(const std::string& path, const SaList& sas) const;
  [[nodiscard]] std::string conflict_with_installed(const Load& load, const SaList& gone) const;
  void open_all(const std::shared_ptr<Load>& load);
  void opened(const std::shared_ptr<Load>& load, Sa* sa, Result<Ceilings::Opened> opened);
  void finish(Load& load);
  Result<Loaded> take(Load& load);
  Result<void> install(Sa& sa, const Ceilings::Opened* opened);
  void remove(Sa& sa);
  void restore(const std::shared_ptr<Sa>& sa, Epoch epoch);
  void restored(const std::shared_ptr<Sa>& sa, Epoch epoch, const Result<Ceilings::Opened>& opened);
  void set_filters(const std::vector<StaticFilter>& before, const std::vector<StaticFilter>& after);

  Parts parts_;
  std::map<std::string, File> files_;
  bool loading_ = false;
  std::size_t restoring_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace testudo::node
