"""Chooses, by control files of libFuzzer's merges of the same inputs, few inputs that reach every edge; prints them.

Hash seeds differ between runs, and a few edges depend on them. So an input reaches an edge if it did in every run.
"""

import os
import re
import sys

paths = {}
reached = {}
for control in sys.argv[1:]:
    with open(control) as lines:
        lines = lines.read().splitlines()
    files = lines[2 : 2 + int(lines[0])]
    for line in lines[2 + len(files) :]:
        kind, number, *edges = line.split()
        if kind == "FT":
            path = files[int(number)]
            name = os.path.basename(path)
            paths[name] = path
            reached[name] = reached.get(name, set(edges)) & set(edges)

missing = set().union(*reached.values())
total = len(missing)
# Inputs that somebody gave a name stay.
chosen = [name for name in reached if not re.fullmatch("[0-9a-f]{40}", name)]
missing.difference_update(*(reached[name] for name in chosen))
while missing:
    best = max(reached, key=lambda name: len(reached[name] & missing))
    missing -= reached[best]
    chosen.append(best)
# A later choice may have made an earlier one needless.
for name in [name for name in chosen if re.fullmatch("[0-9a-f]{40}", name)]:
    others = set().union(*(reached[other] for other in chosen if other != name))
    if len(others) == total:
        chosen.remove(name)
print(f"{len(reached)} inputs reach {total} edges in every run, {len(chosen)} of them suffice", file=sys.stderr)
print(*(paths[name] for name in chosen), sep="\n")
