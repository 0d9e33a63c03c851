#!/bin/bash
# As user data: makes a fresh Amazon Linux 2023 the Cromwell server of its stack, or ends it.
#
# The stack has one network interface, which is the server's address. Only the machine that
# holds it goes on; so two servers never work on one database, however machines overlap.
# Whatever fails ends in termination, after a pause in which somebody may look, and Auto Scaling
# starts another. Settings come in the environment; ROOT and PAUSE are for tests.
set -uo pipefail

ROOT=${ROOT:-}
PAUSE=${PAUSE:-1}
HERE=$ROOT/opt/dropwell-server
LOG=$ROOT/var/log/dropwell-boot.log
MACHINE=$(cat "$ROOT/var/lib/cloud/data/instance-id")
: "${AWS_DEFAULT_REGION:?}" "${STACK:?}" "${ADDRESS:?}" "${PROGRAMS:?}" "${LOG_GROUP:?}"

say() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*"; }

# NAME=value by semicolons, for this script and for every unit of the server.
take_environment() {
  local pair pairs
  IFS=';' read -r -a pairs <"$HERE/environment"
  install -d "$ROOT/etc/dropwell"
  : >"$ROOT/etc/dropwell/environment"
  for pair in "${pairs[@]}"; do
    export "${pair?}"
    printf '%s="%s"\n' "${pair%%=*}" "${pair#*=}" >>"$ROOT/etc/dropwell/environment"
  done
}

# The last server may still be writing to the database: half an hour is patience enough.
claim_address() {
  local holder
  for _ in $(seq 180); do
    holder=$(aws ec2 describe-network-interfaces --network-interface-ids "$ADDRESS" \
      --query 'NetworkInterfaces[0].Attachment.InstanceId' --output text)
    case $holder in
    "$MACHINE") return 0 ;;
    None) aws ec2 attach-network-interface --network-interface-id "$ADDRESS" \
      --instance-id "$MACHINE" --device-index 1 --output text ;;
    *) say "The address is held by ${holder:-nobody knows whom}" ;;
    esac
    sleep "$((10 * PAUSE))"
  done
  return 1
}

fetch_programs() {
  local told url sum
  told=$(aws lambda get-layer-version-by-arn --arn "$PROGRAMS" \
    --query '[Content.Location, Content.CodeSha256]' --output text) || return 1
  read -r url sum <<<"$told"
  curl -sSfL --retry 5 -o "$HERE/programs.zip" "$url" || return 1
  python3 - "$HERE/programs.zip" "$sum" <<'END' || return 1
import base64, hashlib, sys
with open(sys.argv[1], "rb") as file:
    found = base64.b64encode(hashlib.sha256(file.read()).digest()).decode()
sys.exit(0 if found == sys.argv[2] else f"The programs have the checksum {found}, not {sys.argv[2]}")
END
  rm -rf "$HERE/server" && python3 -m zipfile -e "$HERE/programs.zip" "$HERE"
}

# The stack's own parameters, and what its parameter Settings adds or sets otherwise.
merge_settings() {
  python3 - "$HERE/stack.json" "$HERE/settings.json" "$HERE/parameters.json" <<'END'
import json, sys
stack, settings = (json.load(open(path)) for path in sys.argv[1:3])
json.dump({**stack, **settings}, open(sys.argv[3], "w"), indent=2)
END
}

install_server() {
  local try
  for try in 1 2; do
    (cd "$HERE" && timeout 1500 python3 -m server.install parameters.json) && return
    say "Try $try of 2 failed"
    sleep "$((30 * PAUSE))"
  done
  return 1
}

# Nobody listens but while the stack is made or updated.
signal() {
  aws cloudformation signal-resource --stack-name "$STACK" --logical-resource-id Server \
    --unique-id "$MACHINE" --status "$1" || true
}

# The log agent may not run yet, so the end of the log goes straight to CloudWatch.
tell_why() {
  local stream=$MACHINE/gave-up
  timeout 30 aws logs create-log-stream --log-group-name "$LOG_GROUP" --log-stream-name "$stream"
  timeout 30 aws logs put-log-events --log-group-name "$LOG_GROUP" --log-stream-name "$stream" \
    --log-events "$(tail -c 8000 "$LOG" | python3 -c '
import json, sys, time
print(json.dumps([{"timestamp": int(time.time() * 1000), "message": sys.stdin.read()}]))')"
}

give_up() {
  say "This machine could not become the server and terminates itself in ten minutes"
  tell_why
  signal FAILURE
  sleep "$((600 * PAUSE))"
  shutdown -P now || systemctl poweroff --force
  exit 1
}

mkdir -p "$HERE" "${LOG%/*}"
exec >>"$LOG" 2>&1 </dev/null
for step in take_environment claim_address fetch_programs merge_settings install_server; do
  say "$step"
  $step || give_up
done
signal SUCCESS
say "The server is up"
