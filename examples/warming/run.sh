#!/usr/bin/env bash
# Runs two sidecars and an app on a Redis and a Postgres of their own, has the cache warmed by start, by schedule and by
# call, and checks what came of it. Ends with 0 only if every check held. See README.md.
source "$(dirname "$0")/../lib.sh"

begin warming
need python3 python3-venv
need redis-server redis-server
need openssl openssl
need curl curl
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3 is older than 3.11"

if ! cmp -s requirements.txt .venv/installed; then
    say "installing the app's packages under .venv"
    python3 -m venv .venv
    .venv/bin/pip install --quiet --require-hashes -r requirements.txt || fail "pip could not install requirements.txt"
    cp requirements.txt .venv/installed
fi
build_hydrant
within 180

for name in APP REDIS POSTGRES A_API A_PROBES A_REMOTE B_API B_PROBES B_REMOTE; do free_port ${name}_PORT; done
export REDIS_PASSWORD=redis-password-of-this-run ADMIN_SECRET=a-secret-of-this-run-of-32-bytes-or-more WORK HYDRANT

# An authority of this run's own, and the sidecars' certificate.
new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
{
    openssl req -x509 "${new_key[@]}" -days 1 -subj /CN=authority -keyout "$WORK/ca.key" -out "$WORK/ca.pem"
    openssl req "${new_key[@]}" -subj /CN=hydrant -keyout "$WORK/server.key" -out "$WORK/server.csr"
    openssl x509 -req -in "$WORK/server.csr" -CA "$WORK/ca.pem" -CAkey "$WORK/ca.key" -CAcreateserial -days 1 \
        -extfile <(echo subjectAltName=IP:127.0.0.1) -out "$WORK/server.pem"
} >"$WORK/openssl.log" 2>&1
SERVER_CERTIFICATE=$(<"$WORK/server.pem") SERVER_KEY=$(<"$WORK/server.key")
export SERVER_CERTIFICATE SERVER_KEY

# sidecar NAME: one of the two, with the ports of its own, as in a pod of its own.
sidecar() {
    local api=${1}_API_PORT probes=${1}_PROBES_PORT remote=${1}_REMOTE_PORT
    start "$1" env POD_NAME="$1" HYDRANT_PORT="${!api}" HYDRANT_PROBES_PORT="${!probes}" HYDRANT_REMOTE_PORT="${!remote}" \
        "$HYDRANT" serve --config hydrant.yaml
    until_true "$1" 10 "$HYDRANT" healthcheck --endpoint "http://127.0.0.1:${!probes}"
}

# What people search for, as a job of the night would have left it.
printf 'user %d\n' {1..12} >"$WORK/searches"

start_redis
start_postgres
said=$("$HYDRANT" check --config hydrant.yaml 2>&1) || fail "$said"
start app .venv/bin/python -m uvicorn app:app --host 127.0.0.1 --port "$APP_PORT" --no-access-log
until_true app 20 curl -fsS "http://127.0.0.1:$APP_PORT/metrics"
# A tick that has just gone by leaves the start time to be what warms first.
until (($(date +%s) % 5 == 0)); do sleep 0.05; done
sidecar A
sidecar B

drive .venv/bin/python drive.py after_the_start
drive .venv/bin/python drive.py by_hand
drive .venv/bin/python drive.py a_failing_step
drive .venv/bin/python drive.py administrators
drive .venv/bin/python drive.py one_at_a_time
stop A
stop B
drive .venv/bin/python drive.py hydrant_stopped
drive .venv/bin/python drive.py report
