# Starts an example on a port of the kernel's choice and stops it again. To be sourced.

TARGET=${CARGO_TARGET_DIR:-target}
SERVER_PID=

# Makes sure that the release examples are there.
build_examples() {
  cargo build --quiet --release -p examples --examples
}

# start NAME [FLAG …]: sets SERVER_PID and PORT.
start() {
  local name=$1
  shift
  run "$TARGET/release/examples/$name" --port 0 "$@"
  SERVER_PID=$!
  read_port
}

# run COMMAND …: in the background, with its output to be read from descriptor 9.
run() {
  local pipe
  pipe=$(mktemp -u)
  mkfifo "$pipe"
  "$@" > "$pipe" 2> "$TARGET/server.log" &
  exec 9< "$pipe"
  rm "$pipe"
}

# The server says where it listens before it serves.
read_port() {
  local line
  read -r -t 60 line <&9 || fail "the server does not say where it listens: $(cat "$TARGET/server.log")"
  PORT=${line##*:}
}

# Stops the server with SIGTERM, on which it must end with status 0.
stop() {
  local status=0
  kill -TERM "$SERVER_PID"
  wait "$SERVER_PID" || status=$?
  SERVER_PID=
  exec 9<&-
  [ "$status" -eq 0 ] || { echo "ended with status $status on SIGTERM" >&2; return 1; }
}

# For a trap: ends a server that a failed check has left behind.
stop_if_running() {
  if [ -n "$SERVER_PID" ]; then kill -KILL "$SERVER_PID" 2> /dev/null || true; fi
}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# expect WHAT EXPECTED ACTUAL
expect() {
  if [ "$2" = "$3" ]; then echo "ok: $1"; else fail "$1: expected <$2>, got <$3>"; fi
}

# need COMMAND PACKAGE: installs the Debian package if there is no such command.
need() {
  command -v "$1" > /dev/null || install "$2"
}

install() {
  [ "$(id -u)" -eq 0 ] || fail "the package $1 is missing"
  { apt-get install -y -q "$1" || { apt-get update -q && apt-get install -y -q "$1"; }; } > /dev/null
}
