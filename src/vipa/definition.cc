// SPDX-License-Identifier: Apache-2.0
#include "vipa/definition.h"

#include <algorithm>
#include <iterator>

namespace testudo::vipa {
namespace {

template <typename T>
const T* find_address(const std::vector<T>& list, IpAddress address) {
  const auto found = std::find_if(list.begin(), list.end(), [&](const T& t) { return t.address == address; });
  return found == list.end() ? nullptr : &*found;
}

}  // namespace

const Define* Definition::find_define(IpAddress address) const { return find_address(defines, address); }

const Backup* Definition::find_backup(IpAddress address) const { return find_address(backups, address); }

std::vector<Distribute> Definition::distributes_of(IpAddress address) const {
  std::vector<Distribute> out;
  std::copy_if(distributes.begin(), distributes.end(), std::back_inserter(out),
               [&](const Distribute& d) { return d.address == address; });
  return out;
}

}  // namespace testudo::vipa
