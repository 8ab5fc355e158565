"""A line search for the strong Wolfe conditions."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass
class Point:
    """A place on the line: how far along, the function's value, its gradient and the slope along the line."""

    at: float
    value: float
    gradient: Any
    slope: float


def cubic_minimum(a, b, bounds=None):
    """Where the cubic through two Points (values and slopes) has its minimum, within bounds (default: between them);
    the middle of the bounds where it has none."""
    low, high = bounds or (min(a.at, b.at), max(a.at, b.at))
    if a.at > b.at:
        a, b = b, a
    try:
        d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.at - b.at)
        square = d1 * d1 - a.slope * b.slope
        if not square >= 0:
            return (low + high) / 2
        d2 = math.sqrt(square)
        place = b.at - (b.at - a.at) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    except (ZeroDivisionError, OverflowError):
        return (low + high) / 2
    return min(max(place, low), high)


class WolfeSearch:
    """Looks along a line for a point that is low enough, f(t) <= f(0) + c1 t f'(0), and flat enough,
    |f'(t)| <= c2 |f'(0)|: first a bracket that holds one, then smaller and smaller brackets.
    (Nocedal & Wright 2006, algorithms 3.5 and 3.6)

    Arguments: evaluate, which gives a Point for a distance; start, the Point at 0; most, how many evaluations beside
    the first are allowed.
    """

    def __init__(self, evaluate, start, most, c1=1e-4, c2=0.9):
        self.evaluate, self.start, self.most = evaluate, start, most
        self.c1, self.c2 = c1, c2
        self.evaluations = 0

    def low_enough(self, point):
        return point.value <= self.start.value + self.c1 * point.at * self.start.slope

    def flat_enough(self, point):
        return abs(point.slope) <= -self.c2 * self.start.slope

    def visit(self, at):
        self.evaluations += 1
        return self.evaluate(at)

    def run(self, first, narrowest):
        """The best Point found; brackets narrower than `narrowest` are not cut further."""
        low, high, done = self.bracket(first)
        return low if done else self.zoom(low, high, narrowest)

    def bracket(self, at):
        """(a Point, another, whether the first is what we look for); else the wanted lies between them."""
        before, here = self.start, self.visit(at)
        for count in range(self.most):
            if not self.low_enough(here) or (count > 1 and here.value >= before.value):
                return before, here, False
            if self.flat_enough(here):
                return here, here, True
            if here.slope >= 0:
                return before, here, False
            bounds = (here.at + 0.01 * (here.at - before.at), here.at * 10)
            at = cubic_minimum(before, here, bounds)
            before, here = here, self.visit(at)
        return self.start, here, False

    def zoom(self, low, high, narrowest):
        """Cuts the bracket; `low` is its end with the smaller value."""
        if high.value < low.value:
            low, high = high, low
        stuck = False
        while self.evaluations <= self.most and abs(high.at - low.at) >= narrowest:
            at, stuck = self.trial(low, high, stuck)
            here = self.visit(at)
            if not self.low_enough(here) or here.value >= low.value:
                high = here
                if high.value < low.value:
                    low, high = high, low
                continue
            if self.flat_enough(here):
                return here
            if here.slope * (high.at - low.at) >= 0:
                high = low
            low = here
        return low

    def trial(self, low, high, stuck):
        """Where to look next: the cubic's minimum; a tenth of the bracket inside, if that is at an end again."""
        at = cubic_minimum(low, high)
        left, right = min(low.at, high.at), max(low.at, high.at)
        margin = 0.1 * (right - left)
        if min(right - at, at - left) >= margin:
            return at, False
        if stuck or at >= right or at <= left:
            return (right - margin if abs(at - right) < abs(at - left) else left + margin), False
        return at, True
