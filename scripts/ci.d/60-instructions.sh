#!/usr/bin/env bash
# What a request costs, counted on one connection, where counts repeat exactly: user instructions may grow by 3 % against
# benches/instructions.txt, system calls by a quarter of one, which is what waiting more or less often for the client comes to, and less than
# any call that is made for each request. Into how many pieces the kernel cuts an upload depends on who runs when: 25 % there, and one piece
# more, which is waited for, read and answered; what a piece may cost is counted in 30-load.sh. What is dearer is counted again, twice at
# most, and the least is judged. Whoever makes it cheaper, or dearer for good reason, runs this with --write.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/lib/server.sh
need valgrind valgrind
need strace strace
baseline=benches/instructions.txt
scenarios=(plaintext-1 pipelined-16 browser json close post-100k)

count() { # prints: scenario instructions syscalls
  local arguments=()
  for scenario in "${scenarios[@]}"; do arguments+=(--scenario "$scenario"); done
  cargo run --release --quiet -p benches --bin instructions -- \
    --peer waterspout --connections 1 --requests 2000 "${arguments[@]}" |
    awk '/^###/ { scenario = $2 } /^\| waterspout/ { print scenario, $4, $6 }'
}

all() { # what was counted: is every scenario of the baseline there, with both figures?
  [ "$(grep -cE '^[^ ]+ [0-9]+ [0-9.]+$' <<< "$1")" -eq "$(grep -vc '^#' "$baseline")" ]
}
least() { awk '{ for (f = 2; f <= 3; f++) if (!(($1, f) in sum) || $f < sum[$1, f]) sum[$1, f] = $f; if (!seen[$1]++) name[++n] = $1 }
  END { for (i = 1; i <= n; i++) print name[i], sum[name[i], 2], sum[name[i], 3] }'; }
judge() {
  awk '
    /^#/ { next }
    NR == FNR { instructions[$1] = $2; syscalls[$1] = $3; next }
    !($1 in instructions) { print $1 ": not in the baseline"; bad = 1; next }
    {
      change = $2 / instructions[$1] - 1
      uploads = $1 ~ /^post/
      dearer = change > (uploads ? 0.25 : 0.03) || $3 > syscalls[$1] + (uploads ? 3.25 : 0.25)
      printf "%s: %s: %d instructions (%+.1f %%), %.2f system calls\n", dearer ? "DEARER" : "ok", $1, $2, 100 * change, $3
      if (dearer) bad = 1
      if (change < -0.03) print "cheaper by more than 3 %: write it down with --write"
    }
    END { exit bad }
  ' "$baseline" <(echo "$1")
}

if [ "${1:-}" = --write ]; then
  counted=$(count)
  if grep -q -- ' -' <<< "$counted"; then fail "not everything was counted: $counted"; fi
  { grep '^#' "$baseline"; awk '{ printf "%-15s %13s %9s\n", $1, $2, $3 }' <<< "$counted"; } > "$baseline.new"
  mv "$baseline.new" "$baseline"
  judge "$counted"
  exit
fi
counted=
for attempt in 1 2 3; do
  now=$(count)
  all "$now" || { echo "time $attempt: not everything was counted: $now" >&2; continue; }
  counted=$(printf '%s\n%s' "$counted" "$now" | grep . | least)
  if judge "$counted"; then exit; fi
done
fail "a request costs more than benches/instructions.txt allows, or is not counted"
