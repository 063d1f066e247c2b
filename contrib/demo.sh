#!/usr/bin/env bash
# Three small origins and LoomGate before them, until Ctrl-C: what `make run` does after building.
#
# usage: contrib/demo.sh BUILD_FOLDER
set -u

if [ $# -ne 1 ]; then
    sed -n '4s/^# //p' "$0" >&2
    exit 2
fi
build=$1
config=$(dirname "$0")/../conf/demo.yaml
frontend=127.0.0.1:8080
control=/tmp/loomgate-demo.sock # as the configuration says
declare -A origins=([a1]=127.0.0.1:9001 [a2]=127.0.0.1:9002 [a3]=127.0.0.1:9003)
declare -A names=() # of our processes, by id
proxy=
scratch=

say() {
    if [ -t 2 ]; then printf '\033[1m%s\033[0m\n' "$*" >&2; else echo "$*" >&2; fi
}

# The proxy first, so that what runs can end on its origins.
stop() {
    trap - EXIT
    trap '[ -z "$proxy" ] || kill -TERM "$proxy" 2>/dev/null' INT TERM # a second Ctrl-C: at once
    if [ -n "$proxy" ] && kill -TERM "$proxy" 2>/dev/null; then
        while kill -0 "$proxy" 2>/dev/null; do wait "$proxy" 2>/dev/null; done
    fi
    for id in "${!names[@]}"; do kill -TERM "$id" 2>/dev/null; done
    wait
    [ -z "$scratch" ] || rm -rf "$scratch"
}

fail() {
    say "demo: $*"
    stop
    exit 1
}

# shellcheck disable=SC2317 # called by trap
on_signal() {
    echo >&2
    say "demo: stopping"
    stop
    exit 0
}

is_open() {
    (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null
}

# Own sessions: Ctrl-C goes to this script alone, which ends the others in order.
start_origin() {
    local name=$1 address=$2
    setsid "$build/origin" -n "$name" "$address" >"$scratch/ready" &
    names[$!]="origin $name"
    read -r -t 10 _ <"$scratch/ready" || fail "origin $name did not start on $address"
}

start_proxy() {
    setsid "$build/loomgate" -f "$config" &
    proxy=$!
    names[$proxy]=loomgate
    for ((i = 0; i < 200; i++)); do
        kill -0 "$proxy" 2>/dev/null || fail "loomgate did not start on $frontend; see its message above"
        is_open "$frontend" && return
        sleep 0.05
    done
    fail "loomgate does not listen on $frontend after 10 seconds"
}

print_what_to_try() {
    cat >&2 <<TEXT

LoomGate listens on http://$frontend and sends to a1 (weight 1), a2 (weight 1) and a3 (weight 2). Try:

  curl -i http://$frontend/                           which of the three answers?
  curl -i http://$frontend/echo -d 'hello'            what a server gets to see
  for i in 1 2 3 4 5 6 7 8; do curl -s http://$frontend/; done
  curl -i http://$frontend/healthz                    answered by LoomGate itself
  curl -i http://$frontend/old/page                   a redirect
  curl -N http://$frontend/trickle/20/100             streaming: nothing is held back
  curl -i http://$frontend/reset                      a server that fails: 502 with its cause in the log
  curl -o /dev/null http://$frontend/size/1g          a gigabyte

  export LOOMGATE_SOCKET=$control
  contrib/loomctl show servers                        what it knows of them
  contrib/loomctl drain app/a1 wait                   nothing new goes to a1; contrib/loomctl ready app/a1 undoes it
  contrib/loomctl stream stats of app                 its figures, each second; Ctrl-C ends it

Its log is below. The configuration is conf/demo.yaml. Ctrl-C ends everything.

TEXT
}

for tool in loomgate origin; do
    [ -x "$build/$tool" ] || fail "$build/$tool is not there: run make first"
done
for address in "$frontend" "${origins[@]}"; do
    is_open "$address" && fail "somebody listens on $address already; end that first"
done

trap on_signal INT TERM HUP
trap stop EXIT
scratch=$(mktemp -d) || fail "no temporary folder"
mkfifo "$scratch/ready"
for name in a1 a2 a3; do
    start_origin "$name" "${origins[$name]}"
done
start_proxy
print_what_to_try

# Killing an origin is what a load balancer's demo is for; only the proxy's end ends it.
while true; do
    wait -n -p ended "${!names[@]}"
    status=$?
    if [ "${ended:-$proxy}" = "$proxy" ]; then
        [ "$status" -eq 0 ] || fail "${names[$proxy]} ended unexpectedly (status $status)"
        say "demo: ${names[$proxy]} has ended"
        exit 0
    fi
    say "demo: ${names[$ended]} has ended; its part of the requests goes to the others from now on"
    unset "names[$ended]"
done
