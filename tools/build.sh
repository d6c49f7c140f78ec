#!/usr/bin/env bash
# Configures and builds one preset with a line of progress every few seconds; on failure the compiler's words follow.
#
# usage: tools/build.sh [PRESET [TARGET...]]      presets: release (default), asan, tsan, fuzz
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true
directory=build/$preset
log=$directory/build.log
mkdir -p "$directory"

if ! cmake --preset "$preset" >"$directory/configure.log" 2>&1; then
  cat "$directory/configure.log" >&2
  echo "build: error: cmake --preset $preset failed; see above" >&2
  exit 1
fi

progress() { # [done/total], as ninja writes it, when it has moved
  local now
  now=$(grep -oE '^\[[0-9]+/[0-9]+\]' "$log" | tail -n 1 || true)
  if [ -n "$now" ] && [ "$now" != "${shown:-}" ]; then
    printf 'build: %s %s\n' "$preset" "$now"
    shown=$now
  fi
}

NINJA_STATUS='[%f/%t] ' ninja -C "$directory" "$@" >"$log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true' EXIT
waited=0
while kill -0 "$pid" 2>/dev/null; do
  sleep 0.2
  waited=$((waited + 1))
  [ $((waited % 25)) -ne 0 ] || progress
done
status=0
wait "$pid" || status=$?
trap - EXIT
if [ "$status" != 0 ]; then
  sed -n '/^FAILED:/,$p' "$log" | head -n 200 >&2
  echo "build: error: preset $preset failed; the whole output is in $log" >&2
  exit 1
fi
if [ "$waited" -ge 25 ]; then echo "build: $preset is up to date"; fi
