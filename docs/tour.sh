#!/usr/bin/env bash
# tour.sh [BINARY [PORT]] runs the commands of README.md's tour against a cluster of its own, with
# gateways from PORT on (default 7400), and checks what they say. Each command must stand in the
# README word for word; only ports and folders are replaced.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:-target/release/quorate}") port=${2:-7400}
[ -x "$binary" ] || { echo "tour: no binary $binary; cargo build --release makes it" >&2; exit 2; }
work=$(mktemp -d)
export XDG_CONFIG_HOME=$work/config PATH="$work/bin:$PATH"
mkdir -p "$work/bin" && ln -s "$binary" "$work/bin/quorate"

dev= proxy=
finish() {
  status=$?
  for process in $proxy $dev; do
    kill -TERM "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  [ $status -eq 0 ] || { echo "tour: failed" >&2; tail -n 20 "$work/dev.err" "$work/out" "$work/err" 2>/dev/null >&2 || true; }
  rm -rf "$work"
}
trap finish EXIT

fail() { echo "tour: $*" >&2; exit 1; }

# placed COMMAND: a command of the README, with this run's ports and folders.
placed() {
  local command=$1
  grep -qxF -- "$command" README.md || fail "the README does not have: $command"
  command=${command//PID/${primary_pid:-}}
  command=${command//cluster\//$work/cluster/}
  command=${command// x\// $work/x/}
  command=${command// x / $work/x }
  for i in 0 1 2 3; do command=${command//:740$i/:$((port + i))}; done
  command=${command//:8400/:$((port + 300))}
  case $command in
    "quorate fault "*) command+=" --url http://127.0.0.1:$((port + 100))" ;;
    "quorate proxy "*) command+=" --listen 127.0.0.1:$((port + 300))" ;;
  esac
  echo "$command"
}
# step EXIT COMMAND: runs a command of the README, which must end with EXIT.
step() {
  local expected=$1 command got=0
  command=$(placed "$2")
  echo "\$ $command"
  bash -c "$command" >"$work/out" 2>"$work/err" || got=$?
  cat "$work/out" "$work/err" | cut -c1-200
  [ "$got" -eq "$expected" ] || fail "ended with $got, not $expected"
}
# says FILE PATTERN: what the step wrote to out or err has a line of this extended pattern.
says() { grep -qE -- "$2" "$work/$1" || fail "$1 has no line like: $2"; }

quorate dev --dir "$work/cluster" --port "$port" --output json >"$work/dev.out" 2>"$work/dev.err" &
dev=$!
for _ in $(seq 300); do
  grep -q '"event":"ready"' "$work/dev.out" 2>/dev/null && break
  kill -0 "$dev" 2>/dev/null || fail "dev ended"
  sleep 0.1
done
grep -q '"event":"ready"' "$work/dev.out" || fail "dev was not ready within 30 s"

verified='^verified: 3 of 4 replicas, entry [0-9]+, [0-9]+\.[0-9] ms \(development keys\)$'
step 0 'quorate curl -X PUT -d hello http://127.0.0.1:7400/kv/greeting'
says err '^verified: 3 of 4 replicas, entry 1, [0-9]+\.[0-9] ms \(development keys\)$'
step 0 'quorate curl http://127.0.0.1:7401/kv/greeting'
says out '^hello$'
says err "$verified"

step 0 'quorate curl --save x http://127.0.0.1:7402/kv/greeting'
step 0 'quorate verify --policy cluster/policy.txt --request x/request.http --response x/response.http'
says out '^verified: 3 of 4 replicas, entry [0-9]+ \(development keys\)$'
step 0 'docs/verify.sh x cluster/policy.txt'
says out 'verified'

step 0 'quorate fault set r2 --corrupt-responses'
step 0 'quorate curl http://127.0.0.1:7400/kv/greeting'
says err "$verified"
step 3 'quorate curl http://127.0.0.1:7402/kv/greeting'
says err '^error\['
[ ! -s "$work/out" ] || fail "an answer was shown that is not verified"
step 0 'quorate status http://127.0.0.1:7400'
says out '^DIVERGENT: +r2: '
step 0 'quorate status --output json http://127.0.0.1:7400 | quorate verify --policy cluster/policy.txt --evidence -'
says out '^convicted: r2 \(.*\) of wrong-result: '
step 0 'quorate fault clear r2'

primary=$(quorate status --output json "http://127.0.0.1:$port" | grep -oE '"primary":[0-9]+' | cut -d: -f2)
replica=$(grep '"event":"ready"' "$work/dev.out" | grep -oE '\{[^{}]*\}' | grep -E "\"id\":$primary\b")
primary_pid=$(grep -oE '"pid":[0-9]+' <<<"$replica" | cut -d: -f2)
step 0 'kill -9 PID'
started=$SECONDS
step 0 'quorate curl http://127.0.0.1:7401/kv/greeting'
says err "$verified"
[ $((SECONDS - started)) -le 10 ] || fail "no answer within 10 s of the primary's end"

step 0 'quorate audit --policy cluster/policy.txt http://127.0.0.1:7401'
says out '^audited: .* re-executed, all state roots equal'
step 0 'quorate bench --target http://127.0.0.1:7401,http://127.0.0.1:7402 --connections 20 --duration 5s --verify'
says out '^requests +[1-9][0-9]* .*failed 0$'

command=$(placed 'quorate proxy --policy cluster/policy.txt http://127.0.0.1:7400 http://127.0.0.1:7401')
echo "\$ $command &"
bash -c "exec $command" >"$work/proxy.out" 2>"$work/proxy.err" &
proxy=$!
for _ in $(seq 100); do
  grep -q '^ready: ' "$work/proxy.out" && break
  sleep 0.1
done
step 0 'curl http://127.0.0.1:8400/kv/greeting'
says out '^hello$'
kill -TERM "$proxy" && wait "$proxy" && proxy= || fail "the proxy did not end well"

kill -TERM "$dev" && wait "$dev" && dev= || fail "dev did not end well"
for i in 0 1 2 3; do
  ! (exec 3<>"/dev/tcp/127.0.0.1/$((port + i))") 2>/dev/null || fail "port $((port + i)) is still served"
done
echo "tour: done"
