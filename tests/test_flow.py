"""Gradient flow: what is measured, that watching changes no bit, and networks built to fail."""

import copy
import math

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn, optim
from pyengine.train import GradientFlow, Trainer
from pyengine.train.callbacks import EMA, NaNGuard


def data(rows=64, width=32, seed=0):
    x = pe.randn(rows, width, generator=pe.Generator(seed))
    return x, pe.from_numpy(x.numpy()[:, :4].argmax(1))


def deep(layers, activation=nn.ReLU, gain=None, width=32, seed=0):
    """layers times Linear and activation, then a Linear of 4; gain: weights of N(0, gain^2 / width)."""
    pe.manual_seed(seed)
    parts = []
    for _ in range(layers):
        linear = nn.Linear(width, width)
        if gain:
            nn.init.normal_(linear.weight, 0.0, gain / math.sqrt(width))
        parts += [linear, activation()]
    return nn.Sequential(*parts, nn.Linear(width, 4))


def learn(net, optimizer, steps, batch=None, loss=None):
    x, y = batch or data()
    loss = loss or nn.CrossEntropyLoss()
    for _ in range(steps):
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()


def watched(net, lr=0.05, steps=30, every=5, kind=optim.SGD, batch=None):
    optimizer = kind(net.parameters(), lr=lr)
    flow = GradientFlow(every).attach(net, optimizer)
    learn(net, optimizer, steps, batch)
    flow.detach()
    return flow


def kinds(flow):
    return {found.kind: found for found in flow.report()}


# ---- what is measured ----------------------------------------------------------------


def test_the_norms_are_those_of_numpy():
    net, (x, y) = deep(1), data()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    flow = GradientFlow(1).attach(net, optimizer)
    before = [p.detach().numpy().astype("f8") for p in net.parameters()]
    before = [array.copy() for array in before]
    learn(net, optimizer, 1)
    flow.detach()
    gradients = [p.grad.numpy().astype("f8") for p in net.parameters()]
    (record,) = flow.records
    assert record.step == 1 and list(record.layers) == ["0", "1", "2"]
    for place, name in ((0, "0"), (2, "2")):
        layer = record.layers[name]
        weight, step = np.linalg.norm(before[place]), 0.1 * np.linalg.norm(gradients[place])
        gradient = math.hypot(*map(np.linalg.norm, gradients[place : place + 2]))
        assert layer.weight == pytest.approx(weight, rel=1e-5) and layer.gradient == pytest.approx(gradient, rel=1e-5)
        assert layer.update == pytest.approx(step, rel=1e-4)
        assert layer.ratio == pytest.approx(step / weight, rel=1e-4) and layer.dead is None
        assert layer.kind == "Linear"
    hidden = x.numpy().astype("f8") @ before[0].T + before[1]
    fired = np.maximum(hidden, 0)
    logits = fired @ before[2].T + before[3]
    assert record.layers["0"].output == pytest.approx(np.sqrt((hidden**2).mean()), rel=1e-5)
    assert record.layers["1"].output == pytest.approx(np.sqrt((fired**2).mean()), rel=1e-5)
    assert record.layers["1"].dead == (~(fired > 0).any(0)).mean()
    e = np.exp(logits - logits.max(1, keepdims=True))
    signal = (e / e.sum(1, keepdims=True) - np.eye(4)[y.numpy()]) / len(x)
    assert record.layers["2"].signal == pytest.approx(np.linalg.norm(signal), rel=1e-4)
    assert record.layers["0"].signal == pytest.approx(np.linalg.norm((signal @ before[2]) * (hidden > 0)), rel=1e-4)


def test_large_tensors_are_told_by_rows():
    pe.manual_seed(0)
    net = nn.Linear(512, 512)
    flow = watched(net, 0.1, 3, 1, batch=(pe.randn(512, 512), pe.arange(512)))
    whole = np.linalg.norm(net.weight.detach().numpy())
    for record in flow.records:
        layer = record.layers["Linear"]
        assert layer.weight == pytest.approx(whole, rel=0.02) and layer.output == pytest.approx(0.58, rel=0.05)
        assert layer.update == pytest.approx(0.1 * layer.gradient, rel=0.1)


def test_norms_beyond_the_squares_of_float32():
    from pyengine.train.flow_layer import norms_of

    found = norms_of([pe.tensor([3e-30, 4e-30]), pe.zeros(3), pe.tensor([3e30, 4e30]), pe.tensor([3.0, 4.0])])
    assert found == pytest.approx([5e-30, 0, 5e30, 5], rel=1e-6, abs=0)
    found = norms_of([pe.tensor([float("inf"), 1.0]), pe.tensor([float("nan")]), pe.tensor([3.0, 4.0]).to(pe.bfloat16)])
    assert found[0] == math.inf and math.isnan(found[1]) and found[2] == 5


