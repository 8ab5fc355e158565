"""NaNGuard: a run that meets NaN goes back to good weights, whether or not it was ended and resumed before."""

import math

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn, optim
from pyengine.data import ArrayDataset, DataLoader
from pyengine.optim import lr_scheduler
from pyengine.train import Callback, Trainer
from pyengine.train.callbacks import LRSchedule, NaNGuard


def problem():
    x = pe.randn(60, 4, generator=pe.Generator(0))
    return x, pe.from_numpy(x.numpy()[:, :3].argmax(1))


def loader():
    return DataLoader(ArrayDataset(*problem()), 8, shuffle=True, seed=2)


def trainer(*callbacks):
    pe.manual_seed(5)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))
    optimizer = optim.AdamW(net.parameters(), lr=0.05)
    return Trainer(net, nn.CrossEntropyLoss(), optimizer, callbacks=callbacks, progress=False)


def bits(run):
    """Of all that was learned."""
    moments = [entry["exp_avg"] for entry in run.optimizer.state_dict()["state"].values()]
    return b"".join(tensor.numpy().tobytes() for tensor in [*run.model.state_dict().values(), *moments])


class Poison(Callback):
    """NaN among the weights after these steps."""

    def __init__(self, steps):
        self.steps = set(steps)

    def after_step(self, trainer):
        if trainer.step in self.steps:
            trainer.model[0].weight.detach().fill_(float("nan"))


class SaveAt(Callback):
    """Ends the run after a step, with a checkpoint."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def after_step(self, trainer):
        if trainer.step == self.step:
            trainer.stop = "the test says so"

    def stopped(self, trainer):
        trainer.save(self.path)


def test_nan_is_taken_back():
    """One batch is poisoned: the run goes back to good weights and learns on at half the rate."""
    run = trainer(Poison([10]), NaNGuard(every=4))
    run.callbacks.append(LRSchedule(lr_scheduler.LambdaLR(run.optimizer, lambda epoch: 1.0)))
    history = run.fit(loader(), epochs=6)
    assert run.optimizer.param_groups[0]["lr"] == 0.025
    assert all(math.isfinite(entry["loss"]) for entry in history) and history[-1]["loss"] < history[0]["loss"]
    x, y = problem()
    bad = x.numpy().copy()
    bad[3] = np.inf
    run = trainer(NaNGuard())  # a damaged row a pass: steps are left out, weights stay finite
    run.fit((pe.from_numpy(bad), y), epochs=3, batch_size=8)
    assert np.isfinite(run.model[0].weight.detach().numpy()).all() and run.optimizer.param_groups[0]["lr"] == 0.05 / 8
    with pytest.raises(FloatingPointError, match=r"NaNGuard: the loss is nan in step 7 after 4 smaller"):
        trainer(Poison(range(2, 99)), NaNGuard()).fit(loader(), epochs=3)


@pytest.mark.parametrize(("save_at", "gives_up_at"), [(3, 20), (14, 20), (20, 24)])
def test_the_good_state_is_part_of_checkpoints(tmp_path, save_at, gives_up_at):
    """Poisoned before the next snapshot, a resumed run goes back to where the whole one does, not to where it began;
    failures before the checkpoint count."""
    path = tmp_path / "c.safetensors"

    def run(*more, poisoned=(16, 22)):
        return trainer(Poison(poisoned), NaNGuard(every=12, patience=4), *more)

    whole = run()
    whole.fit(loader(), epochs=4)
    run(SaveAt(save_at, path)).fit(loader(), epochs=4)
    resumed = run()
    resumed.fit(loader(), epochs=4, resume=path)
    assert bits(resumed) == bits(whole) and resumed.history == whole.history
    assert resumed.optimizer.param_groups[0]["lr"] == 0.05 / 4
    with pytest.raises(FloatingPointError, match=f"in step {gives_up_at} after 3 smaller"):
        run(poisoned=range(16, 99)).fit(loader(), epochs=4, resume=path)
