#!/usr/bin/env bash
# Fetches strongSwan's own headers, which Debian does not package, from Debian's source package of the version that is
# installed here, into build/strongswan-headers/ (outside git): the charon plugin is compiled against them. Does
# nothing when they are there already. Needs no root; apt's own lists and sources are not touched.
#
# usage: tools/fetch-strongswan-headers.sh
set -euo pipefail
cd "$(dirname "$0")/.."

target=build/strongswan-headers

say() { printf 'strongswan-headers: %s\n' "$*"; }
die() { printf 'strongswan-headers: error: %s\n' "$*" >&2; exit 1; }

installed=$(dpkg-query -W -f '${db:Status-Status} ${source:Version}' strongswan-libcharon 2>/dev/null || true)
[ "${installed%% *}" = installed ] || die "strongSwan is not installed: run tools/setup.sh, which installs it"
version=${installed#* }
[ "$(cat "$target/VERSION" 2>/dev/null || true)" != "$version" ] || exit 0

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$scratch"/{lists/partial,cache/archives/partial,sources.d,download}
# apt's downloader runs as the user _apt when apt runs as root.
chmod 755 "$scratch"
[ "$(id -u)" != 0 ] || chown _apt "$scratch/lists/partial" "$scratch/cache/archives/partial" "$scratch/download" 2>/dev/null || true

# The machine's own entries for Debian's binary packages, turned into source entries. Other vendors' entries stay out:
# an entry counts as Debian's when it offers the component "main" of a suite of this release.
codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-stable}")
suites="($codename|stable|oldstable)(-[a-z]+|/updates)*"
copy_deb822() {
  awk -v suites="^$suites\$" '
    BEGIN { RS = ""; ORS = "\n\n" }
    {
      enabled = 1; deb = main = suite = 0; out = ""
      lines = split($0, line, "\n")
      for (i = 1; i <= lines; i++) {
        if (line[i] ~ /^#/) continue
        words = split(line[i], word, /[ \t]+/)
        if (word[1] == "Enabled:" && word[2] ~ /^(no|false)$/) enabled = 0
        for (w = 2; w <= words; w++) {
          if (word[1] == "Types:" && word[w] == "deb") deb = 1
          if (word[1] == "Components:" && word[w] == "main") main = 1
          if (word[1] == "Suites:" && word[w] ~ suites) suite = 1
        }
        out = out (out == "" ? "" : "\n") (word[1] == "Types:" ? "Types: deb-src" : line[i])
      }
      if (enabled && deb && main && suite) print out
    }' "$1"
}
copy_one_line() {
  sed -nE "s#^[[:space:]]*deb([[:space:]]+(\\[[^]]*\\][[:space:]]+)?[^[:space:]]+[[:space:]]+${suites}[[:space:]]+(.*[[:space:]])?main([[:space:]].*)?)\$#deb-src\\1#p" "$1"
}

shopt -s nullglob
etc=${APT_ETC:-/etc/apt}
number=0
for file in "$etc"/sources.list.d/*.sources; do
  number=$((number + 1))
  copy_deb822 "$file" >"$scratch/sources.d/$number.sources"
done
for file in "$etc"/sources.list "$etc"/sources.list.d/*.list; do
  [ -r "$file" ] || continue
  number=$((number + 1))
  copy_one_line "$file" >"$scratch/sources.d/$number.list"
done
find "$scratch/sources.d" -type f -size 0 -delete
[ -n "$(ls "$scratch/sources.d")" ] ||
  die "no enabled entry for Debian $codename, component main, in $etc/sources.list or $etc/sources.list.d"

options=(-qq
  -o "Dir::Etc::SourceList=/dev/null"
  -o "Dir::Etc::SourceParts=$scratch/sources.d"
  -o "Dir::State::Lists=$scratch/lists"
  -o "Dir::Cache=$scratch/cache"
  -o "Acquire::Languages=none"
  -o "Acquire::Retries=2")

# One unreachable source must not stop this; whether strongSwan was found is seen below.
apt-get "${options[@]}" update >"$scratch/log" 2>&1 || true
(cd "$scratch/download" && apt-get "${options[@]}" source --tar-only --download-only "strongswan=$version") \
  >>"$scratch/log" 2>&1 || true

archives=("$scratch"/download/strongswan_*.orig.tar.*)
for i in "${!archives[@]}"; do [[ ${archives[$i]} != *.asc ]] || unset "archives[$i]"; done
archives=("${archives[@]}")
if [ "${#archives[@]}" = 0 ]; then
  tail -n 10 "$scratch/log" >&2
  die "no source of strongswan $version in the configured Debian archives (see above): is the network there?" \
      "Is the installed version still in the archive? (apt-get update && apt-get install --only-upgrade charon-systemd)"
fi

rm -rf "$target.new"
mkdir -p "$target.new"
tar -xf "${archives[0]}" -C "$target.new" --strip-components=2 --wildcards '*/src/libstrongswan/*.h' '*/src/libcharon/*.h'
[ -f "$target.new/libcharon/kernel/kernel_ipsec.h" ] || die "${archives[0]##*/} has no libcharon/kernel/kernel_ipsec.h"
printf '%s\n' "$version" >"$target.new/VERSION"
rm -rf "$target"
mv "$target.new" "$target"
say "the headers of strongSwan $version are in $target"
