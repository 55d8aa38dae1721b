# shellcheck shell=bash
# What the run.sh of every example shares: free ports, servers that are waited for and not slept for, and an end that
# stops what was started, by its pid, whatever happened. Sourced, never run.
#
#   source "$(dirname "$0")/../lib.sh"
#   begin user-cache
#   need redis-server redis-server          # the command, and the package that has it
#   build_hydrant                           # with all else that is installed or built first
#   within 240                              # from here on it gives up after so many seconds
#   free_port REDIS_PORT
#   start_redis
#
# Everything listens on 127.0.0.1. Logs and data are under $WORK, which stays only if something failed.

set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
declare -A PIDS=()
PORTS=" "

begin() {
    NAME=$1
    cd "$REPO/examples/$NAME"
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/hydrant-$NAME.XXXXXX")
    chmod 755 "$WORK" # the database's own user has to get through
    exec 3>&1 # $(...) and logs redirect 1; what people read goes to 3
    trap finish EXIT
    trap 'exit 130' INT TERM
}

# within SECONDS: a run that hangs is a failed run. The watchman ends with the run, or by ending it.
within() {
    (trap 'kill $! 2>/dev/null' TERM; sleep "$1" & wait $! && kill -TERM $$) 3>&- >/dev/null 2>&1 &
    WATCHMAN=$!
    LIMIT=$1
    SECONDS=0
}

say() { printf '%s\n' "$*" >&3; }

fail() {
    printf '%s: %s\n' "$NAME" "$*" >&2
    exit 1
}

# need COMMAND PACKAGE: every example says at once what it cannot do without.
need() {
    type -P "$1" >/dev/null || fail "$1 is missing: install the package $2 (Debian, Ubuntu) or its like"
}

# free_port VARIABLE: a port nobody listens on, below those the system hands out by itself.
free_port() {
    local port
    while :; do
        port=$((RANDOM % 12000 + 20000))
        [[ $PORTS == *" $port "* ]] && continue
        (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    PORTS+="$port "
    export "$1=$port"
}

# start NAME COMMAND...: in the background, its output in $WORK/NAME.log.
start() {
    local name=$1
    shift
    "$@" </dev/null >>"$WORK/$name.log" 2>&1 3>&- &
    PIDS[$name]=$!
}

# drive COMMAND...: something that speaks to people and ends by itself. It runs beside the shell, which could not be
# told to give up while it waits for a command of its own.
drive() {
    "$@" </dev/null >&3 &
    PIDS[drive]=$!
    wait "${PIDS[drive]}"
    unset "PIDS[drive]"
}

# until_true NAME SECONDS COMMAND...: asks again until it says yes, or the process NAME has ended, or time is up.
until_true() {
    local name=$1 end=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        kill -0 "${PIDS[$name]}" 2>/dev/null || fail "$name ended too early"
        ((SECONDS < end)) || fail "$name is not there: $*"
        sleep 0.05
    done
}

# stop NAME [SIGNAL]: by its pid, and waits for its end.
stop() {
    local pid=${PIDS[$1]:-}
    unset "PIDS[$1]" # a server that is not there may be stopped as well
    [ -n "$pid" ] || return 0
    kill "-${2:-TERM}" "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

finish() {
    local code=$? name log
    trap - EXIT
    trap '' PIPE # whoever was reading may have left; the servers are stopped all the same
    [ -z "${WATCHMAN:-}" ] || kill "$WATCHMAN" 2>/dev/null || true
    for name in "${!PIDS[@]}"; do stop "$name" "$([ "$name" = postgres ] && echo INT || echo TERM)"; done
    if [ "$code" = 0 ]; then
        rm -rf "$WORK"
        exit 0
    fi
    for log in "$WORK"/*.log; do
        [ ! -s "$log" ] || { printf '\n== %s, its last lines\n' "$log" && tail -n 25 "$log"; } >&2
    done
    ((SECONDS < ${LIMIT:-SECONDS + 1})) || printf '\n%s: gave up after %s s\n' "$NAME" "$LIMIT" >&2
    printf '\n%s: failed; logs are in %s\n' "$NAME" "$WORK" >&2
    exit "$code"
}

# A Redis with a password that keeps its data on disk, so that one that was away comes back with what it had.
start_redis() {
    start redis redis-server --bind 127.0.0.1 --port "$REDIS_PORT" --dir "$WORK" --save "" --appendonly yes \
        --requirepass "$REDIS_PASSWORD" --maxmemory 256mb --maxmemory-policy volatile-lru
    until_true redis 10 redis_answers
}

redis_answers() { [ "$(REDISCLI_AUTH=$REDIS_PASSWORD redis-cli -p "$REDIS_PORT" ping)" = PONG ]; }

# A Postgres of its own with one database, `app`, made from ./schema.sql. It refuses to run as root, so root lends it
# another user: postgres where there is one, else nobody.
start_postgres() {
    local bin as=()
    bin=$(pg_bin)
    if [ "$(id -u)" = 0 ]; then
        local user=nobody
        ! id postgres >/dev/null 2>&1 || user=postgres
        as=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups)
        install -d -o "$user" "$WORK/postgres"
    fi
    local said init=("$bin/initdb" -D "$WORK/postgres" -U app --auth=trust --no-sync --no-locale -E UTF8)
    said=$(cd / && "${as[@]}" "${init[@]}" 2>&1) || fail "$said"
    # What it forgets in a crash nobody will miss.
    start postgres env -C / "${as[@]}" "$bin/postgres" -D "$WORK/postgres" -p "$POSTGRES_PORT" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c max_connections=150 \
        -c shared_preload_libraries=pg_stat_statements
    until_true postgres 20 "$bin/pg_isready" -h 127.0.0.1 -p "$POSTGRES_PORT" -U app
    export DATABASE_URL="postgresql://app@127.0.0.1:$POSTGRES_PORT/app"
    "$bin/createdb" -h 127.0.0.1 -p "$POSTGRES_PORT" -U app app
    said=$("$bin/psql" -q -v ON_ERROR_STOP=1 "$DATABASE_URL" -f schema.sql 2>&1) || fail "$said"
}

# Debian keeps the server's programs off the PATH.
pg_bin() {
    local bin
    for bin in /usr/lib/postgresql/*/bin "$(dirname "$(type -P initdb || echo /none)")"; do
        if [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && [ -x "$bin/psql" ]; then
            echo "$bin"
            return
        fi
    done
    fail "initdb is missing: install the package postgresql (Debian, Ubuntu) or its like"
}

# The sidecar: HYDRANT names a binary, else it is built from this repository.
build_hydrant() {
    if [ -z "${HYDRANT:-}" ]; then
        need cargo cargo
        say "building hydrant (minutes, the first time)"
        (cd "$REPO" && cargo build --locked --quiet) || fail "cargo build failed"
        HYDRANT=${CARGO_TARGET_DIR:-$REPO/target}/debug/hydrant
    fi
}

start_hydrant() {
    local said
    said=$("$HYDRANT" check --config hydrant.yaml 2>&1) || fail "$said"
    start hydrant "$HYDRANT" serve --config hydrant.yaml
    until_true hydrant 10 "$HYDRANT" healthcheck --endpoint "http://127.0.0.1:$HYDRANT_PROBES_PORT"
}
