#!/usr/bin/env bash
# Every file that ARCHITECTURE.md names by its path exists.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=0
for path in $(grep -oE '(netutil|ioloop|iostream|tcpserver|httpserver|examples|benches)/[a-z0-9_/]+\.(rs|md)' ARCHITECTURE.md README.md CONTRIBUTING.md SECURITY.md docs/*.md | cut -d: -f2 | sort -u); do
  [ -e "$path" ] || { echo "named but missing: $path" >&2; missing=1; }
done
exit "$missing"
