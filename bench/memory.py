"""Peak memory of attention over a long sequence, beside what its matrix of scores would need.

Each case runs in a process of its own: what is resident before the call (inputs, code, threads) against the peak
during it. What the call gives back (output, logarithms of sums, gradients) is named apart: the rest is scratch.
Backward over few heads sums the gradients of keys and values in a fixed number of parts, which grow with the length
but not with the threads (csrc/attention_backward.c).
"""

import argparse
import multiprocessing
import time

import pyengine as pe
from pyengine.bench.harness import print_table
from pyengine.nn.functional import scaled_dot_product_attention

MB = 1e6
CASES = {"forward": (False, False), "forward, causal": (True, False), "and backward": (False, True),
         "and backward, causal": (True, True)}  # fmt: skip


def resident(key):
    """Bytes of VmRSS (now) or VmHWM (the most so far) of this process."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(f"{key}:"))


def attend(heads, tokens, size, causal, backward):
    """(bytes of peak growth, bytes of results, seconds) of one call."""
    q, k, v = (pe.randn(1, heads, tokens, size, requires_grad=backward) for _ in range(3))
    start, before = time.perf_counter(), resident("VmRSS")
    out = scaled_dot_product_attention(q, k, v, is_causal=causal)
    results = out.numel() * 4
    if backward:
        out.backward(pe.ones(*out.shape))
        # the output, the gradient that it is given and three gradients; a logarithm for each row
        results = 5 * results + heads * tokens * 4
    return resident("VmHWM") - before, results, time.perf_counter() - start


def measured(heads, tokens, size, causal, backward, threads):
    """What `attend` finds behind a short call, by which everything that stays is there."""
    pe.set_num_threads(threads)
    attend(heads, 256, size, causal, backward)
    pe.trim()
    return attend(heads, tokens, size, causal, backward)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--size", type=int, default=64, help="features of a head (%(default)s)")
    parser.add_argument("--threads", type=int, default=pe.get_num_threads())
    options = parser.parse_args(arguments)
    heads, tokens, size, threads = options.heads, options.tokens, options.size, options.threads
    rows = []
    for name, (causal, backward) in CASES.items():
        with multiprocessing.get_context("spawn").Pool(1) as alone:
            growth, results, seconds = alone.apply(measured, (heads, tokens, size, causal, backward, threads))
        scratch = max(growth - results, 0)
        rows.append((name, f"{growth / MB:.1f}", f"{results / MB:.1f}", f"{scratch / MB:.2f}", f"{seconds:.2f}"))
    scores = heads * tokens**2 * 4
    print(f"{heads} x {tokens} tokens x {size}, {threads} threads; the scores would be {scores / MB:.0f} MB\n")
    print_table(("", "peak growth MB", "of it results", "rest", "s"), rows)
