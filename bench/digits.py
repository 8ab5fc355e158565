"""How well the digits job reads, by seed and by choice of the test images.

    python -m bench digits [--seeds N] [--json FILE]

The job's settings were chosen on the first row's test images; the next four rows are images that they were not chosen
on. The last row is the end of the file, probably other people's handwriting than what is learned from.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from bench.harness import print_table, save_json
from pyengine.data import load_digits
from pyengine.train.digits import train_digits

SPLITS = {f"every fifth from image {first}": slice(first, None, 5) for first in range(5)}
SPLITS["the last 360"] = slice(1437, None)


def accuracies(test, seeds):
    """Test accuracy of one run a seed, and seconds a run."""
    data, found, start = load_digits(test), [], time.perf_counter()
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            run = train_digits(folder, seed=seed, data=data, progress=False, say=lambda line: None)
        found.append(run.history.test_accuracy[-1])
    return found, (time.perf_counter() - start) / seeds


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m bench digits")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    rows, figures = [], {}
    for name, test in SPLITS.items():
        found, seconds = accuracies(test, options.seeds)
        figures[name] = {"accuracies": found, "seconds": seconds}
        rows.append([name, f"{statistics.mean(found):.2%}", f"{min(found):.2%}", f"{max(found):.2%}", f"{seconds:.1f}"])
    print_table(["test images", "mean", "least", "most", "s a run"], rows)
    save_json(options.json, figures)
    return 0
