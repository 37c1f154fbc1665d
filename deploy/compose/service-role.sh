#!/bin/sh
# Runs once, on an empty database: the role of the service, which `migrate --role` gives its rights.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set password="$(cat /run/secrets/service_password)" <<'SQL'
CREATE ROLE epsilon_service LOGIN PASSWORD :'password';
SQL
