"""The program of one participant: `PYTHON worker.py ADAPTER THREADS TUNED`, computing only when a line asks it to.

It runs in other people's environments, so it needs nothing but NumPy and the adapter's own engine. Each line in is a
JSON object, each answer one line:

    {"do": "data", "params": {...}}                             ->  {}, once what is large is made
    {"do": "build", "name": ..., "kind": ..., "params": {...}}  ->  {"built": {VARIANT: sample of the result}, ...}
    {"do": "run", "name": ..., "variant": ..., "repeats": N}    ->  {"seconds": S}, S for all N
    {"do": "drop", "name": ...}                                 ->  {}

What goes wrong is answered as {"error": TEXT}. The first line out says who answers: version, threads, code path.

An adapter is a Python file with prepare(threads, tuned), about() and BUILDERS: kind -> function(params, make) that
returns {VARIANT: [calls without arguments]}; the calls of one variant take turns (as many as there are weights).
One that has a tape also says which kinds need it (RECORDED) and switches it (record).
`make` is Make below: every participant computes on the same numbers.
"""

import contextlib
import ctypes
import importlib.util
import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path

SAMPLED = 8
WARM = 2  # calls before the clock, after the others have had the caches; long calls need none


class Make:
    """Arrays that are the same in every process."""

    def __init__(self):
        import numpy

        self.np = numpy
        self.weights = (None, [])  # of the last case: the next often differs in its rows alone

    def array(self, *shape, seed=0):
        """Uniform in -0.5 to 0.5, float32."""
        out = self.aligned(*shape)
        self.np.random.default_rng(seed).random(shape, self.np.float32, out)
        out -= 0.5
        return out

    def aligned(self, *shape):
        """Memory as an allocator for vectors would give it."""
        size = 4 * int(self.np.prod(shape))
        raw = self.np.empty(size + 64, self.np.uint8)
        start = -raw.ctypes.data % 64
        return raw[start : start + size].view(self.np.float32).reshape(shape)

    def operands(self, p):
        """a and b of a product: (batch,) m x k and k x n, one of them a transposed view if p says so."""
        lead = (p["batch"],) if p["batch"] > 1 else ()

        def operand(rows, columns, turned, seed):
            if turned:
                return self.array(*lead, columns, rows, seed=seed).swapaxes(-1, -2)
            return self.array(*lead, rows, columns, seed=seed)

        a = operand(p["m"], p["k"], p["transposed"] == "a", 1)
        return a, operand(p["k"], p["n"], p["transposed"] == "b", 2)

    def integers(self, p):
        """Two matrices of bytes, 0 to 127 and -127 to 127: alike as int8 and uint8 times int8."""
        np, rng = self.np, self.np.random.default_rng(1)
        return (rng.integers(low, 128, shape, np.int8)
                for low, shape in ((0, (p["m"], p["k"])), (-127, (p["k"], p["n"]))))  # fmt: skip

    def key(self, p):
        return p["n"], p["k"], p["weights"], "alike" in p

    def holds(self, p):
        return self.weights[0] == self.key(p)

    def linear(self, p):
        """x, the weights (out, in) to take turns, and the bias."""
        if not self.holds(p) and "alike" in p:  # what is made of each is its own memory
            self.weights = self.key(p), [self.array(p["n"], p["k"], seed=2)] * p["weights"]
        if not self.holds(p):
            weights = [self.array(p["n"], p["k"], seed=2)]
            for i in range(1, p["weights"]):
                weights.append(self.aligned(p["n"], p["k"]))
                self.np.add(weights[0], self.array(1, seed=i), out=weights[-1])
            self.weights = self.key(p), weights
        return self.array(p["rows"], p["k"], seed=1), self.weights[1], self.array(p["n"], seed=3)

    def layers(self, p):
        """[(weight, bias)] of a network, small enough that activations stay near 1."""
        pairs = list(zip(p["layers"], p["layers"][1:]))  # noqa: B905  (any Python that has a rival)
        return [(self.array(b, a, seed=a) * (4 / a**0.5), self.array(b, seed=b)) for a, b in pairs]

    def weight(self, *shape, seed=0):
        """Of a layer (out, in, ...), scaled so that what passes it and ReLU keeps its size."""
        return self.array(*shape, seed=seed) * self.np.float32((24 / self.np.prod(shape[1:])) ** 0.5)

    def convolution(self, p):
        """Input, weight and bias of a layer, as torchlike.filled draws them."""
        first, second = (p["in"], p["out"]) if p["transposed"] else (p["out"], p["in"])
        weight = self.weight(first, second // p["groups"], *p["kernel"], seed=0)
        return self.array(p["batch"], p["in"], *p["size"], seed=1), weight, self.array(p["out"], seed=1) / 4

    def recurrence(self, p):
        """Input (T, N, in), and w_ih, w_hh, b_ih, b_hh of a layer, as torchlike.filled draws them."""
        rows = {"LSTM": 4, "GRU": 3}[p["layer"]] * p["hidden"]
        weights = self.weight(rows, p["in"], seed=0), self.weight(rows, p["hidden"], seed=1)
        biases = (self.array(rows, seed=seed) / 4 for seed in (2, 3))
        return self.array(p["steps"], p["batch"], p["in"], seed=1), *weights, *biases

    def images(self, p):
        return self.array(p["batch"], p["layers"][0], seed=1)

    def labels(self, p):
        return self.np.random.default_rng(7).integers(0, p["layers"][-1], p["batch"])


class Participant:
    """Builds and runs what the lines ask for."""

    def __init__(self, adapter):
        self.adapter = adapter
        self.make = Make()
        self.built = {}

    def data(self, params):
        """The large arrays of the next case, which all participants make at once: it takes one thread of each."""
        if "weights" in params and not self.make.holds(params):
            self.make.linear(params)
        return {}

    def build(self, name, kind, params):
        builder = self.adapter.BUILDERS.get(kind)
        if builder is None:
            return {"built": {}}
        samples, failed, self.built[name] = {}, [], {}
        if hasattr(self.adapter, "record"):
            self.adapter.record(kind in self.adapter.RECORDED)
        try:
            variants = builder(params, self.make)
        except Exception as error:
            return {"built": {}, "failed": [told(error)]}
        for variant, calls in variants.items():
            try:
                samples[variant] = self.sample(calls[0]())
                for call in calls[1:]:
                    call()  # packs, compiles, allocates: none of it is the call's time
                self.built[name][variant] = itertools.cycle(calls)
            except Exception as error:
                samples.pop(variant, None)
                failed.append(f"{variant} {told(error)}".strip())
        return {"built": samples, "failed": failed}

    def sample(self, result):
        """Of each array of the result its largest and a few elements: what agreement is judged by."""
        np, found, arrays = self.make.np, [], self.adapter.to_numpy(result)
        for array in arrays if isinstance(arrays, list) else [arrays]:
            flat = np.asarray(array, np.float64).reshape(-1)
            picked = flat[np.linspace(0, flat.size - 1, SAMPLED).astype(int)]
            found += [float(np.abs(flat).max()), *map(float, picked)]
        return found

    def run(self, name, variant, repeats):
        calls = self.built[name][variant]
        if repeats > 1:
            for call in itertools.islice(calls, WARM):
                call()
        mine = list(itertools.islice(calls, repeats)) if repeats < 1 << 16 else itertools.islice(calls, repeats)
        begin = time.perf_counter()
        for call in mine:
            call()
        return {"seconds": time.perf_counter() - begin}

    def drop(self, name):
        self.built.pop(name, None)
        return {}

    def answer(self, line):
        message = json.loads(line)
        try:
            do = {"data": self.data, "build": self.build, "run": self.run, "drop": self.drop}[message.pop("do")]
            return do(**message)
        except Exception as error:
            return {"error": told(error)}


def told(error):
    """One line, which fits a terminal."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]


def load(path):
    """The adapter; what it imports beside it is looked for last, so that it hides nobody's module."""
    sys.path += [str(Path(__file__).parent), str(Path(path).parent)]
    spec = importlib.util.spec_from_file_location("adapter", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def die_with_parent():
    """A worker is mostly stopped: if the suite is killed, it must not stay so for ever (Linux; elsewhere it ends when
    it is next asked)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


def main(adapter, threads, tuned):
    die_with_parent()
    # what engines print must not get between the answers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module = load(adapter)
    module.prepare(int(threads), tuned == "tuned")
    participant = Participant(module)
    answers.write(json.dumps(module.about()) + "\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(participant.answer(line)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
