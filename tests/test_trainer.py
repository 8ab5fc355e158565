"""Trainer: the same steps as a loop by hand, what callbacks see and do, and runs that are ended and go on."""

import json
import math
import os
import signal

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn, optim
from pyengine.data import ArrayDataset, DataLoader
from pyengine.optim import lr_scheduler
from pyengine.train import Callback, Trainer, metrics
from pyengine.train.callbacks import (
    EMA,
    SWA,
    EarlyStopping,
    GradientClipping,
    LRSchedule,
    ModelCheckpoint,
    TimeLimit,
)
from pyengine.train.logs import CSVLog, JSONLog, TensorBoardLog


def problem(rows=60, seed=0):
    x = pe.randn(rows, 4, generator=pe.Generator(seed))
    return x, pe.from_numpy(x.numpy()[:, :3].argmax(1))


def network():
    pe.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))


def trainer(callbacks=(), lr=0.05, kind=optim.AdamW, **options):
    net = network()
    optimizer = kind(net.parameters(), lr=lr)
    return Trainer(net, nn.CrossEntropyLoss(), optimizer, callbacks=callbacks, progress=False, **options)


def weights(model):
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


def loader(seed=2, **options):
    return DataLoader(ArrayDataset(*problem()), 8, shuffle=True, seed=seed, **options)


class StopAt(Callback):
    def __init__(self, step, reason="the test says so"):
        self.step, self.reason = step, reason

    def after_step(self, trainer):
        if trainer.step == self.step:
            trainer.stop = self.reason


# ---- steps -------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_steps_are_those_of_a_loop_by_hand(accumulate):
    run = trainer(accumulate=accumulate)
    run.fit(loader(), epochs=3)
    net = network()
    optimizer, loss_function, batches = optim.AdamW(net.parameters(), lr=0.05), nn.CrossEntropyLoss(), loader()
    for _ in range(3):
        for i, (x, y) in enumerate(batches):
            if i % accumulate == 0:
                optimizer.zero_grad()
            (loss_function(net(x), y) / accumulate).backward()
            if (i + 1) % accumulate == 0 or i + 1 == len(batches):
                optimizer.step()
    assert weights(run.model) == weights(net) and run.step == 3 * math.ceil(8 / accumulate)


def test_it_learns_and_tells():
    run = trainer(metrics=[metrics.Accuracy(), metrics.F1()])
    history = run.fit(problem(300), problem(100, seed=1), epochs=12, batch_size=20)
    assert len(history) == 12 and history[-1]["val_accuracy"] > 0.85 and history[-1]["val_f1"] > 0.8
    assert history[-1]["loss"] < history[0]["loss"] / 2
    found = run.evaluate(problem(100, seed=1))
    assert found == {name[4:]: value for name, value in history[-1].items() if name.startswith("val_")}
    x, y = problem(100, seed=1)
    answers = run.predict(x)
    assert run.model.training and answers.shape == (100, 3)
    assert np.mean(answers.argmax(1).numpy() == y.numpy()) == found["accuracy"]
    assert run.predict([(x[:50], y[:50]), (x[50:], y[50:])]).tolist() == answers.tolist()
    assert run.predict(x.numpy()).tolist() == answers.tolist()


def test_data_that_does_not_know_its_length():
    class Stream:
        def __iter__(self):
            x, y = problem()
            return ((x[i : i + 10], y[i : i + 10]) for i in range(0, 60, 10))

    run, other = (trainer(accumulate=4) for _ in range(2))
    run.progress = True
    run.fit(Stream(), epochs=2)
    other.fit(list(Stream()), epochs=2)
    assert run.step == other.step == 4


def test_bad_input():
    x, y = problem()
    with pytest.raises(ValueError, match="equally many rows"):
        trainer().fit((x, y[:-1]))
    with pytest.raises(ValueError, match="training data has no batches"):
        trainer().fit([])
    with pytest.raises(ValueError, match="evaluate: the data has no batches"):
        trainer().evaluate([])
    with pytest.raises(FloatingPointError, match=r"the loss is nan in epoch 1, step 1; part 0 of the batch"):
        trainer().fit((x * float("nan"), y))
    with pytest.raises(FloatingPointError, match=r"the loss is nan in epoch 1, step \d; a smaller lr"):
        trainer(lr=1e38, kind=optim.SGD).fit((x, y), batch_size=8)
    with pytest.raises(ValueError, match="accumulate"):
        trainer(accumulate=0)
    with pytest.raises(ValueError, match="has no 'val_loss', only epoch, loss"):
        trainer([EarlyStopping()]).fit((x, y))


# ---- runs that end and go on ---------------------------------------------------------


