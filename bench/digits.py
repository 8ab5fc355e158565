"""How well the digits job reads, by seed and by choice of the test images.

    python -m bench digits [--validation] [--seeds N] [--json FILE]

The job's settings were chosen by --validation alone, which touches neither the default test images (the first row)
nor the end of the file (the last row, probably other people's handwriting than what is learned from). The test
images of the rows between are among those that the settings were chosen by.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from pyengine.bench.harness import print_table, save_json
from pyengine.data import Digits, load_digits
from pyengine.train.job import Data
from pyengine.train.jobs.digits import JOB
from pyengine.train.run import train_job

LAST = 1437  # the 360 images from here on
SPLITS = {f"every fifth from image {first}": slice(first, None, 5) for first in range(5)}
SPLITS["the last 360"] = slice(LAST, None)


def validation():
    """Name -> (train, test): four parts in the order of the file, without any image of the first and last split."""
    import numpy

    (images, labels), _ = load_digits(slice(0, 0))
    chosen = numpy.array([i for i in range(LAST) if i % 5])
    pairs = {}
    for part in numpy.array_split(chosen, 4):
        rest = numpy.setdiff1d(chosen, part)
        name = f"images {part[0]} to {part[-1]} (not the fifths)"
        pairs[name] = Digits(images[rest], labels[rest]), Digits(images[part], labels[part])
    return pairs


def accuracies(data, seeds):
    """Test accuracy of one run a seed, and seconds a run."""
    found, start = [], time.perf_counter()
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            run = train_job(JOB(seed=seed), folder, data=Data(*data, ""), progress=False, say=lambda line: None)
        found.append(run.history[-1]["val_accuracy"])
    return found, (time.perf_counter() - start) / seeds


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m bench digits")
    parser.add_argument("--validation", action="store_true", help="the parts that settings are chosen by")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    splits = validation() if options.validation else {name: load_digits(test) for name, test in SPLITS.items()}
    rows, figures = [], {}
    for name, data in splits.items():
        found, seconds = accuracies(data, options.seeds)
        figures[name] = {"accuracies": found, "seconds": seconds}
        rows.append([name, f"{statistics.mean(found):.2%}", f"{min(found):.2%}", f"{max(found):.2%}", f"{seconds:.1f}"])
    print_table(["test images", "mean", "least", "most", "s a run"], rows)
    save_json(options.json, figures)
    return 0
