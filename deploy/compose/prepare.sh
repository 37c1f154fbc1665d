#!/bin/sh
# Make the secrets that docker-compose.yml mounts, in ./secrets, once; nothing that is there is replaced.
set -eu
cd "$(dirname "$0")/../.."

folder=secrets
if [ -e "$folder" ]; then
  echo "$folder is there already; nothing was changed"
  exit 0
fi
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
owner=$(random)
service=$(random)
broker=$(random)

# whole or not at all: half a set would look like one that is there
making=$(mktemp -d "./.$folder.XXXXXX")
trap 'rm -rf "$making"' EXIT
printf '%s' "$owner" > "$making/owner_password"
printf '%s' "$service" > "$making/service_password"
printf 'postgresql+psycopg://epsilon_owner:%s@postgres/epsilon' "$owner" > "$making/owner_database_url"
printf 'postgresql+psycopg://epsilon_service:%s@postgres/epsilon' "$service" > "$making/database_url"
printf 'redis://:%s@valkey:6379/0' "$broker" > "$making/broker_url"
printf 'requirepass %s\n' "$broker" > "$making/valkey.conf"
# the containers' users read the files through mounts; on this machine the folder keeps others out
chmod 0444 "$making"/*
chmod 0700 "$making"
mv "$making" "$folder"
trap - EXIT
echo "made $folder; it holds the passwords of this installation"
