#!/usr/bin/env bash
# Runs the user service on a Redis, a Postgres and a Hydrant of its own, uses it, and checks what came of it. Ends with
# 0 only if every check held. See README.md.
source "$(dirname "$0")/../lib.sh"

begin user-cache
need python3 python3-venv
need redis-server redis-server
need curl curl
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3 is older than 3.11"

if ! cmp -s requirements.txt .venv/installed; then
    say "installing the app's packages under .venv"
    python3 -m venv .venv
    .venv/bin/pip install --quiet --require-hashes -r requirements.txt || fail "pip could not install requirements.txt"
    cp requirements.txt .venv/installed
fi
# The client is generated from the contract, as in any language.
rm -rf generated && mkdir generated
.venv/bin/python -m grpc_tools.protoc -I "$REPO/proto" --python_out=generated --grpc_python_out=generated \
    "$REPO"/proto/hydrant/v1/*.proto
export PYTHONPATH=generated
build_hydrant
within 240

for port in APP_PORT REDIS_PORT POSTGRES_PORT HYDRANT_PORT HYDRANT_PROBES_PORT; do free_port $port; done
export REDIS_PASSWORD=redis-password-of-this-run INTERNAL_TOKEN=internal-token-of-this-run WORK
export JWT_SECRET=a-secret-of-this-run-of-32-bytes-or-more SPOOL=$WORK/spool

start_redis
start_postgres
start app .venv/bin/python -m uvicorn app.main:app --host 127.0.0.1 --port "$APP_PORT" --no-access-log
until_true app 20 curl -fsS "http://127.0.0.1:$APP_PORT/stats"
start_hydrant

drive .venv/bin/python drive.py healthy
stop hydrant
drive .venv/bin/python drive.py without_hydrant
start_hydrant
drive .venv/bin/python drive.py hydrant_again
stop redis
drive .venv/bin/python drive.py without_redis
start_redis
drive .venv/bin/python drive.py redis_again
drive .venv/bin/python drive.py report
