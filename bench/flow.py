"""What watching the gradient flow costs: steps of a small network with GradientFlow on it, beside bare ones."""

import argparse
import sys
import time
import timeit


def networks():
    """{name: (build, shape of a batch)}: those of `python -m bench loader`."""
    from pyengine import nn
    from pyengine.models import small_cnn

    return {
        "small_cnn, batch 128": (lambda: small_cnn(num_classes=10), (128, 1, 28, 28)),
        "784-512-512-10, batch 64": (lambda: nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512),
                                     nn.ReLU(), nn.Linear(512, 10)), (64, 784)),
    }  # fmt: skip


def step_times(build, shape, seconds):
    """(bare, observed): seconds of a step, each the best of those taken in turn for so many seconds."""
    import pyengine as pe
    from pyengine.train import GradientFlow

    x, y = pe.randn(*shape), pe.randint(0, 10, (shape[0],))
    net, loss_function = build(), pe.nn.CrossEntropyLoss()
    optimizer = pe.optim.AdamW(net.parameters(), lr=1e-4)
    best, end = {False: float("inf"), True: float("inf")}, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for watched in best:
            flow = GradientFlow(1).attach(net, optimizer)
            if not watched:  # after the same pause: workers of the pool fall asleep in it
                flow.detach()
            begin = time.perf_counter()
            optimizer.zero_grad()
            loss = loss_function(net(x), y)
            loss.backward()
            optimizer.step()
            loss.item()
            best[watched] = min(best[watched], time.perf_counter() - begin)
            flow.detach()
            assert len(flow.records) == watched
    return best[False], best[True]


def between():
    """Seconds that a step which is not observed takes longer: of the smallest model, where they can be seen."""
    import pyengine as pe
    from pyengine.train import GradientFlow

    net = pe.nn.Linear(1, 1)
    optimizer = pe.optim.SGD(net.parameters(), lr=0.0)
    net(pe.ones(1, 1)).sum().backward()
    times = []
    for watched in (False, True):
        flow = GradientFlow(10**9).attach(net, optimizer, step=1) if watched else None
        times.append(min(timeit.repeat(optimizer.step, number=1000, repeat=50)) / 1000)
        if flow:
            flow.detach()
    return times[1] - times[0]


def main(arguments):
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench flow", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="for each network (%(default)s)")
    options = parser.parse_args(arguments)
    more = between()
    print(f"a step between two that are observed: {more * 1e6:+.2f} us")
    for name, (build, shape) in networks().items():
        bare, observed = step_times(build, shape, options.seconds)
        shares = (f"every {n:3}: {((observed - bare) + (n - 1) * more) / n / bare:+.2%}" for n in (10, 20, 100))
        print(f"{name:26} bare {bare * 1e3:7.3f} ms  observed {observed * 1e3:7.3f} ms  {'  '.join(shares)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
