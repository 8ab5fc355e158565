"""What watching the gradient flow costs: steps of a small network with GradientFlow on it, beside bare ones."""

import argparse
import random
import sys
import time

WARM = 10  # steps that do not count


def networks():
    """{name: (build, shape of a batch)}: those of `python -m bench loader`."""
    from pyengine import nn
    from pyengine.models import small_cnn

    return {
        "small_cnn, batch 128": (lambda: small_cnn(num_classes=10), (128, 1, 28, 28)),
        "784-512-512-10, batch 64": (lambda: nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512),
                                     nn.ReLU(), nn.Linear(512, 10)), (64, 784)),
    }  # fmt: skip


def step_times(build, shape, rounds):
    """{kind: seconds of a step}, the best of steps in turn: "bare", "between" two observed ones, and "observed"."""
    import pyengine as pe
    from pyengine.train import GradientFlow

    x, y = pe.randn(*shape), pe.randint(0, 10, (shape[0],))
    net, loss_function = build(), pe.nn.CrossEntropyLoss()
    optimizer = pe.optim.AdamW(net.parameters(), lr=1e-4)
    order, times = random.Random(0), {"bare": [], "between": [], "observed": []}
    for _ in range(rounds + WARM):
        for kind in order.sample(list(times), 3):
            flow = GradientFlow(1 if kind == "observed" else 3).attach(net, optimizer, step=1)
            if kind == "bare":  # after the same pause: workers of the pool fall asleep in it
                flow.detach()
            begin = time.perf_counter()
            optimizer.zero_grad()
            loss = loss_function(net(x), y)
            loss.backward()
            optimizer.step()
            loss.item()
            times[kind].append(time.perf_counter() - begin)
            flow.detach()
            assert len(flow.records) == (kind == "observed")
    return {kind: min(values[WARM:]) for kind, values in times.items()}


def main(arguments):
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench flow", description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    options = parser.parse_args(arguments)
    for name, (build, shape) in networks().items():
        took = step_times(build, shape, options.rounds)
        print(f"{name:26}", *(f"{kind} {seconds * 1e3:.3f} ms " for kind, seconds in took.items()))
        for every in (10, 20, 100):
            more = (took["observed"] + (every - 1) * took["between"]) / every / took["bare"] - 1
            print(f"{name:26} every {every:3}: {more:+.2%}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
