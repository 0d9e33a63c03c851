#!/bin/bash
# Makes an ECS-optimised Amazon Linux 2023 a worker for Cromwell, before it joins its cluster.
#
# As user data, without arguments: keeps the ECS agent down, takes the steps within a time
# limit, and lets the agent join. Whatever fails ends in termination, so that no job lands on a
# worker that lacks what Cromwell's job definitions mount (AwsBatchJobDefinition.scala):
# /usr/local/bin/fetch_and_run.sh, /usr/local/aws-cli, /var/lib/cloud/data/instance-id.
#
# Settings come in the environment. ROOT is empty but in tests.
set -euo pipefail

ROOT=${ROOT:-}
HOME_DIR=$ROOT/opt/worker
READY=/var/lib/worker/provisioned
LOG=$ROOT/var/log/worker-provision.log
SECONDS_ALLOWED=900
: "${LOG_GROUP:?}" "${SCRATCH_DEVICE:=/dev/xvdba}" "${SCRATCH_MAX_GIB:=0}"
: "${CLI_VERSION:?}" "${CLI_URL:=}" "${CLI_SHA256:=}" "${ALLOW_PRIVILEGED:=false}"
: "${DOCKER_HUB_SECRET:=}" "${EFS_ID:=}"

say() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*"; }

retry() {
  local try
  for try in 1 2 3 4 5; do
    if "$@"; then return; fi
    say "Try $try of 5 failed: $1"
    if [ "$try" -lt 5 ]; then sleep $((try * 5)); fi
  done
  return 1
}

# ---- The agent --------------------------------------------------------------

# The agent's unit waits for user data to end. Should it not, or should this script
# break off anywhere, then this condition still holds it back.
keep_agent_down() {
  local conditions=$ROOT/etc/systemd/system/ecs.service.d
  mkdir -p "$conditions" "$ROOT${READY%/*}" "${LOG%/*}" &&
    rm -f "$ROOT$READY" &&
    printf '[Unit]\nConditionPathExists=%s\n' "$READY" >"$conditions/10-provisioned.conf" &&
    systemctl daemon-reload &&
    systemctl stop ecs
}

# Not to be waited for: the agent starts when user data has ended.
join() {
  touch "$ROOT$READY" && systemctl start --no-block ecs
}

# Instances of this launch template terminate when they shut down. The minute keeps a
# fault that every worker has from costing a fleet of them.
give_up() {
  rm -f "$ROOT$READY"
  say "This worker could not be provisioned and terminates itself" >>"$LOG" || true
  tell_why || true
  sleep 60 || true
  shutdown -P now || systemctl poweroff --force
  exit 1
}

# The log agent may be what failed, so the end of the log goes straight to CloudWatch.
tell_why() {
  local stream
  stream="$(cat "$ROOT/var/lib/cloud/data/instance-id")/gave-up"
  timeout 30 aws logs create-log-stream --log-group-name "$LOG_GROUP" --log-stream-name "$stream"
  timeout 30 aws logs put-log-events --log-group-name "$LOG_GROUP" --log-stream-name "$stream" \
    --log-events "$(tail -c 8000 "$LOG" | python3 -c '
import json, sys, time
print(json.dumps([{"timestamp": int(time.time() * 1000), "message": sys.stdin.read()}]))')"
}

# ---- The steps --------------------------------------------------------------

check_system() {
  grep -q '^ID="\?amzn"\?$' "$ROOT/etc/os-release" &&
    grep -q '^VERSION_ID="\?2023"\?$' "$ROOT/etc/os-release"
}

install_packages() {
  local packages=(amazon-cloudwatch-agent jq unzip xfsprogs)
  command -v aws >/dev/null || packages+=(awscli-2)
  [ -z "$EFS_ID" ] || packages+=(amazon-efs-utils)
  retry dnf -q -y install "${packages[@]}"
}

