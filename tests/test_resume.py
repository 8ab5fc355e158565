"""Checkpoints: a run that is ended and goes on in a new process has the bits of one that was never ended."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn, optim
from pyengine.data import ArrayDataset, DataLoader
from pyengine.io import load_checkpoint, load_file, save_checkpoint, save_file
from pyengine.optim import lr_scheduler

OPTIMIZERS = [name for name in optim.__all__ if isinstance(getattr(optim, name), type) and name != "Optimizer"]
STEPS, HALF = 100, 50
KILLS = int(os.environ.get("PYENGINE_KILLS", "6"))


class Buckets(nn.Module):
    def forward(self, x):
        return pe.clamp(x + 2.0, 0.0, 4.0).long()


class Run:
    """A small net that learns with everything that draws random numbers or looks ahead."""

    def __init__(self, kind):
        pe.manual_seed(7)
        bias = kind != "Muon"
        self.net = nn.Sequential(nn.Linear(6, 8, bias=bias), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3, bias=bias))
        if bias:
            self.net.append(nn.BatchNorm1d(3))
        if kind == "SparseAdam":  # which learns from rows alone
            self.net = nn.Sequential(Buckets(), nn.Embedding(5, 18, sparse=True), nn.Flatten(), nn.Linear(108, 3))
            self.net[3].requires_grad_(False)
        learned = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        self.optimizer = getattr(optim, kind)(learned, lr=0.01)
        self.schedule = lr_scheduler.CosineAnnealingLR(self.optimizer, STEPS)
        x = pe.randn(90, 6, generator=pe.Generator(1))
        data = ArrayDataset(x, x.numpy()[:, :3].argmax(1))
        self.loader = DataLoader(data, batch_size=8, shuffle=True, prefetch=2)
        self.parts = {"model": self.net, "optimizer": self.optimizer, "schedule": self.schedule, "loader": self.loader}
        self.done, self.noise = 0, 0.0

    def go(self, end, path=None, save_at=None):
        while True:
            for x, y in self.loader:
                self._step(x + pe.randn(*x.shape) * 0.1, y)
                if self.done == save_at:  # in the middle of an epoch
                    save_checkpoint(path, **self.parts, done=self.done, noise=self.noise)
                if self.done == end:
                    return self.digest()

    def _step(self, x, y):
        def closure():
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.net(x), y)
            loss.backward()
            return loss

        self.noise += closure().item() if not isinstance(self.optimizer, optim.LBFGS) else 0.0
        self.optimizer.step(*([closure] if isinstance(self.optimizer, optim.LBFGS) else []))
        self.schedule.step()
        self.done += 1

    def resume(self, path):
        told = load_checkpoint(path, **self.parts)
        self.done, self.noise = told["done"], told["noise"]

    def digest(self):
        content = b"".join(tensor.numpy().tobytes() for tensor in self.net.state_dict().values())
        return hashlib.sha256(content + repr(self.noise).encode()).hexdigest()


def continue_runs(folder):
    for kind in OPTIMIZERS:
        run = Run(kind)
        pe.manual_seed(99)  # of another process
        run.resume(Path(folder) / kind)
        print(kind, run.go(STEPS))


def test_every_optimizer_goes_on_bit_for_bit_in_a_new_process(tmp_path):
    whole = {kind: Run(kind).go(STEPS, tmp_path / kind, HALF) for kind in OPTIMIZERS}
    again = subprocess.run([sys.executable, __file__, "continue", tmp_path], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    resumed = dict(line.split() for line in again.stdout.splitlines())
    assert resumed == whole and len(set(whole.values())) == len(OPTIMIZERS) > 10
    for kind in ("SGD", "AdamW"):
        assert Run(kind).go(STEPS) == whole[kind], "saving changes nothing"


SCHEDULES = {
    "StepLR": (2,), "MultiStepLR": ([2, 5],), "ConstantLR": (), "LinearLR": (), "ExponentialLR": (0.9,),
    "PolynomialLR": (), "CosineAnnealingLR": (6,), "CosineAnnealingWarmRestarts": (3,), "CyclicLR": (0.01, 0.1, 3),
    "OneCycleLR": (0.1, 20), "ReduceLROnPlateau": (),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_go_on(tmp_path, name):
    def made():
        optimizer = optim.SGD([nn.Parameter(pe.ones(1))], lr=0.1, momentum=0.9)
        return optimizer, getattr(lr_scheduler, name)(optimizer, *SCHEDULES[name])

    def rates(optimizer, schedule, count):
        found = []
        for _ in range(count):
            schedule.step(*([1.0] if name == "ReduceLROnPlateau" else []))
            found.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        return found

    first = made()
    rates(*first, 4)
    save_checkpoint(tmp_path / "c", optimizer=first[0], schedule=first[1])
    second = made()
    load_checkpoint(tmp_path / "c", optimizer=second[0], schedule=second[1])
    assert rates(*first, 14) == rates(*second, 14)


def test_all_kinds_of_values_come_back(tmp_path):
    told = {
        "numbers": [1, -2.5, float("inf"), 1e-300, True, None, 1 << 63], "text": "ä\x00", "nested": {"a": (1, (2,))},
        "keys": {3: "x", (1, "b"): 2.0, "$": 5}, "empty": [{}, [], ()], "numpy": np.float32(0.1),
    }  # fmt: skip
    save_checkpoint(tmp_path / "c", **told, tensors=[pe.arange(3), np.ones((2, 2), "int8")])
    back = load_checkpoint(tmp_path / "c")
    first, second = back.pop("tensors")
    assert back == told and repr(back["numbers"]) == repr(told["numbers"])
    assert first.tolist() == [0, 1, 2] and second.dtype == pe.int8
    save_checkpoint(tmp_path / "nan", x=float("nan"))
    assert load_checkpoint(tmp_path / "nan")["x"] != load_checkpoint(tmp_path / "nan")["x"]
    with pytest.raises(TypeError, match=r"a\.b\.1: object can be no part"):
        save_checkpoint(tmp_path / "c", a={"b": [0, object()]})
    assert load_checkpoint(tmp_path / "c")["text"] == "ä\x00"


def test_random_numbers_of_others_go_on(tmp_path):
    import random

    np.random.seed(3)  # read at its first use
    save_checkpoint(tmp_path / "c")
    drawn = random.random(), np.random.rand(), pe.rand(2).tolist()
    load_checkpoint(tmp_path / "c")
    assert drawn == (random.random(), np.random.rand(), pe.rand(2).tolist())
    load_checkpoint(tmp_path / "c", random=False)
    assert pe.rand(2).tolist() != drawn[2]


def test_tied_weights_are_written_once(tmp_path):
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    save_checkpoint(tmp_path / "c", model=net)
    assert sorted(load_file(tmp_path / "c")) == ["model.0.bias", "model.0.weight", "model.1.bias"]
    load_checkpoint(tmp_path / "c", model=net)


# ---- what does not fit --------------------------------------------------------------


def test_another_model_is_told_with_the_difference(tmp_path):
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    save_checkpoint(tmp_path / "c", model=net, optimizer=optim.Adam(net.parameters()), epoch=1)
    other = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = optim.Adam(other.parameters())
    before = [p.tolist() for p in other.parameters()]
    with pytest.raises(ValueError) as error:
        load_checkpoint(tmp_path / "c", optimizer=optimizer, model=other)
    for text in (
        "of another model (model)",
        "only in the model: 2.weight, 2.bias",
        "only in the file: 1.weight, 1.bias",
        "0.weight: (3, 2) in the file, (4, 2) in the model",
    ):
        assert text in str(error.value)
    assert [p.tolist() for p in other.parameters()] == before and not optimizer.state


def test_a_part_that_does_not_fit_changes_nothing(tmp_path):
    net = nn.Linear(2, 2)
    schedule = lr_scheduler.StepLR(optim.SGD(net.parameters(), lr=0.5), 1)
    loader = DataLoader(range(10), 2)
    save_checkpoint(tmp_path / "c", model=net, a=schedule.optimizer, b=loader)
    net.weight.detach().zero_()
    mine = optim.SGD(net.parameters(), lr=0.25)
    drawn = pe.default_generator.get_state()
    pe.rand(3)
    for loader in (DataLoader(range(9), 2), DataLoader(range(10), 2, shuffle=True, seed=1)):
        with pytest.raises(ValueError, match="'b' does not fit: DataLoader"):
            load_checkpoint(tmp_path / "c", model=net, a=mine, b=loader)
    assert mine.param_groups[0]["lr"] == 0.25 and net.weight.abs().sum().item() == 0
    assert pe.default_generator.get_state() != drawn
    with pytest.raises(ValueError, match="has no 'schedule', only a, b, model"):
        load_checkpoint(tmp_path / "c", schedule=schedule)


def test_files_that_are_no_checkpoints(tmp_path):
    path = tmp_path / "file"
    save_file({"a": pe.ones(1)}, path)
    with pytest.raises(ValueError, match="no checkpoint; weights alone"):
        load_checkpoint(path)
    for content, text in [
        ('{"version": 2, "parts": {}}', "version 2"), ("[]", "damaged"), ("{", "damaged"),
        ('{"version": 1}', "damaged"), ('{"version": 1, "parts": []}', "damaged"),
        ('{"version": 1, "parts": {"a": {"$": "tensor", "of": "b"}}}', "'b'"),
        ('{"version": 1, "parts": {"a": {"$": "call", "of": "os.system"}}}', "kind 'call'"),
        ('{"version": 1, "parts": {"a": ' + "[" * 50_000, "damaged"),
    ]:  # fmt: skip
        save_file({"a": pe.ones(1)}, path, {"pyengine.checkpoint": content})
        with pytest.raises(ValueError, match=text):
            load_checkpoint(path)


def test_a_folder_that_may_not_be_written_to(tmp_path):
    if os.geteuid() == 0:  # whom permissions do not stop: a folder that is none does
        target = Path("/proc/self/last.safetensors")
    else:
        tmp_path.chmod(0o500)
        target = tmp_path / "last.safetensors"
    with pytest.raises(OSError, match=r"last\.safetensors"):
        save_checkpoint(target, x=pe.ones(2))


SAVER = """
import itertools, sys
import pyengine as pe
from pyengine.io import save_checkpoint
for i in itertools.count():
    save_checkpoint(sys.argv[1], weights=[pe.full((50_000,), float(i % 100)) for _ in range(3)], step=i)
    if i == 0:
        print("ready", flush=True)
"""


def test_kills_at_random_moments_leave_a_checkpoint(tmp_path):
    path, rng = tmp_path / "last", np.random.default_rng()
    for _ in range(KILLS):
        saver = subprocess.Popen([sys.executable, "-c", SAVER, path], stdout=subprocess.PIPE)
        assert saver.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.03))
        saver.send_signal(signal.SIGKILL)
        saver.communicate()
        told = load_checkpoint(path)
        assert {float(v) for w in told["weights"] for v in w.numpy()} == {told["step"] % 100}, "a mixture of writes"
    left = [entry for entry in tmp_path.iterdir() if entry != path]
    for entry in left:
        os.utime(entry, (0, 0))
    save_checkpoint(path, step=-1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["last"], "what dead processes left is swept"


if __name__ == "__main__":
    continue_runs(sys.argv[2])
