"""How the next token is chosen from logits."""

import numpy

from pyengine import Generator, default_generator, rand


class Sampler:
    """Chooses a token from logits: penalties first, then temperature, then what is left out, then the dice.

    Arguments: temperature, 0 takes the likeliest; top_k, the k likeliest alone; top_p, the fewest likeliest whose
    probabilities sum to top_p or more (Holtzman et al. 2020); min_p, those of at least min_p times the likeliest's
    probability (Nguyen et al. 2024); repetition_penalty divides positive logits of tokens that are there already, and
    multiplies negative ones (Keskar et al. 2019); seed, of dice of its own (None: the default generator's).
    ValueError names an argument that is out of its range.

    >>> import numpy
    >>> Sampler().choose(numpy.array([0.1, 2.0, 0.3], "float32"))
    1
    """

    def __init__(self, temperature=0.0, top_k=None, top_p=None, min_p=None, repetition_penalty=1.0, seed=None):
        _check("temperature", temperature, 0.0 <= temperature < float("inf"), "at least 0")
        _check("top_k", top_k, top_k is None or (isinstance(top_k, int) and top_k >= 1), "an integer of at least 1")
        _check("top_p", top_p, top_p is None or 0.0 <= top_p <= 1.0, "between 0 and 1")
        _check("min_p", min_p, min_p is None or 0.0 <= min_p <= 1.0, "between 0 and 1")
        positive = 0.0 < repetition_penalty < float("inf")
        _check("repetition_penalty", repetition_penalty, positive, "positive")
        self.temperature, self.top_k, self.top_p, self.min_p = temperature, top_k, top_p, min_p
        self.penalty = repetition_penalty
        self.dice = default_generator if seed is None else Generator(seed)

    def choose(self, logits, seen=()):
        """A token by its number. logits, a float32 array (vocabulary); seen, tokens that are there already."""
        if self.penalty != 1.0 and len(seen):
            logits = self._penalized(logits, numpy.unique(numpy.asarray(seen)))
        if self.temperature == 0.0 or self.top_k == 1:
            return int(logits.argmax())
        scaled = logits.astype(numpy.float64) / self.temperature
        order = self._likeliest(scaled)
        odds = numpy.exp(scaled[order] - scaled[order[0]])
        if self.min_p is not None:
            odds = odds[: max(1, int((odds >= self.min_p).sum()))]
        if self.top_p is not None:
            share = numpy.cumsum(odds) / odds.sum()
            odds = odds[: int(numpy.searchsorted(share, self.top_p)) + 1]
        total = numpy.cumsum(odds)
        draws = rand(2, generator=self.dice).tolist()
        at = (draws[0] + draws[1] * 2.0**-24) * total[-1]
        return int(order[min(int(numpy.searchsorted(total, at, "right")), len(total) - 1)])

    def _penalized(self, logits, seen):
        logits = logits.copy()
        kept = logits[seen]
        logits[seen] = numpy.where(kept > 0, kept / self.penalty, kept * self.penalty)
        return logits

    def _likeliest(self, scaled):
        """Numbers of the tokens that may be chosen, the likeliest first; among equals the smaller number."""
        if self.top_k is None or self.top_k >= len(scaled):
            return numpy.argsort(-scaled, kind="stable")
        least = numpy.partition(scaled, -self.top_k)[-self.top_k]
        near = numpy.flatnonzero(scaled >= least)
        return near[numpy.argsort(-scaled[near], kind="stable")][: self.top_k]


def _check(name, value, fits, wanted):
    if not fits:
        raise ValueError(f"generate: {name} must be {wanted}, got {value!r}")
