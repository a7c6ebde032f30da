#!/bin/sh
# PostgreSQL. At its first start the cluster is made, in UTF-8: the default of a bare image is
# SQL_ASCII, on which Airflow's scheduler and workers die. Half made, it does not count.
set -eu
PGDATA=/srv/postgres/data
PATH="$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1):$PATH"
umask 077
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf %s "$POSTGRES_PASSWORD" > /tmp/first-password
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --encoding=UTF8 --locale=C.UTF-8 --username=postgres \
    --auth=scram-sha-256 --pwfile=/tmp/first-password --data-checksums
  rm /tmp/first-password
  echo "host all all all scram-sha-256" >> "$PGDATA.new/pg_hba.conf"
  mv "$PGDATA.new" "$PGDATA"
fi
unset POSTGRES_PASSWORD
exec postgres -D "$PGDATA" -p 5432 -c 'listen_addresses=*' -c unix_socket_directories=/tmp \
  -c max_connections=100 -c shared_buffers=128MB