@pytest.mark.parametrize("build", ["mlp", "cnn", "in place"])
def test_watching_changes_no_bit(build):
    def run(every):
        pe.manual_seed(3)
        if build == "mlp":
            net, batch = deep(2, nn.GELU), data()
        else:
            net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(build == "in place"),
                                nn.Dropout(0.2), nn.Flatten(), nn.Linear(8 * 64, 4))  # fmt: skip
            batch = pe.randn(16, 1, 8, 8, generator=pe.Generator(1)), pe.arange(16) % 4
        optimizer = optim.AdamW(net.parameters(), lr=1e-2)
        flow = GradientFlow(every).attach(net, optimizer) if every else None
        learn(net, optimizer, 9, batch)
        if flow:
            assert len(flow.records) == -(-9 // every)
        return b"".join(tensor.numpy().tobytes() for tensor in net.state_dict().values())

    assert run(0) == run(1) == run(4)


def test_layers_come_in_the_order_of_their_calls():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 4)
            self.place = nn.Parameter(pe.zeros(8))
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.first = nn.Linear(32, 8)

        def forward(self, x):
            x = (self.first(x) + self.place)[:, None]
            return self.head(self.attention(x, x, x)[0][:, 0])

    layers = watched(Net(), steps=1).records[0].layers
    assert list(layers) == ["Net", "first", "attention", "attention.out_proj", "head"]
    assert layers["attention.out_proj"].output is None and layers["attention.out_proj"].gradient > 0
    assert layers["attention"].signal > 0 and layers["Net"].weight == 0


def test_frozen_and_tied_weights():
    net = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 4))
    net[0].requires_grad_(False)
    net[1].weight = net[1].weight
    flow = watched(net, steps=1)
    assert list(flow.records[0].layers) == ["1", "2"]
    with pytest.raises(ValueError, match="attach: Linear has no parameter that learns"):
        GradientFlow().attach(net[0], optim.SGD(net[2].parameters()))
    with pytest.raises(TypeError, match="attach: a Module and an Optimizer are needed, got Linear and Linear"):
        GradientFlow().attach(net[0], net[2])
    with pytest.raises(ValueError, match="every must be a positive integer, got 0"):
        GradientFlow(0)


def test_row_sparse_gradients_and_closures():
    pe.manual_seed(0)
    table = nn.Embedding(1000, 8, sparse=True)
    net, ids = nn.Sequential(table, nn.Flatten(), nn.Linear(8, 4)), pe.arange(64)[:, None]
    flow = watched(net, steps=2, every=1, batch=(ids, pe.arange(64) % 4))
    assert flow.records[1].layers["0"].gradient > 0 and not flow.report()
    net, (x, y) = deep(1), data()
    optimizer = optim.LBFGS(net.parameters(), lr=0.1, max_iter=2)
    flow = GradientFlow(1).attach(net, optimizer)

    def closure():
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(net(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    flow.detach()
    assert flow.records[0].layers["0"].gradient > 0 and flow.records[0].layers["0"].update > 0


def test_records_stay_few(monkeypatch):
    monkeypatch.setattr("pyengine.train.flow._RECORDS", 10)
    steps = [record.step for record in watched(deep(1), steps=40, every=1).records]
    assert len(steps) <= 10 and steps[0] == 1 and steps[-1] == 40 and steps == sorted(set(steps))


# ---- the Trainer, and loops by hand -------------------------------------------------


def test_as_a_callback():
    net = deep(2)
    flow = GradientFlow(4)
    run = Trainer(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1), callbacks=[flow, EMA(0.9)],
                  progress=False)  # fmt: skip
    run.fit(data(), data(seed=1), epochs=2, batch_size=8)
    assert [record.step for record in flow.records] == [1, 5, 9, 13] and not flow.report()
    assert all(not module._hooks.forward for module in net.modules() if module._hooks)
    run.fit(data(), epochs=3, batch_size=8)
    assert [record.step for record in flow.records] == [1, 5, 9, 13, 17, 21]


def test_a_run_without_a_step_leaves_no_record(tmp_path):
    net = deep(1)
    made = (net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1))
    run = Trainer(*made, progress=False)
    run.fit(data(), epochs=1, batch_size=8)
    run.save(tmp_path / "last.safetensors")
    flow = GradientFlow(1000)
    Trainer(*made, callbacks=[flow], progress=False).fit(
        data(), epochs=1, batch_size=8, resume=tmp_path / "last.safetensors"
    )
    assert not flow.records and not flow.report()


def test_copies_of_a_watched_model_are_not_watched():
    net = deep(1)
    flow = GradientFlow(1).attach(net, optim.SGD(net.parameters(), lr=0.1))
    copy.deepcopy(net)(data()[0]).sum().backward()
    flow.detach()
    assert not flow.records