def full(folder, *more):
    """Everything that has a state."""
    callbacks = [EarlyStopping(patience=50), EMA(0.9), ModelCheckpoint(folder), GradientClipping(1.0), *more]
    run = trainer(
        callbacks, metrics=[metrics.Accuracy(), metrics.AUROC()], augment=lambda x: x + pe.randn(*x.shape) * 0.1
    )
    run.callbacks.insert(0, LRSchedule(lr_scheduler.OneCycleLR(run.optimizer, 0.1, 40), "step"))
    return run


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("stop", [3, 8, 21])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path, stop, shared):
    def data():
        return loader(seed=None if shared else 3, prefetch=2)

    whole = full(tmp_path / "a")
    whole.fit(data(), problem(30, seed=1), epochs=5)
    part = full(tmp_path / "b", StopAt(stop))
    part.fit(data(), problem(30, seed=1), epochs=5)
    assert part.step == stop
    pe.manual_seed(77)
    again = full(tmp_path / "b", StopAt(-1))
    history = again.fit(data(), problem(30, seed=1), epochs=5, resume=tmp_path / "b" / "last.safetensors")
    assert weights(again.model) == weights(whole.model) and history == whole.history
    if stop == 3:  # loaded before anybody knows the data
        other = full(tmp_path / "c", StopAt(-1))
        early = full(tmp_path / "d", StopAt(3))
        early.fit(data(), problem(30, seed=1), epochs=5)
        other.load(tmp_path / "d" / "last.safetensors")
        assert other.fit(data(), problem(30, seed=1), epochs=5) == history
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert names == ["best.safetensors", "last.safetensors", "step-000000040.safetensors"]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_run_that_was_stopped_is_saved_later_or_fitted_again(tmp_path, prefetch):
    whole = trainer()
    whole.fit(loader(prefetch=prefetch), epochs=3)
    part = trainer([StopAt(8)])
    part.fit(loader(prefetch=prefetch), epochs=3)
    part.save(tmp_path / "a")
    loaded = trainer()
    loaded.load(tmp_path / "a")
    loaded.save(tmp_path / "b")  # before it knows the data
    part.callbacks.clear()
    again = [part.fit(loader(prefetch=prefetch), epochs=3)]
    for name in "ab":
        other = trainer()
        again.append(other.fit(loader(prefetch=prefetch), epochs=3, resume=tmp_path / name))
        assert weights(other.model) == weights(whole.model), name
    assert weights(part.model) == weights(whole.model) and all(history == whole.history for history in again)


def test_batches_without_a_state_go_on_too(tmp_path):
    x, y = problem()
    batches = [(x[i : i + 10], y[i : i + 10]) for i in range(0, 60, 10)]
    whole, part, again = (trainer([ModelCheckpoint(tmp_path / name)]) for name in "abb")
    part.callbacks.append(StopAt(9))
    for run in (whole, part):
        pe.manual_seed(5)
        run.fit(batches, epochs=3)
    again.fit(batches, epochs=3, resume=tmp_path / "b" / "last.safetensors")
    assert part.step == 9 and weights(again.model) == weights(whole.model)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_every_step_is_one_to_go_on_from(tmp_path, accumulate):
    class SaveAll(Callback):
        def after_step(self, trainer):
            trainer.save(tmp_path / str(trainer.step))

    whole = trainer([SaveAll()], accumulate=accumulate)
    whole.fit(loader(), epochs=2)
    for step in range(1, whole.step + 1):
        again = trainer(accumulate=accumulate)
        assert again.fit(loader(), epochs=2, resume=tmp_path / str(step)) == whole.history, step
        assert weights(again.model) == weights(whole.model) and again.step == whole.step


@pytest.fixture
def listening():
    """Python's own answer to Ctrl-C, also where whoever started pytest lets it ignore that (as `nohup` or `&` do)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_ctrl_c_finishes_the_step_saves_and_interrupts(tmp_path):
    class CtrlC(Callback):
        def before_step(self, trainer):
            if trainer.step == 10:
                os.kill(os.getpid(), signal.SIGINT)

    whole = trainer()
    whole.fit(loader(), epochs=3)
    part = trainer([ModelCheckpoint(tmp_path), CtrlC()])
    with pytest.raises(KeyboardInterrupt):
        part.fit(loader(), epochs=3)
    assert part.step == 11 and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = trainer([ModelCheckpoint(tmp_path)])
    again.fit(loader(), epochs=3, resume=tmp_path / "last.safetensors")
    assert weights(again.model) == weights(whole.model)


@pytest.mark.usefixtures("listening")
def test_a_second_ctrl_c_comes_through():
    class CtrlC(Callback):
        def before_step(self, trainer):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    run = trainer([CtrlC()])
    with pytest.raises(KeyboardInterrupt):
        run.fit(loader())
    assert run.step == 0 and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_checkpoint_of_other_callbacks_is_refused(tmp_path):
    run = trainer([ModelCheckpoint(tmp_path)])
    run.fit(loader())
    other = trainer([EMA()])
    before = weights(other.model)
    with pytest.raises(ValueError, match=r"'trainer' does not fit: .*ModelCheckpoint 1.*EMA 1"):
        other.fit(loader(), resume=tmp_path / "last.safetensors")
    assert weights(other.model) == before and other.step == 0


# ---- callbacks -----------------------------------------------------------------------


class Script(Callback):
    """Puts numbers into the history."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def epoch_end(self, trainer):
        trainer.history[-1][self.name] = self.values[trainer.epoch - 1]


