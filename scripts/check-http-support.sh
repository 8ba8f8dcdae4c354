#!/usr/bin/env bash
# Every test, row of a table of tests and wire case that docs/http-support.md, the last table of docs/from-tornado.md and that of
# docs/limits.md name exists.
set -euo pipefail
cd "$(dirname "$0")/.."
there=$(mktemp)
trap 'rm -f "$there"' EXIT
{
  grep -rhoE --include='*.rs' 'fn [a-z0-9_]+\(' netutil ioloop iostream tcpserver httpserver | sed -E 's/^fn (.*)\($/\1/'
  grep -rhoE --include='*.rs' '^ +\("[a-z0-9_]+",' httpserver/tests | sed -E 's/^ +\("(.*)",$/\1/'
  grep -hE '^[a-z][a-z0-9_]*$' httpserver/tests/conformance/*.cases
  basename -s .rs -- */tests/*.rs
} | sort -u > "$there"
missing=0
# check FILE: each name in backticks that is read.
check() {
  local name named=0
  while read -r name; do
    named=$((named + 1))
    grep -qx -- "$name" "$there" || { echo "$1 names no test or case: $name" >&2; missing=1; }
  done
  [ "$named" -gt 0 ] || { echo "$1: no names found" >&2; missing=1; }
}
names_of_last_column() { awk -F'|' '{ print $(NF-1) }' | grep -oE '`[^`]+`' | tr -d '`'; }
check docs/http-support.md < <(sed '/^## Limits and deadlines/,$d' docs/http-support.md | grep -E '^\| [0-9]' | names_of_last_column)
check docs/from-tornado.md < <(sed "1,/^## Tornado's tests of HTTP/d; /^## /,\$d" docs/from-tornado.md | grep -E '^\| `' | names_of_last_column)
check docs/limits.md < <(sed '1,/^### What holds each of them/d' docs/limits.md | grep -E '^\| [a-z]' | sed 1d | names_of_last_column)
exit "$missing"
