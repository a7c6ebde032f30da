#!/bin/sh
# MLflow behind the guard (registry/server.py). Its settings of logins are read from a file only,
# which holds a password: written to memory, for this user alone. The store's address is MLflow's
# own variable MLFLOW_BACKEND_STORE_URI.
set -eu
umask 077
cat > /tmp/mlflow.ini <<END
[mlflow]
database_uri = $MLFLOW_AUTH_DATABASE_URI
admin_username = crossimpact
default_permission = READ
auth_cache_ttl_seconds = 60
END
unset MLFLOW_AUTH_DATABASE_URI
export MLFLOW_AUTH_CONFIG_PATH=/tmp/mlflow.ini
exec python -m mlflow server --app-name crossimpact --host 0.0.0.0 --port 5000 --workers 1 \
  --artifacts-destination /srv/artifacts