# The launch template's name for the volume where the AMI links it, else the one EBS disk
# with nothing on it.
find_scratch() {
  local disk
  for _ in $(seq 30); do
    if [ -b "$SCRATCH_DEVICE" ]; then
      readlink -f "$SCRATCH_DEVICE"
      return
    fi
    for disk in $(lsblk --nodeps --noheadings --paths --output NAME,MODEL |
      sed -n 's/ *Amazon Elastic Block Store *$//p'); do
      if [ "$(lsblk --noheadings --output NAME "$disk" | wc -l)" = 1 ] &&
        [ -z "$(lsblk --noheadings --output MOUNTPOINT "$disk" | tr -d '[:space:]')" ]; then
        echo "$disk"
        return
      fi
    done
    sleep 2
  done
  return 1
}

# Cromwell's tasks work in their container's own layer, so what docker keeps is the scratch
# space: its data, or containerd's where docker leaves images to that.
mount_scratch() {
  local device data
  device=$(find_scratch)
  systemctl stop docker.socket docker containerd
  blkid "$device" >/dev/null || mkfs.xfs -q "$device"
  mkdir -p "$ROOT/scratch"
  mount -o noatime "$device" "$ROOT/scratch"
  echo "UUID=$(blkid -o value -s UUID "$device") /scratch xfs noatime 0 0" >>"$ROOT/etc/fstab"
  for data in docker containerd; do
    mkdir -p "$ROOT/scratch/$data" "$ROOT/var/lib/$data"
    mount --bind "$ROOT/scratch/$data" "$ROOT/var/lib/$data"
    echo "/scratch/$data /var/lib/$data none bind 0 0" >>"$ROOT/etc/fstab"
  done
  systemctl start containerd docker
  [ "$SCRATCH_MAX_GIB" = 0 ] || watch_scratch "$device"
}

watch_scratch() {
  cat >"$ROOT/etc/systemd/system/grow-scratch.service" <<END
[Unit]
Description=Makes the scratch volume larger before it is full
[Service]
Environment=SCRATCH=$1 SCRATCH_MAX_GIB=$SCRATCH_MAX_GIB AWS_DEFAULT_REGION=$AWS_DEFAULT_REGION
ExecStart=/bin/bash /opt/worker/grow_scratch.sh
StandardOutput=append:/var/log/worker-scratch.log
StandardError=inherit
Restart=always
RestartSec=30
[Install]
WantedBy=multi-user.target
END
  systemctl daemon-reload
  systemctl enable --now --no-block grow-scratch
}

download() {
  case $1 in
  s3://*) aws s3 cp --only-show-errors "$1" "$2" ;;
  *) curl -sSfL --retry 3 -o "$2" "$1" ;;
  esac
}

# Tasks use this one, out of their own images: it must bring all that it needs.
install_cli() {
  local work current=/usr/local/aws-cli/v2/current
  work=$(mktemp -d)
  [ -n "$CLI_URL" ] ||
    CLI_URL=https://awscli.amazonaws.com/awscli-exe-linux-$(uname -m)-$CLI_VERSION.zip
  retry download "$CLI_URL" "$work/cli.zip"
  [ -z "$CLI_SHA256" ] || echo "$CLI_SHA256  $work/cli.zip" | sha256sum --check --strict -
  unzip -q "$work/cli.zip" -d "$work"
  "$work/aws/install" --update --install-dir "$ROOT/usr/local/aws-cli" --bin-dir "$ROOT/usr/local/bin"
  rm -rf "$work" "$ROOT$current/bin/aws"
  # Its libraries lie beside it, where images without zlib do not look.
  cat >"$ROOT$current/bin/aws" <<END
#!/bin/sh
LD_LIBRARY_PATH=$current/dist\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec $current/dist/aws "\$@"
END
  chmod 755 "$ROOT$current/bin/aws"
}

install_fetch_and_run() {
  install -D -m 755 "$HOME_DIR/fetch_and_run.sh" "$ROOT/usr/local/bin/fetch_and_run.sh"
}

