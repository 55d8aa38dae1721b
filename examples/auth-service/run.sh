#!/usr/bin/env bash
# Runs the auth service on a Redis, a Postgres and a Hydrant of its own, uses it, measures it, and checks what came of
# it. Ends with 0 only if every check held. See README.md.
source "$(dirname "$0")/../lib.sh"

begin auth-service
need node nodejs
need npm npm
need redis-server redis-server
need curl curl
need ab apache2-utils

if ! cmp -s package-lock.json node_modules/.installed; then
    say "installing the service's packages under node_modules"
    npm ci --ignore-scripts --loglevel=error >&2 || fail "npm could not install package-lock.json"
    cp package-lock.json node_modules/.installed
fi
node_modules/.bin/tsc
build_hydrant
within 240

for port in PORT REDIS_PORT POSTGRES_PORT DISTANCE_PORT HYDRANT_PORT HYDRANT_PROBES_PORT; do free_port $port; done
export REDIS_PASSWORD=redis-password-of-this-run INTERNAL_TOKEN=internal-token-of-this-run WORK
export JWT_SECRET=a-secret-of-this-run-of-32-bytes-or-more HYDRANT_ADDRESS=127.0.0.1:$HYDRANT_PORT
export REDIS_TTL_USER=900 REDIS_TTL_SESSION=300 REDIS_TTL_OAUTH=1800 REDIS_TTL_PROFILE=900

# with_cache true|false: the service and its sidecar have one switch.
with_cache() {
    export CACHE_ENABLED=$1
    stop app
    stop hydrant
    start app node dist/server.js
    until_true app 20 curl -fsS -H "Authorization: Bearer $INTERNAL_TOKEN" "http://127.0.0.1:$PORT/internal/cache"
    start_hydrant
}

start_redis
start_postgres
export OBSERVER_URL=${DATABASE_URL/app@/observer@}

with_cache true
drive node dist/drive/main.js with_cache
with_cache false
drive node dist/drive/main.js without_cache
with_cache true
stop hydrant
drive node dist/drive/main.js without_hydrant

# Here the database is as near as the cache. In earnest it is not, so once more with a network between.
export ROUND_TRIP_MS=20 DATABASE_URL=${DATABASE_URL/:$POSTGRES_PORT/:$DISTANCE_PORT}
start distance node dist/drive/distance.js
with_cache true
drive node dist/drive/main.js far_with_cache
with_cache false
drive node dist/drive/main.js far_without_cache

drive node dist/drive/main.js report
