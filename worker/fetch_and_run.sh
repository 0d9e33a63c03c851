#!/bin/bash
# In a task's container: fetches the script that Cromwell stored for the job, and runs it.
#
# Cromwell's job definitions mount this file and the AWS CLI from the worker, and set
# BATCH_FILE_TYPE=script and BATCH_FILE_S3_URL=s3://bucket/key. The image is the user's:
# bash, mktemp, wc, chmod and sleep are all that is taken for granted.
set -uo pipefail

AWS=${FETCH_AWS:-/usr/local/aws-cli/v2/current/bin/aws}
TRIES=5
folder=

say() { printf 'fetch_and_run: %s\n' "$*" >&2; }

stop() {
  say "$*"
  exit 1
}

# shellcheck disable=SC2317 # the trap calls it
clean() {
  if [ -n "$folder" ] && [ -z "${KEEP_BATCH_FILE_CONTENTS:-}" ]; then rm -rf "$folder"; fi
}

# A file that is there and whole, or a failure.
fetch() {
  local bucket=${1#s3://} key size
  key=${bucket#*/}
  bucket=${bucket%%/*}
  size=$("$AWS" s3api get-object --bucket "$bucket" --key "$key" \
    --query ContentLength --output text "$2") || return 1
  if [ "$(($(wc -c <"$2")))" != "$size" ]; then
    say "$1 has $size bytes, and $(($(wc -c <"$2"))) arrived"
    return 1
  fi
}

fetch_patiently() {
  local try
  for try in $(seq "$TRIES"); do
    if fetch "$1" "$2"; then return; fi
    if [ "$try" -lt "$TRIES" ]; then sleep $((try * 5 + RANDOM % 5)); fi
  done
  stop "$1 could not be fetched in $TRIES tries. See the words of the AWS CLI above."
}

[ "${BATCH_FILE_TYPE:-}" = script ] ||
  stop "BATCH_FILE_TYPE is '${BATCH_FILE_TYPE:-}'; only 'script' is run here."
[[ "${BATCH_FILE_S3_URL:-}" == s3://?*/?* ]] ||
  stop "BATCH_FILE_S3_URL is '${BATCH_FILE_S3_URL:-}', which names no object in S3."
[ -x "$AWS" ] || stop "There is no AWS CLI at $AWS: the worker was not provisioned."

trap clean EXIT
folder=$(mktemp -d) || stop "No folder could be made in ${TMPDIR:-/tmp}: is the disk full?"
fetch_patiently "$BATCH_FILE_S3_URL" "$folder/script"
chmod u+x "$folder/script"

# In the background, so that Batch's TERM reaches the script and not only this shell.
"$folder/script" "$@" &
script=$!
trap 'kill -TERM "$script" 2>/dev/null' TERM INT
wait "$script"
code=$?
while kill -0 "$script" 2>/dev/null; do # a signal ends `wait`, not the script
  wait "$script"
  code=$?
done
exit "$code"
