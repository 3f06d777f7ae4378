#!/usr/bin/env bash
# Reduces the corpus of a fuzz target to few inputs that together still reach every edge.
#
#   tests/fuzz/choose.sh TARGET [DIRECTORY...]
#
# Chooses among the inputs in tests/fuzz/corpus/TARGET and in the DIRECTORYs; the choice replaces the corpus. Inputs
# that were given a name (not a hash) always stay. If an input fails, the script fails, too, and changes nothing.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '4s/^# *//p' "$0" >&2; exit 2; }
target=$1
shift
for directory; do
    [ -d "$directory" ] || { echo "$directory is not a directory" >&2; exit 2; }
done
fuzz=$(dirname "$0")
corpus=$fuzz/corpus/$target
export RUSTC_BOOTSTRAP=1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$corpus" "$work/chosen"

# Counters and value profiles are off: it matters whether an edge is reached, not how often.
for run in 1 2 3; do
    mkdir "$work/$run"
    cargo fuzz run -s none --no-trace-compares "$target" --fuzz-dir "$fuzz" "$work/$run" "$corpus" "$@" -- \
        -set_cover_merge=1 -use_counters=0 -use_value_profile=0 -merge_control_file="$work/control$run" \
        >"$work/log" 2>&1 || true
    grep -q '^MERGE-OUTER: successful in 1 attempt' "$work/log" || {
        # A backtrace of cargo-fuzz may follow the reason.
        { grep -aA3 'panicked\|ERROR\|^error' "$work/log" || tail "$work/log"; } >&2
        exit 1
    }
done
python3 "$fuzz/choose.py" "$work"/control? | xargs -d '\n' cp -t "$work/chosen"
rm -rf "$corpus"
cp -r "$work/chosen" "$corpus"
