#!/usr/bin/env python3
"""Draws what the package prints: plot.py SVG < OUTPUT. Passes the output on."""

import math
import re
import sys

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 40, 50
COLOURS = {
    "conncache": "#c8102e",
    "conncache, all limits": "#f28e2b",
    "bare map": "#222222",
    "hyper-util": "#4e79a7",
    "bb8": "#59a14f",
    "r2d2": "#9c755f",
    "deadpool": "#b07aa1",
    "pingora-pool": "#76b7b2",
    "pingora-pool, watched": "#00798c",
}


def read(lines):
    """The curves: to each pool's name, its (connections, nanoseconds)."""
    curves, connections = {}, None
    for line in lines:
        if shape := re.match(r"(\d+) x (\d+):", line):
            peers, each = map(int, shape.groups())
            # One connection, or ten to each peer. The table has others, too.
            connections = peers * each if each in (1, 10) else None
        elif connections and (cost := re.match(r"  (\S.*?)  +([\d.]+) ", line)):
            curves.setdefault(cost[1], []).append((connections, float(cost[2])))
    return curves


def decades(values):
    return math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))


def draw(curves):
    points = [point for curve in curves.values() for point in curve]
    (first, last), (low, high) = (decades(axis) for axis in zip(*points))
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT

    def x(connections):
        return LEFT + (math.log10(connections) - first) / (last - first) * (right - LEFT)

    def y(nanoseconds):
        return bottom - (math.log10(nanoseconds) - low) / (high - low) * (bottom - TOP)

    def text(at_x, at_y, what, anchor="middle", colour="#222222"):
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}" fill="{colour}">{what}</text>'

    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">'
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    yield text(LEFT, 24, "Nanoseconds of processor time to take a connection and return it, 10 to each peer", "start")
    yield text((LEFT + right) / 2, HEIGHT - 10, "inactive connections")
    for power in range(first, last + 1):
        at = x(10**power)
        yield f'<path d="M{at:.1f} {TOP}V{bottom}" stroke="#e6e6e6"/>'
        yield text(at, bottom + 18, f"{10**power:,}")
    for power in range(low, high + 1):
        at = y(10**power)
        yield f'<path d="M{LEFT} {at:.1f}H{right}" stroke="#e6e6e6"/>'
        yield text(LEFT - 8, at + 4, f"{10**power:,}", "end")
    below = math.inf
    # The labels stand beside the last points, and move up where they would meet.
    for name, curve in sorted(curves.items(), key=lambda item: item[1][-1][1]):
        colour = COLOURS[name]
        spots = [(x(connections), y(nanoseconds)) for connections, nanoseconds in curve]
        line = " ".join(f"{at_x:.1f},{at_y:.1f}" for at_x, at_y in spots)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="3" fill="{colour}"/>' for at_x, at_y in spots)
        below = min(spots[-1][1] + 4, below - 15)
        yield text(right + 12, below, name, "start", colour)
    yield "</svg>"


if __name__ == "__main__":
    output = []
    for line in sys.stdin:
        print(line, end="", flush=True)
        output.append(line)
    with open(sys.argv[1], "w", encoding="utf-8") as svg:
        svg.write("\n".join(draw(read(output))) + "\n")