def test_early_stopping_brings_the_best_weights_back():
    kept = {}

    class Keep(Callback):
        def epoch_end(self, trainer):
            kept[trainer.epoch] = weights(trainer.model)

    run = trainer(
        [Script("val_score", [1.0, 3.0, 2.0, 3.05, 2.0]), EarlyStopping("val_score", 2, min_delta=0.1), Keep()]
    )
    run.fit(loader(), epochs=9)
    assert run.epoch == 4 and run.stop == "early stopping" and weights(run.model) == kept[2]


def test_checkpoints_rotate_and_keep_the_best(tmp_path):
    run = trainer([Script("error", [3.0, 1.0, 2.0, math.nan]), ModelCheckpoint(tmp_path, "error", keep=2)])
    run.fit(loader(), epochs=4)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best.safetensors", "last.safetensors", "step-000000024.safetensors", "step-000000032.safetensors"]
    other = trainer([ModelCheckpoint(tmp_path, "error")])
    other.loader = loader()
    other.load(tmp_path / "best.safetensors")
    assert other.epoch == 2 and other.callbacks[0].best == -1.0
    with pytest.raises(ValueError, match="keep=0"):
        ModelCheckpoint(tmp_path, keep=0)


def test_a_time_limit_stops():
    run = trainer([TimeLimit(-1)])
    run.fit(loader(), epochs=3)
    assert run.step == 1 and run.stop == "time limit" and run.history == []


def test_averages():
    class Path(Callback):
        def __init__(self):
            self.seen = []

        def after_step(self, trainer):
            self.seen.append(trainer.model[0].weight.detach().numpy().copy())

    path = Path()
    run = trainer([path, EMA(0.5)])
    run.fit(loader(), epochs=1)
    expected = path.seen[0]
    for seen in path.seen[1:]:
        expected = expected / 2 + seen / 2
    assert np.allclose(run.model[0].weight.detach().numpy(), expected, atol=1e-6) and run.judged is run.model
    path = Path()
    run = trainer([path, SWA(1)])
    run.fit(loader(), epochs=3)
    assert np.allclose(run.model[0].weight.detach().numpy(), (path.seen[15] + path.seen[23]) / 2, atol=1e-6)


def test_gradients_are_clipped():
    class Norm(Callback):
        last = True

        def before_step(self, trainer):
            gradients = [p.grad for p in trainer.model.parameters()]
            self.norm = nn.utils.get_total_norm(gradients).item()
            self.most = max(g.abs().amax().item() for g in gradients)

    for options in ({"max_norm": 1e-3}, {"max_value": 1e-4}):
        seen = Norm()
        trainer([seen, GradientClipping(**options)]).fit(loader())
        assert seen.norm <= 1.001e-3 if "max_norm" in options else seen.most <= 1.001e-4


def test_schedules_step_by_step_and_by_epoch():
    run = trainer(kind=optim.SGD, lr=1e-3)
    plateau = lr_scheduler.ReduceLROnPlateau(run.optimizer, patience=0, factor=0.1)
    run.callbacks = [Script("val_loss", [1.0, 2.0, 0.5, 0.4]), LRSchedule(plateau)]
    run.fit(loader(), epochs=4)
    assert math.isclose(run.optimizer.param_groups[0]["lr"], 1e-4)
    run = trainer(kind=optim.SGD, lr=1e-3)
    run.callbacks = [LRSchedule(lr_scheduler.ExponentialLR(run.optimizer, 0.9), "step")]
    run.fit(loader(), epochs=1)
    assert math.isclose(run.optimizer.param_groups[0]["lr"], 1e-3 * 0.9**8)


def test_logs(tmp_path):
    run = trainer([JSONLog(tmp_path / "h.jsonl"), CSVLog(tmp_path / "h.csv"), Script("extra", [1.5, math.inf])])
    run.callbacks.reverse()
    run.fit(loader(), epochs=2)
    lines = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    assert [line["extra"] for line in lines] == [1.5, None] and lines[1]["loss"] == run.history[1]["loss"]
    rows = (tmp_path / "h.csv").read_text().splitlines()
    assert rows[0] == "epoch,loss,extra" and rows[1] == f"1,{run.history[0]['loss']},1.5" and len(rows) == 3
    try:
        log = TensorBoardLog(tmp_path / "tb")
    except ImportError as error:
        assert "pip install tensorboardX" in str(error)
    else:
        trainer([log]).fit(loader())
        assert list((tmp_path / "tb").iterdir())


def test_the_bar_and_its_lines(capsys):
    run = trainer([StopAt(11, "enough")])
    run.progress = True
    run.fit(loader(), problem(seed=1), epochs=2)
    out, err = capsys.readouterr()
    first, second = out.strip().splitlines()
    assert first.startswith("epoch   1/2  loss 0.") and "val loss" in first and second == "stopped in epoch 2: enough"
    assert "16" in err and "step" in err
