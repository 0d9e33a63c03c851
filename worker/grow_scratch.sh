#!/bin/bash
# On a worker, as a service: makes the scratch volume larger before it is full.
#
# EBS takes four changes of a volume a day, one after the other; so each one doubles it.
# Settings: SCRATCH_MAX_GIB, the device in SCRATCH. `once` looks once, for tests.
set -uo pipefail

: "${SCRATCH_MAX_GIB:?}" "${SCRATCH:?}"
MOUNT=${ROOT:-}/scratch
FULL_PERCENT=${FULL_PERCENT:-70}
GIB=$((1 << 30))

say() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*"; }

used_percent() { df --output=pcent "$MOUNT" | tail -n 1 | tr -dc 0-9; }

size_gib() { echo $(($(blockdev --getsize64 "$SCRATCH") / GIB)); }

# The serial number of an EBS disk is its volume's id, without the hyphen.
volume_id() { lsblk --nodeps --noheadings --output SERIAL "$SCRATCH" | sed -E 's/^ *vol-?/vol-/'; }

# Fails if there is reason to wait before another try.
look() {
  local size larger
  [ "$(used_percent)" -ge "$FULL_PERCENT" ] || return 0
  size=$(size_gib)
  larger=$((size * 2 < SCRATCH_MAX_GIB ? size * 2 : SCRATCH_MAX_GIB))
  [ "$larger" -gt "$size" ] || return 1
  say "Scratch is $(used_percent) % full; growing it from $size to $larger GiB"
  aws ec2 modify-volume --volume-id "$(volume_id)" --size "$larger" --output text || return 1
  for _ in $(seq 60); do
    if [ "$(size_gib)" -ge "$larger" ]; then
      xfs_growfs "$MOUNT" || return 1
      say "Scratch has $larger GiB"
      return 0
    fi
    sleep 5
  done
  say "The volume did not grow within five minutes"
  return 1
}

if [ "${1:-}" = once ]; then
  look
  exit
fi
while true; do
  if look; then sleep 15; else sleep 300; fi
done
