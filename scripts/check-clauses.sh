#!/usr/bin/env bash
# Every clause of docs/from-tornado.md that says "tested" has a test that carries its id: in its name (il26_… for IL26, nu1_11_… for
# NU1.11), in the name of a row of its table (("h1_12_chunked", …), or as a comment in the line above its attribute (// IL26). Prints how
# many each has with --list.
set -euo pipefail
cd "$(dirname "$0")/.."
tests=$(mktemp)
trap 'rm -f "$tests"' EXIT
grep -rhoE --include='*.rs' 'fn [a-z0-9_]+\(' netutil ioloop iostream tcpserver httpserver examples | sed 's/^fn /_/' >"$tests"
# Rows of tables.
grep -rhoE --include='*.rs' '^ +\("(hu|h1_|hs)[0-9][a-z0-9_]+"' httpserver/tests | sed -E 's/^ +\("/_/; s/"$/_(/' >>"$tests" || true
# Ids in comments: "// IL26, IL27" directly above a test.
grep -rhE --include='*.rs' -A1 '^ *// (NU|IL|PR|IO|TC|TS|HU|H1-|HS)[0-9]' netutil ioloop iostream tcpserver httpserver |
  awk '/^ *\/\/ /{ids=$0; next} /#\[test\]/{print ids}' | grep -oE '(NU|IL|PR|IO|TC|TS|HU|H1-|HS)[0-9][0-9.-]*' |
  tr 'A-Z.-' 'a-z__' | sed 's/.*/_&_(/' >>"$tests" || true

missing=0 rows=0
while IFS='|' read -r _ clause _ _ held _; do
  clause=${clause// /} rows=$((rows + 1))
  id=$(tr 'A-Z.-' 'a-z__' <<<"$clause")
  count=$(grep -c "_${id}_" "$tests" || true)
  if [ "${1:-}" = --list ]; then printf '%-8s %s\n' "$clause" "$count"; fi
  case $held in
    *argued:*) ;;
    *tested*) [ "$count" -gt 0 ] || { echo "no test carries $clause" >&2; missing=1; } ;;
    *) echo "the row of $clause says neither tested nor argued" >&2; missing=1 ;;
  esac
done < <(grep -E '^\| (NU|IL|PR|IO|TC|TS|HU|H1-|HS)[0-9][0-9.-]* \|' docs/from-tornado.md)
[ "$rows" -gt 0 ] || { echo "no clauses found" >&2; exit 1; }
exit "$missing"
