#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the certificates of a cluster: a CA, one certificate per node, and one for etcd. Every certificate serves as TLS
# server and as TLS client. Run again with the same DIR and CLUSTER it adds what is missing and leaves the rest.
#
# usage: tools/make-certificates.sh DIR CLUSTER NAME=ADDRESS…
#   NAME      a node's name, as in its configuration; `etcd` for the coupling facility
#   ADDRESS   its IPv4 address on the XCF network
#   e.g.      tools/make-certificates.sh /etc/testudo/tls c1 owner=10.77.0.1 t1=10.77.0.2 etcd=10.77.0.9
#
# Writes DIR/ca.{key,crt}, DIR/NAME.{key,crt} and DIR/etcd.{key,crt} (etcd also for localhost). Keys are EC P-256, mode 600.
# Give each host ca.crt and its own two files; keep ca.key off the hosts.
set -euo pipefail
umask 077

days_node=825
days_ca=3650

say() { printf 'make-certificates: %s\n' "$*"; }
die() { printf 'make-certificates: error: %s\n' "$*" >&2; exit 1; }

[ $# -ge 3 ] || die "usage: $0 DIR CLUSTER NAME=ADDRESS…"
command -v openssl >/dev/null || die "openssl is missing: apt-get install openssl"
dir=$1 cluster=$2
shift 2
[[ $cluster =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$ ]] ||
  die "'$cluster' is no cluster name: up to 32 letters, digits, dots and dashes"
subject="Testudo $cluster CA"

is_ipv4() {
  local IFS=. octet
  [[ $1 =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ ]] || return 1
  for octet in $1; do [ "$((10#$octet))" -le 255 ] || return 1; done
}

declare -A address=()
order=()
for pair in "$@"; do
  name=${pair%%=*}
  [[ $pair == *=* && $name =~ ^[a-z0-9][a-z0-9-]{0,31}$ ]] ||
    die "'$pair': write NAME=ADDRESS, the name in lower case letters, digits and dashes"
  [ "$name" != ca ] || die "a node cannot be called 'ca': that is the authority's file name"
  is_ipv4 "${pair#*=}" || die "'$pair': '${pair#*=}' is no IPv4 address"
  [ -z "${address[$name]:-}" ] || die "$name is given twice"
  address[$name]=${pair#*=}
  order+=("$name")
done
[ -n "${address[etcd]:-}" ] || [ -e "$dir/etcd.crt" ] || { address[etcd]=127.0.0.1; order+=(etcd); }

# Everything is checked before anything is written.
subject_of() { openssl x509 -in "$1" -noout -subject -nameopt multiline | sed -n 's/ *commonName *= //p'; }
names_of() {
  local text="DNS:$1, IP Address:${address[$1]}"
  [ "$1" != etcd ] || text="$text, DNS:localhost"
  [ "$1" != etcd ] || [ "${address[etcd]}" = 127.0.0.1 ] || text="$text, IP Address:127.0.0.1"
  printf '%s' "$text"
}
if [ -e "$dir/ca.crt" ] || [ -e "$dir/ca.key" ]; then
  [ -e "$dir/ca.crt" ] && [ -e "$dir/ca.key" ] ||
    die "$dir has only one of ca.crt and ca.key: bring back the other one, or use another directory"
  found=$(subject_of "$dir/ca.crt") || die "$dir/ca.crt is no certificate: use another directory"
  [ "$found" = "$subject" ] || die "$dir already holds '$found': use another directory for cluster '$cluster'"
fi
for name in "${order[@]}"; do
  [ -e "$dir/$name.crt" ] || continue
  present=$(openssl x509 -in "$dir/$name.crt" -noout -ext subjectAltName | sed -n '2s/^ *//p')
  [ "$present" = "$(names_of "$name")" ] ||
    die "$dir/$name.crt is for $present: remove $name.crt and $name.key first if $name is now at ${address[$name]}"
done

mkdir -p "$dir"
work=$(mktemp -d "$dir/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

if [ ! -e "$dir/ca.crt" ]; then
  new_key "$work/ca.key"
  openssl req -x509 -new -key "$work/ca.key" -sha256 -days "$days_ca" -subj "/CN=$subject" -out "$work/ca.crt" \
    -addext 'basicConstraints=critical,CA:TRUE,pathlen:0' -addext 'keyUsage=critical,keyCertSign,cRLSign'
  chmod 644 "$work/ca.crt"
  mv "$work/ca.key" "$work/ca.crt" "$dir/"
  say "made the CA of cluster $cluster in $dir"
fi

for name in "${order[@]}"; do
  if [ -e "$dir/$name.crt" ] && [ -e "$dir/$name.key" ]; then
    say "kept $name"
    continue
  fi
  new_key "$work/$name.key"
  openssl req -new -key "$work/$name.key" -subj "/CN=$name" -out "$work/$name.csr"
  {
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n'
    printf 'extendedKeyUsage=serverAuth,clientAuth\n'
    printf 'subjectAltName=%s\n' "$(names_of "$name" | sed 's/IP Address:/IP:/g; s/, /,/g')"
  } >"$work/$name.ext"
  serial=0x$(openssl rand -hex 16 | sed 's/^./1/')
  openssl x509 -req -in "$work/$name.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -sha256 -days "$days_node" \
    -set_serial "$serial" -extfile "$work/$name.ext" -out "$work/$name.crt" 2>/dev/null
  chmod 644 "$work/$name.crt"
  mv "$work/$name.key" "$work/$name.crt" "$dir/"
  say "made $name (${address[$name]})"
done
