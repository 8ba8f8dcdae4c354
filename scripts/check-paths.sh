#!/usr/bin/env bash
# Every file that the documents name by its path exists, and every example is in README.md's table.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=0
for path in $(grep -oE '(netutil|ioloop|iostream|tcpserver|httpserver|examples|benches)/[a-z0-9_/]+\.(rs|md)' ARCHITECTURE.md README.md CONTRIBUTING.md SECURITY.md docs/*.md | cut -d: -f2 | sort -u); do
  [ -e "$path" ] || { echo "named but missing: $path" >&2; missing=1; }
done
for example in $(sed -n '/^\[\[example\]\]/,/^name/s/^name = "\(.*\)"/\1/p' examples/Cargo.toml); do
  grep -q "^| \[\`$example\`\](examples/$example.rs) |" README.md || { echo "not in README.md: example $example" >&2; missing=1; }
done
exit "$missing"