def test_a_run_that_ends_in_nan_leaves_a_record():
    x, y = data()
    net, flow = deep(2), GradientFlow(1000)
    run = Trainer(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=1e30), callbacks=[flow], progress=False)
    with pytest.raises(FloatingPointError):
        run.fit((x, y), epochs=20, batch_size=16)
    assert len(flow.records) == 2 and "not finite" in kinds(flow)
    guarded, flow = deep(2), GradientFlow(1)
    run = Trainer(guarded, nn.CrossEntropyLoss(), optim.SGD(guarded.parameters(), lr=1e30), progress=False,
                  callbacks=[NaNGuard(patience=3), flow])  # fmt: skip
    with pytest.raises(FloatingPointError):
        run.fit((x, y), epochs=20, batch_size=16)
    assert "not finite" in kinds(flow)


# ---- networks built to fail, and some that are well ---------------------------------


def test_vanishing():
    found = kinds(watched(deep(30, nn.Sigmoid), lr=0.01))
    assert list(found) == ["vanishing gradients"]
    finding = found["vanishing gradients"]
    assert finding.layer == "50" and finding.module == "Linear" and finding.step == 26  # five layers below the loss
    assert "so it is at 26 of 31 layers" in finding.measured and "times at 0" in finding.measured
    assert "ReLU" in finding.advice and "residual" in finding.advice
    assert "first at 50 (Linear), step 26: gradients here are " in str(finding)


def test_exploding():
    found = kinds(watched(deep(30, gain=3.0), lr=1e-20))
    assert {"exploding outputs", "exploding gradients"} <= set(found)
    assert int(found["exploding outputs"].layer) < 30 and int(found["exploding gradients"].layer) > 24
    assert "kaiming_normal_" in found["exploding outputs"].advice and "Clip" in found["exploding gradients"].advice
    found = kinds(watched(deep(30, gain=3.0), lr=0.01))
    assert {"not finite", "exploding outputs", "large updates"} <= set(found)
    assert found["not finite"].step == 6 and "every=1 shows where it begins" in found["not finite"].measured


def test_dead_units():
    net = deep(3)
    nn.init.constant_(net[2].bias, -100.0)
    found = kinds(watched(net))
    assert list(found) == ["dead units"] and found["dead units"].layer == "3"
    assert "100% of its units fired for no row" in found["dead units"].measured
    net = deep(1)
    with pe.no_grad():
        net[0].bias[:20] = -100.0
    assert "62% of its units" in kinds(watched(net))["dead units"].measured
    pe.manual_seed(0)
    picture = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    with pe.no_grad():
        picture[0].bias[:6] = -100.0
    flow = watched(picture, batch=(pe.randn(16, 1, 8, 8), pe.arange(16) % 4))
    assert flow.records[-1].layers["1"].dead == 0.75


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_too_large_a_rate(activation):
    found = kinds(watched(deep(3, activation), lr=100.0))
    assert "Lower the learning rate" in found["large updates"].advice
    assert "times their norm" in found["large updates"].measured


def test_too_small_a_rate_and_vanishing_outputs():
    assert list(kinds(watched(deep(3), lr=1e-12))) == ["small updates"]
    net = deep(10, nn.Tanh, gain=0.1)
    for module in net:
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    found = kinds(watched(net, lr=1e-9))
    assert {"vanishing outputs", "vanishing gradients"} <= set(found) and int(found["vanishing outputs"].layer) < 20


def test_a_layer_without_gradient():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.cut = nn.Linear(32, 4), nn.Linear(32, 4)

        def forward(self, x):
            return self.used(x) + self.cut(x).detach()

    found = kinds(watched(Net()))
    assert list(found) == ["no gradient"] and found["no gradient"].layer == "cut"


def test_inputs_that_are_nan():
    x, y = data()
    found = kinds(watched(deep(2), steps=1, batch=(x * float("nan"), y)))
    assert found["not finite"].layer == "0" and "its output has the norm nan" in found["not finite"].measured


@pytest.mark.parametrize("kind, lr", [(optim.SGD, 0.05), (optim.AdamW, 1e-3)])
@pytest.mark.parametrize("build", ["mlp", "tanh", "residual", "cnn", "transformer"])
def test_healthy_networks_give_no_finding(build, kind, lr):
    pe.manual_seed(1)
    batch = data()
    if build == "mlp":
        net = deep(4, nn.ReLU, math.sqrt(2), seed=1)
    elif build == "tanh":
        net = deep(4, nn.Tanh, 1.0, seed=1)
    elif build == "residual":
        net = pe.models.resnet18(num_classes=4, stem="3x3")
        batch = pe.randn(8, 3, 16, 16), pe.arange(8) % 4
    elif build == "cnn":
        net, batch = pe.models.small_cnn(num_classes=4), (pe.randn(16, 1, 28, 28), pe.arange(16) % 4)
    else:
        block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        net = nn.Sequential(nn.Unflatten(1, (4, 8)), nn.Linear(8, 32), nn.TransformerEncoder(block, 4), nn.Flatten(),
                            nn.Linear(128, 4))  # fmt: skip
    flow = watched(net, lr, 12, 3, kind, batch)
    assert not flow.report(), str(flow.report())
    assert str(flow.report()) == "nothing found: signals and gradients reach every layer"


def test_no_records_no_findings():
    assert GradientFlow().report() == []