set_ecs() {
  sed -i "/^$1=/d" "$ROOT/etc/ecs/ecs.config"
  echo "$1=$2" >>"$ROOT/etc/ecs/ecs.config"
}

# Beside what Batch writes there. A container is removed soon after it ended, for its layer
# is what fills the disk.
configure_agent() {
  local login
  install -d "$ROOT/etc/ecs"
  touch "$ROOT/etc/ecs/ecs.config"
  set_ecs ECS_ENABLE_SPOT_INSTANCE_DRAINING true
  set_ecs ECS_ENABLE_TASK_IAM_ROLE true
  set_ecs ECS_IMAGE_PULL_BEHAVIOR prefer-cached
  set_ecs ECS_CONTAINER_STOP_TIMEOUT 60s
  set_ecs ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION 5m
  set_ecs ECS_IMAGE_CLEANUP_INTERVAL 10m
  set_ecs ECS_IMAGE_MINIMUM_CLEANUP_AGE 60m
  [ "$ALLOW_PRIVILEGED" = true ] || set_ecs ECS_DISABLE_PRIVILEGED true
  [ -n "$DOCKER_HUB_SECRET" ] || return 0
  login=$(retry aws secretsmanager get-secret-value --secret-id "$DOCKER_HUB_SECRET" \
    --query SecretString --output text)
  login=$(jq -ce '{username: (.username // error), password: (.password // error)}' <<<"$login")
  chmod 600 "$ROOT/etc/ecs/ecs.config"
  set_ecs ECS_ENGINE_AUTH_TYPE docker
  set_ecs ECS_ENGINE_AUTH_DATA "{\"https://index.docker.io/v1/\":$login}"
}

mount_shared() {
  [ -n "$EFS_ID" ] || return 0
  mkdir -p "$ROOT/mnt/efs"
  echo "$EFS_ID:/ /mnt/efs efs _netdev,tls,iam 0 0" >>"$ROOT/etc/fstab"
  retry mount -t efs -o tls,iam "$EFS_ID:/" "$ROOT/mnt/efs"
}

ship_logs() {
  local agent=$ROOT/opt/aws/amazon-cloudwatch-agent
  mkdir -p "$agent/etc"
  jq -n --arg group "$LOG_GROUP" '{logs: {logs_collected: {files: {collect_list: [
    "/var/log/worker-provision.log", "/var/log/worker-scratch.log", "/var/log/cloud-init-output.log",
    "/var/log/ecs/ecs-init.log", "/var/log/ecs/ecs-agent.log"
    | {file_path: ., log_group_name: $group,
       log_stream_name: ("{instance_id}/" + (split("/") | last | rtrimstr(".log")))}
  ]}}}}' >"$agent/etc/worker.json"
  "$agent/bin/amazon-cloudwatch-agent-ctl" -a fetch-config -m ec2 -s -c "file:$agent/etc/worker.json"
}

# What Cromwell's job definitions mount; docker would make folders of what is missing.
verify() {
  [ -x "$ROOT/usr/local/bin/fetch_and_run.sh" ]
  [ -s "$ROOT/var/lib/cloud/data/instance-id" ]
  [ -x "$ROOT/usr/local/aws-cli/v2/current/bin/aws" ]
  "$ROOT/usr/local/aws-cli/v2/current/dist/aws" --version
  docker info >/dev/null
}

if [ "${1:-}" = steps ]; then
  for step in check_system install_packages mount_scratch install_cli install_fetch_and_run \
    configure_agent mount_shared ship_logs verify; do
    say "$step"
    $step
  done
  exit
fi

keep_agent_down || give_up
timeout --kill-after=30 "$SECONDS_ALLOWED" bash "$0" steps >>"$LOG" 2>&1 </dev/null || give_up
join || give_up
say "Provisioned" >>"$LOG"
