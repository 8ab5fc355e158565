"""What was learned goes on: layers that thaw, heads that change, students that learn from teachers."""

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn, optim
from pyengine.data import ArrayDataset, DataLoader, load_digits
from pyengine.models import resnet18
from pyengine.train import (
    Callback,
    DistillationLoss,
    Distiller,
    GradualUnfreezing,
    Trainer,
    finetune,
    metrics,
    replace_head,
)
from pyengine.train.callbacks import ModelCheckpoint


def network(classes=5, width=64):
    pe.manual_seed(3)
    layers = [nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, classes))


def digits(classes, rows=None):
    """Pictures and numbers of these digits, counted from 0: (what to learn from, what to test by)."""
    parts = []
    for images, labels in load_digits():
        chosen = np.isin(labels, classes)
        parts.append((images[chosen][:rows], (labels[chosen] - classes[0])[:rows]))
        rows = None
    return parts


def bits(model):
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


# ---- by depth ----------------------------------------------------------------------


def test_containers_are_as_many_layers_as_they_hold():
    names = [name for name, _ in optim.layers_by_depth(resnet18())]
    assert names == ["conv1", "bn1", *(f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)), "fc"]
    net = nn.Sequential(nn.Linear(2, 2), nn.ModuleList([nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)]))
    rates = {name: group["lr"] for group in optim.decay_groups(net, lr=1.0, depth_factor=0.5)
             for name, _ in group["params"]}  # fmt: skip
    assert rates["1.2.weight"] == 1.0 and rates["1.0.bias"] == 0.5 and rates["0.weight"] == 0.25


def test_what_belongs_to_no_layer_learns_with_the_first():
    net = network()
    net.register_parameter("place", nn.Parameter(pe.zeros(3)))
    groups = optim.decay_groups(net, lr=1.0, depth_factor=0.1)
    assert {name for name, _ in groups[-1]["params"]} <= {"1.bias", "place"} and groups[-1]["lr"] == pytest.approx(1e-3)


class Seen(Callback):
    """Which parameters changed in each epoch, and whether the norm was in training."""

    def __init__(self):
        self.changed, self.normed = [], []

    def epoch_begin(self, trainer):
        self.before = {name: p.tolist() for name, p in trainer.model.named_parameters()}

    def epoch_end(self, trainer):
        self.changed.append({n for n, p in trainer.model.named_parameters() if p.tolist() != self.before[n]})
        self.normed.append(trainer.model[2].training)


def test_layers_thaw_from_the_last_to_the_first():
    net, seen = network(), Seen()
    train, test = digits(range(5), 64)
    trainer = Trainer(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1),
                      callbacks=[GradualUnfreezing(), seen], progress=False)  # fmt: skip
    running = net[2].running_mean.tolist()
    trainer.fit(train, test, epochs=2)
    assert net[2].running_mean.tolist() == running, "a frozen norm keeps its statistics"
    trainer.fit(train, test, epochs=4)
    sets = [{"6.weight", "6.bias"}, {"4.weight", "4.bias"}, {"2.weight", "2.bias"}, {"1.weight"}]
    for epoch, changed in enumerate(seen.changed):
        assert set.union(*sets[: epoch + 1]) <= changed, epoch
        assert not set().union(*sets[epoch + 1 :]) & changed, epoch
    assert seen.normed == [False, False, True, True] and net[2].running_mean.tolist() != running
    assert all(p.requires_grad for p in net.parameters()) and net[2].training
    with pytest.raises(ValueError, match="epochs=0"):
        GradualUnfreezing(0)


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def after_step(self, trainer):
        if trainer.step == self.step:
            trainer.stop = "the test says so"


@pytest.mark.parametrize("step", [3, 8, 13])
def test_a_thawing_run_goes_on_bit_for_bit(tmp_path, step):
    """Epochs have 4 steps: in the first, at the end of the second, in the fourth."""
    train, test = digits(range(5), 64)

    def run(*callbacks, resume=None):
        net = network()
        loader = DataLoader(ArrayDataset(*train), 16, shuffle=True)
        finetune(net, loader, test, head=5, epochs=5, lr=0.05, callbacks=callbacks, resume=resume, progress=False)
        return net

    whole = bits(run())
    assert bits(run(StopAt(step), ModelCheckpoint(tmp_path))) != whole
    pe.manual_seed(99)
    assert bits(run(ModelCheckpoint(tmp_path), resume=tmp_path / "last.safetensors")) == whole


