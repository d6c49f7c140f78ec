#!/usr/bin/env bash
# Installs what Testudo needs to build, test and demonstrate itself on Debian 12, from Debian's packages only.
# Does nothing when everything is there. A package's own service is neither started nor enabled by this script.
#
# usage: tools/setup.sh [--verbose]
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  # build
  g++ cmake ninja-build ccache pkg-config clang clang-format clang-tidy libclang-rt-14-dev git ca-certificates
  # libraries
  libipsec-mb-dev libssl-dev libgrpc++-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev
  libprotobuf-c-dev protobuf-c-compiler libexpected-dev libtomlplusplus-dev libcli11-dev libspdlog-dev
  libfmt-dev libabsl-dev libnl-3-dev libnl-route-3-dev libnl-idiag-3-dev libnftables-dev libcap-dev nlohmann-json3-dev
  # tests
  libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev python3 python3-pytest python3-scapy
  # real parts
  charon-systemd strongswan-swanctl libcharon-extra-plugins libstrongswan-extra-plugins libstrongswan-standard-plugins
  etcd-server etcd-client nginx-light curl iproute2 ethtool nftables tcpdump openssl procps
)

verbose=no
[ "${1:-}" = --verbose ] && verbose=yes

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done

install_packages() {
  [ "$(id -u)" = 0 ] || die "needs root to install: ${missing[*]}"
  local log=/dev/null
  log=$(mktemp)
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  # policy-rc.d answers "do not start" to every service that a package would start on installation.
  local policy=/usr/sbin/policy-rc.d made_policy=no
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=yes
  fi
  local status=0
  {
    apt-get update &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
  } >"$log" 2>&1 &
  local pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 2
    [ "$verbose" = yes ] && tail -n 1 "$log" | cut -c1-100
  done
  wait "$pid" || status=$?
  [ "$made_policy" = yes ] && rm -f "$policy"
  if [ "$status" != 0 ]; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    die "apt-get failed (status $status); see above"
  fi
  rm -f "$log"
}

[ "${#missing[@]}" = 0 ] || install_packages
tools/fetch-strongswan-headers.sh
