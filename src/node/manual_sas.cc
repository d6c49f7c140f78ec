// SPDX-License-Identifier: Apache-2.0
#include "node/manual_sas.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ike/manual_sa.h"
#include "node/static_filters.h"
#include "sequence/sequencer.h"

namespace testudo::node {
namespace {

constexpr Duration kRetry = 1s;

bool outbound(const ipsec::SaParameters& sa) { return sa.direction == ipsec::Direction::kOutbound; }

bool same_inner(const std::optional<ipsec::InnerEsp>& a, const std::optional<ipsec::InnerEsp>& b) {
  if (a.has_value() != b.has_value()) return false;
  return !a || (a->spi == b->spi && a->suite == b->suite && a->key.equals(b->key));
}

/// Names in the facility, and what a peer looks up.
bool same_name(const ipsec::SaParameters& a, const ipsec::SaParameters& b) {
  return a.direction == b.direction && ike::name_of(a) == ike::name_of(b);
}

/// All that a file says of an SA.
bool same_sa(const ipsec::SaParameters& a, const ipsec::SaParameters& b) {
  return same_name(a, b) && a.mode == b.mode && a.local == b.local && a.remote == b.remote &&
         a.tunnel == b.tunnel && a.suite == b.suite && a.key.equals(b.key) && a.replay_window == b.replay_window &&
         a.esn == b.esn && same_inner(a.inner_esp, b.inner_esp) && a.dont_fragment == b.dont_fragment &&
         a.copy_dscp == b.copy_dscp && a.limits == b.limits;
}

std::string described(const ipsec::SaParameters& sa) {
  return fmt::format("SA {:#010x} of {}", sa.spi.value(), sa.tunnel);
}

}  // namespace

std::optional<Epoch> ManualSas::epoch_of(IpAddress dvipa) const {
  const auto found = parts_.owner.owned().find(dvipa);
  return found == parts_.owner.owned().end() ? std::nullopt : std::optional(found->second.epoch);
}

// ---- load ----

ManualSas::File ManualSas::prepared(ManualFile file) const {
  File out{.sas = {}, .filters = std::move(file.filters)};
  const NodeConfig::Ipsec& defaults = parts_.config.ipsec;
  const auto old = files_.find(file.path);
  for (ipsec::SaParameters& sa : file.sas) {
    if (sa.replay_window == 0)
      sa.replay_window = outbound(sa) ? defaults.replay_window : defaults.inbound_replay_window;
    const auto same = [&](const auto& other) { return same_sa(sa, other->parameters); };
    const SaList none;
    const SaList& before = old == files_.end() ? none : old->second.sas;
    const auto kept = std::ranges::find_if(before, same);
    out.sas.push_back(kept != before.end() ? *kept : std::make_shared<Sa>(Sa{.parameters = std::move(sa)}));
  }
  return out;
}

std::string ManualSas::conflict_with_files(const std::string& path, const SaList& sas) const {
  for (const auto& [other_path, other] : files_) {
    if (other_path == path) continue;
    for (const auto& sa : sas) {
      for (const auto& there : other.sas) {
        const auto& a = sa->parameters;
        const auto& b = there->parameters;
        const bool spi = a.direction == b.direction && a.local == b.local && a.spi == b.spi;
        const char* what = same_name(a, b) || (spi && !outbound(a))                        ? "the SPI"
                           : ike::authentication_key(a).equals(ike::authentication_key(b)) ? "the integrity-key"
                           : a.tunnel == b.tunnel                                          ? "the tunnel"
                                                                                           : nullptr;
        if (what != nullptr) return fmt::format("{} has {} of one in {}", described(a), what, other_path);
      }
    }
  }
  return "";
}

/// What charon has negotiated meanwhile.
std::string ManualSas::conflict_with_installed(const Load& load, const SaList& gone) const {
  for (const auto& sa : load.file.sas) {
    const ipsec::SaParameters& p = sa->parameters;
    const auto owned = parts_.owner.owned().find(p.local);
    if (sa->installed || owned == parts_.owner.owned().end()) continue;
    const ike::Installation& there = *owned->second.installation;
    const bool taken = outbound(p) ? there.find(ike::name_of(p)) != nullptr : there.spi_taken(p.spi);
    const bool freed = std::ranges::any_of(gone, [&](const auto& old) {
      return old->installed && old->parameters.direction == p.direction && old->parameters.local == p.local &&
             old->parameters.spi == p.spi;
    });
    if (taken && !freed) return fmt::format("{}: the SPI is in use: give it another", described(p));
  }
  return "";
}

void ManualSas::load(ManualFile file, std::function<void(Result<Loaded>)> done) {
  if (loading_ || restoring_ != 0) return done(fail("manual SAs are just being installed: try again"));
  auto load = std::make_shared<Load>();
  load->path = file.path;
  load->file = prepared(std::move(file));
  load->done = std::move(done);
  if (std::string conflict = conflict_with_files(load->path, load->file.sas); !conflict.empty())
    return load->done(fail(std::move(conflict)));
  for (const auto& [dvipa, owned] : parts_.owner.owned()) load->epochs[dvipa] = owned.epoch;
  loading_ = true;
  open_all(load);
}

void ManualSas::open_all(const std::shared_ptr<Load>& load) {
  for (const auto& sa : load->file.sas) {
    const auto epoch = load->epochs.find(sa->parameters.local);
    if (!outbound(sa->parameters) || sa->installed || sa->expired || epoch == load->epochs.end()) continue;
    ++load->outstanding;
    parts_.ceilings.open({.name = ike::sequence_name(sa->parameters),
                          .dvipa = epoch->first,
                          .epoch = epoch->second,
                          .mark = parts_.rng.next()},
                         [this, load, sa, alive = alive_](Result<Ceilings::Opened> result) {
                           if (*alive) opened(load, sa.get(), std::move(result));
                         });
  }
  if (--load->outstanding == 0) finish(*load);
}

void ManualSas::opened(const std::shared_ptr<Load>& load, Sa* sa, Result<Ceilings::Opened> result) {
  if (!result) {
    load->failed = fmt::format("{}: its sequence numbers could not be had from the coupling facility: {}",
                               described(sa->parameters), result.error().message);
  } else if (!sa->parameters.esn && result->done.value() >= sequence::kLastWithoutEsn) {
    load->failed = fmt::format(
        "{}: all sequence numbers of its key have been used: give it another integrity-key, "
        "and the peer too",
        described(sa->parameters));
  } else {
    load->opened[sa] = std::move(*result);
  }
  if (--load->outstanding == 0) finish(*load);
}

void ManualSas::finish(Load& load) {
  loading_ = false;
  for (const auto& [dvipa, epoch] : load.epochs) {
    if (load.failed.empty() && epoch_of(dvipa) != epoch)
      load.failed = fmt::format("the ownership of {} has changed meanwhile: try again", dvipa.to_string());
  }
  if (!load.failed.empty()) return load.done(fail(load.failed));
  load.done(take(load));
}

Result<ManualSas::Loaded> ManualSas::take(Load& load) {
  File& current = files_[load.path];
  SaList gone;
  std::ranges::copy_if(current.sas, std::back_inserter(gone),
                       [&](const auto& sa) { return std::ranges::find(load.file.sas, sa) == load.file.sas.end(); });
  if (std::string conflict = conflict_with_installed(load, gone); !conflict.empty()) {
    if (current.sas.empty() && current.filters.empty()) files_.erase(load.path);
    return fail(std::move(conflict));
  }
  Loaded loaded{.removed = gone.size(), .filters = load.file.filters.size()};
  for (const auto& sa : gone) remove(*sa);
  set_filters(current.filters, load.file.filters);
  current = std::move(load.file);
  for (const auto& sa : current.sas) {
    if (sa->installed || sa->expired) {
      ++loaded.kept;
      continue;
    }
    const auto numbers = load.opened.find(sa.get());
    if (!epoch_of(sa->parameters.local)) {
      ++loaded.waiting;
    } else if (auto done = install(*sa, numbers == load.opened.end() ? nullptr : &numbers->second); !done) {
      return fail(fmt::format("{}: {}", described(sa->parameters), done.error().message));
    } else {
      ++loaded.installed;
    }
  }
  parts_.log.info("manual SAs of {}: {} new, {} kept, {} removed, {} waiting for the DVIPA; {} filters", load.path,
                  loaded.installed, loaded.kept, loaded.removed, loaded.waiting, loaded.filters);
  return loaded;
}

Result<void> ManualSas::install(Sa& sa, const Ceilings::Opened* opened) {
  const auto id = parts_.owner.install_sa(sa.parameters, opened == nullptr ? SeqNo(1) : opened->first());
  if (!id) return tl::unexpected(id.error());
  if (opened != nullptr) parts_.ceilings.adopt(*id, *opened);
  sa.installed = *id;
  return {};
}

void ManualSas::remove(Sa& sa) {
  sa.dropped = true;
  if (sa.installed) parts_.owner.delete_manual_sa(*sa.installed);
  sa.installed.reset();
}

void ManualSas::set_filters(const std::vector<StaticFilter>& before, const std::vector<StaticFilter>& after) {
  for (const auto& [dvipa, owned] : parts_.owner.owned()) {
    parts_.owner.add_filters(dvipa, static_filters(after, dvipa));
    parts_.owner.delete_filters(dvipa, static_filters(before, dvipa));
  }
}

// ---- unload ----

Result<std::size_t> ManualSas::unload(const std::string& path) {
  if (loading_) return fail("manual SAs are just being installed: try again");
  const auto found = files_.find(path);
  if (found == files_.end())
    return fail(fmt::format("{} is not loaded: `testudo status` says which files are", path));
  for (const auto& sa : found->second.sas) remove(*sa);
  set_filters(found->second.filters, {});
  const std::size_t count = found->second.sas.size();
  files_.erase(found);
  parts_.log.info("manual SAs of {} unloaded: {} SAs are gone", path, count);
  return count;
}

// ---- ownership ----

void ManualSas::became_owner(IpAddress dvipa) {
  const Epoch epoch = epoch_of(dvipa).value();
  for (const auto& [path, file] : files_) {
    parts_.owner.add_filters(dvipa, static_filters(file.filters, dvipa));
    for (const auto& sa : file.sas) {
      if (sa->parameters.local != dvipa || sa->expired) continue;
      sa->installed.reset();
      ++restoring_;
      restore(sa, epoch);
    }
  }
}

/// Until it is done, or there is no reason any more.
void ManualSas::restore(const std::shared_ptr<Sa>& sa, Epoch epoch) {
  if (!outbound(sa->parameters)) return restored(sa, epoch, Ceilings::Opened{});
  parts_.ceilings.open({.name = ike::sequence_name(sa->parameters),
                        .dvipa = sa->parameters.local,
                        .epoch = epoch,
                        .mark = parts_.rng.next()},
                       [this, sa, epoch, alive = alive_](const Result<Ceilings::Opened>& opened) {
                         if (*alive) restored(sa, epoch, opened);
                       });
}

void ManualSas::restored(const std::shared_ptr<Sa>& sa, Epoch epoch, const Result<Ceilings::Opened>& opened) {
  const bool wanted = !sa->dropped && epoch_of(sa->parameters.local) == epoch;
  if (wanted && !opened) {
    parts_.executor.run_after(kRetry, [this, sa, epoch, alive = alive_] {
      if (*alive) restore(sa, epoch);
    });
    return;
  }
  --restoring_;
  if (!wanted) return;
  const auto done = install(*sa, outbound(sa->parameters) ? &*opened : nullptr);
  if (!done) parts_.log.error("{}: {}", described(sa->parameters), done.error().message);
}

void ManualSas::lost(IpAddress dvipa) {
  for (const auto& [path, file] : files_) {
    for (const auto& sa : file.sas) {
      if (sa->parameters.local == dvipa) sa->installed.reset();
    }
  }
}

void ManualSas::expired(SaId id) {
  for (const auto& [path, file] : files_) {
    for (const auto& sa : file.sas) {
      if (sa->installed != id) continue;
      sa->installed.reset();
      sa->expired = true;
    }
  }
}

std::vector<ManualSas::Shown> ManualSas::files() const {
  std::vector<Shown> list;
  for (const auto& [path, file] : files_) {
    const auto installed =
        std::ranges::count_if(file.sas, [](const auto& sa) { return sa->installed.has_value(); });
    list.push_back({.path = path,
                    .sas = file.sas.size(),
                    .installed = static_cast<std::size_t>(installed),
                    .filters = file.filters.size()});
  }
  return list;
}

}  // namespace testudo::node
