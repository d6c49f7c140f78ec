#!/usr/bin/env bash
# Installs what Testudo needs to build, test and demonstrate itself on Debian 12, from Debian's packages only.
# Does nothing when everything is there. A package's own service is neither started nor enabled by this script.
#
# usage: tools/setup.sh [--verbose] [--bench]     --bench: also the peers of the benchmarks
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  # build
  g++ cmake ninja-build ccache pkg-config clang clang-format clang-tidy libclang-rt-14-dev git ca-certificates
  bzip2 xz-utils  # the charon plugin needs headers from a source package
  # libraries
  libipsec-mb-dev libssl-dev libgrpc++-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev
  libprotobuf-c-dev protobuf-c-compiler libexpected-dev libtomlplusplus-dev libcli11-dev libspdlog-dev
  libfmt-dev libabsl-dev libnl-3-dev libnl-route-3-dev libnftables-dev nlohmann-json3-dev
  # tests
  libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev python3 python3-pytest python3-scapy python3-cryptography
  spin  # model checker
  # real parts
  charon-systemd strongswan-swanctl libcharon-extra-plugins libstrongswan-extra-plugins libstrongswan-standard-plugins
  etcd-server etcd-client nginx-light curl iproute2 ethtool nftables tcpdump openssl procps util-linux
  # a real Linux kernel as client, emulated
  qemu-system-x86 linux-image-amd64 busybox-static cpio kmod tshark
)

bench_packages=(libdpdk-dev python3-matplotlib)

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

verbose=no
for option in "$@"; do
  case $option in
    --verbose) verbose=yes ;;
    --bench) packages+=("${bench_packages[@]}") ;;
    *) die "no option $option: there are --verbose and --bench" ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done

# Services that a package enables when it is installed, by package.
declare -A service_of=([nginx-light]=nginx [etcd-server]=etcd [charon-systemd]=strongswan)

# policy-rc.d answers "do not start" to every service that a package would start on installation.
policy=/usr/sbin/policy-rc.d
made_policy=no
log=$(mktemp)
clean_up() {
  [ "$made_policy" = no ] || rm -f "$policy"
  rm -f "$log"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

progress() {
  local done
  done=$(grep -c '^Setting up ' "$log" || true)
  if [ "$verbose" = yes ]; then
    tail -n 1 "$log" | cut -c1-100
  elif [ "$done" -gt 0 ]; then
    say "$done packages are in"
  else
    say "fetching packages"
  fi
}

install_packages() {
  [ "$(id -u)" = 0 ] || die "needs root to install: ${missing[*]}"
  say "installing ${#missing[@]} Debian packages and what they need: ${missing[*]}"
  if [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  # A machine without a kernel in /boot does not boot from there: the one for the guest needs no initramfs (half a minute).
  compgen -G '/boot/vmlinuz-*' >/dev/null || export INITRD=No
  {
    apt-get update &&
      DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
  } >"$log" 2>&1 </dev/null &
  local pid=$! waited=0 status=0
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.5
    waited=$((waited + 1))
    [ $((waited % 20)) -ne 0 ] || progress
  done
  wait "$pid" || status=$?
  if [ "$status" != 0 ]; then
    tail -n 20 "$log" >&2
    die "apt-get failed (status $status); see above"
  fi
  keep_services_off
}

# Neither now nor after the next boot: the machine had none of them before.
keep_services_off() {
  command -v systemctl >/dev/null || return 0
  local package
  for package in "${missing[@]}"; do
    local service=${service_of[$package]:-}
    [ -z "$service" ] || systemctl disable "$service" >/dev/null 2>&1 || true
    [ -z "$service" ] || [ ! -d /run/systemd/system ] || systemctl stop "$service" >/dev/null 2>&1 || true
  done
}

[ "${#missing[@]}" = 0 ] || install_packages
[ ! -x tools/fetch-strongswan-headers.sh ] || tools/fetch-strongswan-headers.sh
