#!/bin/sh
# Redis. The password comes by standard input: it is in no file and on no command line. A queued
# task is on disk before the scheduler is told that it is queued, so that a kill loses none.
set -eu
exec redis-server - --bind '*' --port 6379 --dir /srv/redis --appendonly yes --appendfsync always \
  --save '' --maxmemory 128mb --maxmemory-policy noeviction <<END
requirepass $REDIS_PASSWORD
END
