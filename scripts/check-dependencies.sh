#!/usr/bin/env bash
# The dependency promises of the README: no runtime beneath us, a small tree, no HTTP where none is wanted, no unsafe of ours.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "$1" >&2
  exit 1
}
tree() { cargo tree --prefix none -e normal "$@" | awk '{print $1}' | sort -u; }

found=$(tree -p httpserver | grep -E '^(tokio|futures-util|futures-executor|async-std|smol)' || true)
[ -z "$found" ] || fail "httpserver depends on a runtime: $found"
count=$(tree -p httpserver | wc -l)
[ "$count" -le 34 ] || fail "httpserver depends on $count crates, more than 34"
for crate in netutil ioloop iostream tcpserver httpserver; do
  grep -q '^#!\[forbid(unsafe_code)\]' "$crate/src/lib.rs" || fail "$crate does not forbid unsafe code"
done
found=$(tree -p iostream | grep -E '^(netutil|socket2|dns-lookup)$' || true)
[ -z "$found" ] || fail "iostream without its feature client depends on $found"
found=$(tree -p examples --no-default-features | grep -E '^(http|httparse|httpserver)$' || true)
[ -z "$found" ] || fail "the examples without HTTP depend on $found"
echo "httpserver depends on $count crates, itself and its layers included; no runtime among them"
