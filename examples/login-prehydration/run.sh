#!/usr/bin/env bash
# Runs six backends, a login service and an app on a Redis and a Hydrant of their own, logs people in, and checks what
# came of it. Ends with 0 only if every check held. See README.md.
source "$(dirname "$0")/../lib.sh"

begin login-prehydration
need python3 python3-venv
need redis-server redis-server
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
within 60

for name in PROFILE ORDERS RECOMMENDATIONS OFFERS MESSAGES HIERARCHY LOGIN APP REDIS HYDRANT HYDRANT_PROBES; do
    free_port ${name}_PORT
done
export REDIS_PASSWORD=redis-password-of-this-run SESSION_SECRET=a-secret-of-this-run-of-32-bytes-or-more WORK

# listens PORT
listens() { (exec 4<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start_redis
start backends .venv/bin/python backends.py
start login .venv/bin/python login.py
start app .venv/bin/python app.py
until_true backends 10 listens "$HIERARCHY_PORT"
until_true login 10 listens "$LOGIN_PORT"
until_true app 10 listens "$APP_PORT"

drive .venv/bin/python drive.py before
start_hydrant
drive .venv/bin/python drive.py with_hydrant
drive .venv/bin/python drive.py organisation
stop hydrant
drive .venv/bin/python drive.py hydrant_stopped
drive .venv/bin/python drive.py report