# ---- heads -------------------------------------------------------------------------


def test_heads():
    net = resnet18(num_classes=3)
    assert replace_head(net, 7) == "fc" and net.fc.weight.shape == (7, 512) and net.fc.bias is not None
    mine = nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 2))
    assert replace_head(net, mine) == "fc" and net.fc is mine and replace_head(net, 4) == "fc.1"
    with pytest.raises(ValueError, match="ReLU has no Linear"):
        replace_head(nn.ReLU(), 2)
    for wrong in (0, -1, True, "2", 2.0):
        with pytest.raises(TypeError, match="replace_head: head must be a Module or a positive number"):
            replace_head(net, wrong)


def test_a_finetuned_net_reads_better_than_one_from_scratch():
    """Who has learned to read digits learns from 40 of them which are odd."""
    train, test = load_digits()
    few, odd = (train.images[:40], train.labels[:40] % 2), (test.images, test.labels % 2)
    net = network(10)
    Trainer(net, nn.CrossEntropyLoss(), optim.AdamW(net.parameters(), lr=3e-3), progress=False).fit(
        tuple(train), epochs=9
    )
    options = {"head": 2, "epochs": 12, "batch_size": 10, "lr": 1e-2, "metrics": [metrics.Accuracy()],
               "progress": False}  # fmt: skip
    learned = finetune(net, few, odd, **options).history[-1]["val_accuracy"]
    scratch = finetune(network(), few, odd, thaw=0, **options).history[-1]["val_accuracy"]
    assert learned > scratch + 0.05 and learned > 0.9, (learned, scratch)


# ---- distillation ------------------------------------------------------------------


def test_the_loss_is_hintons():
    special = pytest.importorskip("scipy.special", reason="pip install scipy")
    rng = np.random.default_rng(0)
    student, teacher, labels = rng.normal(size=(6, 4)), 3 * rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    for heat, alpha in ((1.0, 1.0), (4.0, 0.7), (2.5, 0.0)):
        soft, log_soft = special.softmax(teacher / heat, 1), special.log_softmax(student / heat, 1)
        divergence = (soft * (special.log_softmax(teacher / heat, 1) - log_soft)).sum(1).mean()
        hard = -special.log_softmax(student, 1)[range(6), labels].mean()
        loss = DistillationLoss(heat, alpha)
        tensors = [pe.from_numpy(x.astype("float32")) for x in (student, teacher)]
        found = loss(*tensors, pe.from_numpy(labels)).item()
        assert found == pytest.approx(alpha * heat**2 * divergence + (1 - alpha) * hard, rel=1e-5)
        assert loss(*tensors).item() == pytest.approx(heat**2 * divergence, rel=1e-5)
    assert repr(DistillationLoss(4.0)) == "DistillationLoss(temperature=4.0, alpha=0.9)"


def test_a_student_learns_what_the_teacher_knows():
    """From pictures of 0 to 9 without a label, a student of a sixth of the size reads as its teacher does."""
    train, test = load_digits()
    teacher = network(10, 128)
    optimizer = optim.AdamW(teacher.parameters(), lr=3e-3)
    Trainer(teacher, nn.CrossEntropyLoss(), optimizer, progress=False).fit(tuple(train), epochs=10)
    before, student = bits(teacher), network(10, 32)
    distiller = Distiller(student, teacher, DistillationLoss(4.0), optim.AdamW(student.parameters(), lr=3e-3),
                          progress=False)  # fmt: skip
    distiller.fit((train.images,), (test.images,), epochs=20)
    assert bits(teacher) == before
    agreement = metrics.of(metrics.Accuracy(), distiller.predict(test.images),
                           teacher.eval()(pe.from_numpy(test.images)).argmax(1))  # fmt: skip
    accuracy = distiller.evaluate(tuple(test), [metrics.Accuracy()])["accuracy"]
    assert agreement > 0.95 and accuracy > 0.93, (agreement, accuracy)


def test_distillation_that_cannot_be():
    with pytest.raises(ValueError, match=r"temperature=0 must be above 0, alpha=0\.9"):
        DistillationLoss(0)
    with pytest.raises(ValueError, match=r"alpha=1\.5"):
        DistillationLoss(2.0, 1.5)
    with pytest.raises(ValueError, match=r"student's scores have shape \(2, 3\), the teacher's \(2, 4\)"):
        DistillationLoss()(pe.zeros(2, 3), pe.zeros(2, 4))
