"""How fast rotary positions turn in nets that read further than they were trained: Hugging Face's rope_parameters."""

import math

import numpy

import pyengine as pe

KINDS = ("default", "linear", "dynamic", "llama3", "yarn")


class RotaryPositions:
    """cos and sin of positions, for `pe.rotary_embedding`.

    Arguments: dim, features of a head; base, rope_theta where parameters have none; longest,
    max_position_embeddings; parameters, Hugging Face's rope_parameters (rope_scaling of older files): rope_type and

    * linear: factor. Every angle is divided by it. (Chen et al. 2023, "Extending context window of large language
      models via positional interpolation")
    * dynamic: factor. Past max_position_embeddings the base grows with the length that is read, so that tokens which
      are in a cache keep the angles that they were turned by, as in transformers. (bloc97 2023, "NTK-aware RoPE")
    * llama3: factor, low_freq_factor, high_freq_factor, original_max_position_embeddings. Waves longer than
      original / low are slowed by factor, those shorter than original / high are not. (Dubey et al. 2024, "The Llama 3
      herd of models")
    * yarn: factor, original_max_position_embeddings (max_position_embeddings), and perhaps attention_factor, mscale,
      mscale_all_dim, beta_fast (32), beta_slow (1), truncate. Between pairs that turn beta_slow and beta_fast times in
      the original length it is a ramp; cos and sin are multiplied by attention_factor. (Peng et al. 2023, "YaRN")

    longest is then how many positions the net takes: under dynamic and yarn at least factor times the original ones.
    Errors: ValueError for another rope_type, or numbers that are missing or out of range.
    """

    def __init__(self, dim, base, longest, parameters=None):
        given = dict(parameters or {})
        kind = given.get("rope_type", given.get("type", "default"))
        if kind not in KINDS:
            raise ValueError(f"rotary positions scaled as {kind!r:.60}; {', '.join(KINDS)} are read")
        if _number(given, kind, "partial_rotary_factor", 0, 1.0) != 1:
            raise ValueError("heads that are turned in part are not read")
        self.dim, self.kind, self.given, self.longest = dim, kind, given, longest
        self.base = _number(given, kind, "rope_theta", 0, base)
        self.trained = longest
        if kind in ("llama3", "yarn"):
            self.trained = _number(given, kind, "original_max_position_embeddings", 0, longest)
        self.factor = 1.0 if kind == "default" else _number(given, kind, "factor", 0.0)
        if kind in ("dynamic", "yarn"):
            if dim <= 2 or self.base <= 1 or self.factor < 1:
                raise ValueError(f"rope_type {kind}: heads of more than 2 features, a base above 1 and a factor of at "
                                 f"least 1 are needed, got {dim}, {self.base} and {self.factor}")  # fmt: skip
            self.longest = max(longest, int(self.factor * self.trained))
        self.scale = self._attention_factor() if kind == "yarn" else 1.0
        self._speeds = self._fixed_speeds()
        self._tables = None

    def __call__(self, start, end):
        """(cos, sin) of the positions start .. end - 1, each (end - start, dim / 2)."""
        if self.kind == "dynamic" and end > self.trained:
            growth = self.factor * end / self.trained - (self.factor - 1)
            return self._made(start, end, _speeds(self.dim, self.base * growth ** (self.dim / (self.dim - 2))))
        if self._tables is None or self._tables[0].shape[0] < end:
            self._tables = self._made(0, min(max(2 * end, 512), self.longest), self._speeds)
        return tuple(table[start:end] for table in self._tables)

    def _made(self, start, end, speeds):
        angles = numpy.arange(start, end, dtype=numpy.float64)[:, None] * speeds
        return tuple(pe.tensor((self.scale * f(angles)).astype(numpy.float32)) for f in (numpy.cos, numpy.sin))

    def _fixed_speeds(self):
        """Angle a position of each pair, (dim / 2,)."""
        speeds = _speeds(self.dim, self.base)
        if self.kind == "linear":
            return speeds / self.factor
        if self.kind == "llama3":
            low, high = (_number(self.given, "llama3", f"{name}_freq_factor", 0) for name in ("low", "high"))
            if low >= high:
                raise ValueError(f"rope_type llama3: low_freq_factor {low} must be below high_freq_factor {high}")
            turns = self.trained * speeds / (2 * math.pi)
            return _between(speeds / self.factor, speeds, (turns - low) / (high - low))
        if self.kind == "yarn":
            first, last = self._ramp()
            return _between(speeds, speeds / self.factor, (numpy.arange(self.dim // 2) - first) / (last - first))
        return speeds

    def _ramp(self):
        """The pairs between which yarn goes from the speeds as they were to those divided by factor."""
        ends = []
        for name, usual in (("beta_fast", 32), ("beta_slow", 1)):
            turns = _number(self.given, "yarn", name, 0, usual)
            ends.append(self.dim * math.log(self.trained / (turns * 2 * math.pi)) / (2 * math.log(self.base)))
        if self.given.get("truncate", True):
            ends = math.floor(ends[0]), math.ceil(ends[1])
        first, last = max(ends[0], 0), min(ends[1], self.dim - 1)
        return first, last + (0.001 if first == last else 0)

    def _attention_factor(self):
        if self.given.get("attention_factor") is not None:
            return _number(self.given, "yarn", "attention_factor", 0)
        both = [self.given.get("mscale"), self.given.get("mscale_all_dim")]
        growth = 0.1 * math.log(self.factor)
        if not all(both):
            return growth + 1
        up, down = (_number(self.given, "yarn", name, 0) for name in ("mscale", "mscale_all_dim"))
        return (growth * up + 1) / (growth * down + 1)


def _speeds(dim, base):
    return float(base) ** (-numpy.arange(0, dim, 2, dtype=numpy.float64) / dim)


def _between(first, second, share):
    share = numpy.clip(share, 0, 1)
    return first * (1 - share) + second * share


def _number(given, kind, name, above, usual=None):
    """given[name], usual where it is missing or None; ValueError where it is no finite number above a bound."""
    value = given.get(name)
    value = usual if value is None else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not above < value < math.inf:
        raise ValueError(f"rope_type {kind}: {name} must be a number above {above}, got {value!r:.60}")
    return value
