#!/usr/bin/env bash
# Every test, row of a table of tests and wire case that docs/http-support.md names exists.
set -euo pipefail
cd "$(dirname "$0")/.."
there=$(mktemp)
trap 'rm -f "$there"' EXIT
{
  grep -rhoE --include='*.rs' 'fn [a-z0-9_]+\(' httpserver | sed -E 's/^fn (.*)\($/\1/'
  grep -rhoE --include='*.rs' '^ +\("[a-z0-9_]+",' httpserver/tests | sed -E 's/^ +\("(.*)",$/\1/'
  grep -hE '^[a-z][a-z0-9_]*$' httpserver/tests/conformance/*.cases
} | sort -u > "$there"
missing=0 named=0
# The last column of the tables that are headed "held by".
while read -r name; do
  named=$((named + 1))
  grep -qx -- "$name" "$there" || { echo "docs/http-support.md names no test or case: $name" >&2; missing=1; }
done < <(sed '/^## Limits and deadlines/,$d' docs/http-support.md | grep -E '^\| [0-9]' | awk -F'|' '{print $(NF-1)}' | grep -oE '`[^`]+`' | tr -d '`')
[ "$named" -gt 0 ] || { echo "no names found" >&2; exit 1; }
exit "$missing"
