"""How fast batches of 60,000 images of 28x28 come, and what the Trainer's loop adds to the bare steps.

`python -m bench loader --rival PYTHON` runs torch's DataLoader too, at each worker count, in the interpreter PYTHON.
"""

import argparse
import json
import subprocess
import sys
import time

COUNT, BATCHES = 60_000, (64, 256)

RIVAL = """
import json, sys, time
import torch
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
data = TensorDataset(torch.rand(60_000, 1, 28, 28), torch.randint(0, 10, (60_000,)))
found = {}
if __name__ == "__main__":
    for batch in (64, 256):
        for workers in (0, 1, 2, 4):
            more = {"persistent_workers": True} if workers else {}
            loader = DataLoader(data, batch_size=batch, shuffle=True, num_workers=workers, **more)
            times = []
            for _ in range(3):
                begin, seen = time.perf_counter(), 0
                for x, y in loader:
                    seen += len(y)
                times.append(time.perf_counter() - begin)
                assert seen == 60_000
            found[f"{batch} {workers}"] = min(times)
    print(json.dumps(found))
"""


def epoch_seconds(loader):
    """One epoch's time."""
    begin, seen = time.perf_counter(), 0
    for _, labels in loader:
        seen += len(labels)
    assert seen == COUNT
    return time.perf_counter() - begin


def own():
    """{(batch, prefetch): best seconds an epoch}, rounds interleaved."""
    import numpy

    from pyengine.data import ArrayDataset, DataLoader

    rng = numpy.random.default_rng(0)
    data = ArrayDataset(rng.random((COUNT, 1, 28, 28), "float32"), rng.integers(0, 10, COUNT))
    loaders = {(b, p): DataLoader(data, b, shuffle=True, prefetch=p) for b in BATCHES for p in (0, 2)}
    rounds = [{key: epoch_seconds(loader) for key, loader in loaders.items()} for _ in range(7)]
    return {key: min(times[key] for times in rounds) for key in loaders}


def loops():
    """{net: (best seconds of a bare epoch, of a Trainer's, the median of the ratios)}, rounds interleaved."""
    import statistics

    import numpy

    from pyengine import nn, optim
    from pyengine.data import ArrayDataset, DataLoader
    from pyengine.models import small_cnn
    from pyengine.train import Trainer, metrics

    rng = numpy.random.default_rng(0)
    nets = {
        "small_cnn, batch 128": (lambda: small_cnn(num_classes=10), (1, 28, 28), 20 * 128, 128),
        "784-512-512-10, batch 64": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(),
                                     nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)), (1, 28, 28), 100 * 64, 64),
    }  # fmt: skip
    found = {}
    for name, (build, shape, rows, batch) in nets.items():
        data = ArrayDataset(rng.random((rows, *shape), "float32"), rng.integers(0, 10, rows))
        loader, loss_function = DataLoader(data, batch, shuffle=True), nn.CrossEntropyLoss()
        net = build()
        optimizer = optim.AdamW(net.parameters(), lr=1e-4)
        trainer = Trainer(net, loss_function, optimizer, metrics=[metrics.Accuracy()], progress=False)

        def bare(net=net, optimizer=optimizer, loader=loader, loss_function=loss_function):
            for x, y in loader:
                optimizer.zero_grad()
                loss = loss_function(net(x), y)
                loss.backward()
                optimizer.step()
                loss.item()

        def whole(trainer=trainer, loader=loader):
            trainer.fit(loader, epochs=trainer.epoch + 1)

        rounds = []
        for i in range(20):
            times = [0.0, 0.0]
            for which in (0, 1) if i % 2 else (1, 0):
                begin = time.perf_counter()
                (bare, whole)[which]()
                times[which] = time.perf_counter() - begin
            rounds.append(times)
        bests = [min(times[i] for times in rounds) for i in range(2)]
        found[name] = (*bests, statistics.median(b / a for a, b in rounds))
    return found


def main(arguments):
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench loader", description=__doc__)
    parser.add_argument("--rival", metavar="PYTHON", help="an interpreter that has torch")
    options = parser.parse_args(arguments)
    ours, theirs = own(), {}
    if options.rival:
        done = subprocess.run([options.rival, "-c", RIVAL], capture_output=True, text=True, check=True)
        theirs = json.loads(done.stdout.splitlines()[-1])
    for batch in BATCHES:
        for prefetch in (0, 2):
            seconds = ours[batch, prefetch]
            print(f"batch {batch:4}  pyengine prefetch {prefetch}  {seconds * 1e3:8.1f} ms an epoch  "
                  f"{COUNT / seconds:12,.0f} images/s")  # fmt: skip
        for name, seconds in theirs.items():
            if name.startswith(f"{batch} "):
                print(f"batch {batch:4}  torch {name.split()[1]} workers      {seconds * 1e3:8.1f} ms an epoch  "
                      f"{COUNT / seconds:12,.0f} images/s")  # fmt: skip
        if theirs:
            best = min(seconds for name, seconds in theirs.items() if name.startswith(f"{batch} "))
            print(f"batch {batch:4}  {best / ours[batch, 0]:.0f} times torch's best")
    for name, (bare, whole, ratio) in loops().items():
        print(f"{name:26} bare {bare * 1e3:7.1f} ms  Trainer with accuracy {whole * 1e3:7.1f} ms an epoch  "
              f"{whole / bare - 1:+.1%} (best), {ratio - 1:+.1%} (median)")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
