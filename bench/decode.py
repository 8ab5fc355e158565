"""Tokens a second of a decoder, as a share of what reading its weights from memory once a token allows.

The bandwidth probe of bench.limits, the products alone and whole tokens run in the same interleaved rounds.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import pyengine as pe
from bench.limits import Arena, cache_sizes, compile_probes, pinned, plan
from pyengine.bench.harness import interleave, print_table, timed
from pyengine.models import llama


def products(reader):
    """A call that does a token's products, and the bytes of their weights."""
    weights = [w for layer in reader.layers for w in (layer.qkv, layer.out, layer.gate_up, layer.down)]
    weights.append(reader.head.weight)
    rows = {w.shape[1]: pe.randn(1, 1, w.shape[1]) for w in weights}
    pairs = [(rows[w.shape[1]], w) for w in weights]

    def run():
        for x, w in pairs:
            pe.linear(x, w)

    return run, sum(4 * w.numel() for w in weights)


def token(reader, net, known):
    """A call that reads one token behind so many."""
    cache, one = net.new_cache(1, known + 1), pe.tensor([[5]])
    reader(pe.randint(0, 100, (1, known)), cache)

    def run():
        reader(one, cache)
        cache.truncate(known)

    return run


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench decode", description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", required=True, metavar="FILE", help="a Llama decoder: GGUF or safetensors")
    parser.add_argument("--known", type=int, nargs="+", default=[64, 512], metavar="N", help="tokens in the cache")
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args(arguments)
    threads, net = pe.get_num_threads(), llama(options.weights).eval()
    with tempfile.TemporaryDirectory() as directory, pe.no_grad():
        rows = plan(list(compile_probes(Path(directory))), cache_sizes(), [threads])
        probe = next(row for row in rows if row.key == f"read.DRAM.{threads}")
        arena = Arena(probe.size * threads)
        reader = net.reader()
        run, size = products(reader)
        works = {"read": partial(probe.probes.run, probe.name, pinned(threads), arena.address, probe.size)}
        works["products"] = timed(run)
        works |= {f"token behind {n}": timed(token(reader, net, n)) for n in options.known}
        samples = interleave(works, options.rounds)
    bound = size / probe.rate(samples["read"].best) * 1e-9
    middle = size / probe.rate(samples["read"].median) * 1e-9
    print(f"{size / 1e6:.0f} MB a token; read at {size / bound * 1e-9:.1f} GB/s (best round), {threads} threads\n")
    head = ("", "best ms", "share", "median ms", "of median read", "a second")
    print_table(head, [
        (name, f"{1e3 * s.best:.2f}", f"{bound / s.best:.0%}", f"{1e3 * s.median:.2f}", f"{middle / s.median:.0%}",
         f"{1 / s.median:.0f}")
        for name, s in samples.items() if name != "read"
    ])  # fmt: skip
