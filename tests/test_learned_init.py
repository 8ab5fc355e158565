"""What initializers are for: deep networks that train, or do not, by how they start."""

import itertools
import math

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn, optim
from pyengine.nn import init
from pyengine.nn.init_metainit import gradient_quotient

cross_entropy = nn.functional.cross_entropy


def task(seed=0):
    """256 points of 8 numbers in 4 classes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((256, 8)).astype(np.float32)
    return pe.from_numpy(x), pe.from_numpy(np.argmax(x[:, :4] + x[:, 4:], 1).astype(np.int64))


def trained(model, lr, steps, x, y):
    """The losses of `steps` steps."""
    optimizer, losses = optim.SGD(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def plain(depth, width, fill):
    """A ReLU net of `depth` layers without normalization, each weight by fill."""
    pe.manual_seed(0)
    sizes = [8, *[width] * (depth - 1), 4]
    layers = []
    for n, m in itertools.pairwise(sizes):
        layers += [nn.Linear(n, m), nn.ReLU()]
        fill(layers[-2].weight)
        init.zeros_(layers[-2].bias)
    return nn.Sequential(*layers[:-1])


def test_thirty_layers_train_from_kaiming_and_stall_from_xavier():
    x, y = task()
    kaiming = trained(plain(30, 48, lambda w: init.kaiming_normal_(w, nonlinearity="relu")), 0.05, 150, x, y)
    xavier = trained(plain(30, 48, init.xavier_normal_), 0.05, 150, x, y)
    assert kaiming[-1] < 0.8
    # the signal of the data is gone: sqrt(2)^-30 of it is left, and all classes look alike
    assert xavier[0] == pytest.approx(math.log(4), abs=1e-3) and xavier[-1] > 1.3


def test_variance_stays_through_fifty_layers():
    pe.manual_seed(0)
    x, variances = pe.randn(128, 1024), []
    for i in range(50):  # the first layer sees numbers of both signs
        w = init.kaiming_normal_(pe.empty(1024, 1024), nonlinearity="relu" if i else "linear")
        x = x @ w.T
        variances.append(float(x.var().item()))
        x = nn.functional.relu(x)
    assert min(variances) > 0.5 and max(variances) < 2.0


def test_lsuv_gives_unit_variance():
    x, _ = task()
    net = plain(12, 32, init.xavier_normal_)
    with pe.no_grad():
        net[4].weight.mul_(1e-3)
    net[3].register_forward_hook(lambda module, args, y: y + 3.0)  # whatever the layers are
    reached = init.lsuv_(net, x)
    assert len(reached) == 12 and all(abs(v - 1) < 0.01 for v in reached.values())
    seen = []
    handles = [m.register_forward_hook(lambda m, a, y: seen.append(y.var(correction=0).item()))
               for m in net if isinstance(m, nn.Linear)]  # fmt: skip
    net(x)
    assert len(handles) == 12 and all(abs(v - 1) < 0.01 for v in seen)
    assert net.training and all(p.grad is None and p.requires_grad for p in net.parameters())


def test_lsuv_keeps_directions_and_skips_what_is_not_called():
    net = nn.Sequential(nn.Linear(8, 6), nn.Tanh())
    net.unused = nn.Linear(3, 3)
    net.forward = lambda x: net[1](net[0](x))
    before, unused = net[0].weight.detach().clone(), net.unused.weight.tolist()
    assert list(init.lsuv_(net, (pe.randn(64, 8),), orthonormal=False)) == ["0"]
    ratio = (net[0].weight.detach() / before).numpy()
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-5)
    assert net.unused.weight.tolist() == unused
    with pytest.raises(ValueError, match="tolerance"):
        init.lsuv_(net, pe.randn(4, 8), tolerance=0)


# ---- a residual net without normalization ------------------------------------------


class Block(nn.Module):
    """x + B relu(A x): its variance grows with every block."""

    def __init__(self, width):
        super().__init__()
        self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)
        for layer in (self.a, self.b):
            init.kaiming_normal_(layer.weight, nonlinearity="relu")
            init.zeros_(layer.bias)

    def forward(self, x):
        return x + self.b(nn.functional.relu(self.a(x)))


def residual():
    pe.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 24), *[Block(24) for _ in range(12)], nn.Linear(24, 4))


def test_gradinit_and_metainit_let_a_net_train_that_diverges():
    x, y = task()
    halves = [(x[:64], y[:64]), (x[64:128], y[64:128])]
    assert not math.isfinite(trained(residual(), 0.1, 60, x, y)[-1])
    net = residual()
    init.gradinit_(net, cross_entropy, halves, lr=2e-2, eta=0.1, steps=60)
    losses = trained(net, 0.1, 60, x, y)
    assert losses[0] < 5 and losses[-1] < 0.5
    net = residual()
    quotients = init.metainit_(net, cross_entropy, halves[:1], steps=60)
    assert quotients[-1] < 0.01 * quotients[0]
    losses = trained(net, 0.1, 60, x, y)
    assert losses[0] < 5 and losses[-1] < 0.9


def test_gradinit_scales_and_bounds():
    x, y = task()
    net = residual()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    found = init.gradinit_(net, cross_entropy, [(x[:32], y[:32])], lr=0.05, gamma=1e9, steps=12, optimizer="adam",
                           eta=1e-3, min_scale=0.5)  # fmt: skip
    assert len(found) == 12 and found[-1] < found[0]
    factors = []
    for name, parameter in net.named_parameters():
        if before[name].abs().sum().item():
            ratio = (parameter.detach() / before[name]).numpy()
            np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-4)
            factors.append(float(ratio.flat[0]))
    assert min(factors) >= 0.5 - 1e-6 and len({round(f, 4) for f in factors}) > 3
    for arguments in ({"optimizer": "rprop"}, {"batches": []}):
        with pytest.raises(ValueError, match="gradinit_"):
            init.gradinit_(net, cross_entropy, **{"batches": [(x, y)], **arguments})


def test_gradient_quotient_is_what_it_says():
    """Of a quadratic loss g and H are known: mean |(g - H g) / (g + eps sign g) - 1|."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((5, 5))
    hessian, w = a @ a.T, rng.standard_normal(5)
    parameter = pe.tensor(w.astype(np.float32), requires_grad=True)
    h = pe.from_numpy(hessian.astype(np.float32))
    g = hessian @ w
    expected = np.abs((g - hessian @ g) / (g + 1e-5 * np.sign(g)) - 1).mean()
    loss = (parameter * (h @ parameter)).sum() * 0.5
    assert gradient_quotient(loss, [parameter]).item() == pytest.approx(expected, rel=1e-4)
    # and the norms of weights move down its slope
    with pytest.raises(ValueError, match="does not depend"):
        gradient_quotient(pe.ones(1, requires_grad=True).sum(), [parameter])
    with pytest.raises(ValueError, match="no weight"):
        init.metainit_(nn.ReLU(), cross_entropy, [(1, 2)])
    with pytest.raises(ValueError, match="batch"):
        init.metainit_(nn.Linear(2, 2), cross_entropy, [])


# ---- few elements that are not 0 -----------------------------------------------------


def test_sparse():
    w = init.sparse_(pe.empty(40, 30), 0.33, std=2.0, generator=pe.Generator(1)).numpy()
    assert ((w == 0).sum(0) == math.ceil(0.33 * 40)).all()
    assert w[w != 0].std() == pytest.approx(2.0, rel=0.1)
    assert len({tuple(np.flatnonzero(column == 0)) for column in w.T}) > 20  # other rows in every column
    assert np.array_equal(w, init.sparse_(pe.empty(40, 30), 0.33, std=2.0, generator=pe.Generator(1)).numpy())
    for shape, sparsity in (((3,), 0.5), ((3, 3), 1.5)):
        with pytest.raises(ValueError, match="sparse_"):
            init.sparse_(pe.empty(*shape), sparsity)


@pytest.mark.parametrize("shape, groups", [((4, 4, 3), 1), ((6, 2, 3, 3), 3), ((2, 5, 3, 2, 3), 1), ((6, 4, 1), 2)])
def test_dirac(shape, groups):
    w = init.dirac_(pe.ones(*shape), groups).numpy()
    expected = np.zeros(shape)
    for o in range(shape[0]):
        i = o % (shape[0] // groups)
        if i < shape[1]:
            expected[(o, i, *[k // 2 for k in shape[2:]])] = 1
    np.testing.assert_array_equal(w, expected)


def test_dirac_refuses():
    for shape, groups in (((3, 3), 1), ((3, 3, 3), 2), ((3, 3, 3), 0)):
        with pytest.raises(ValueError, match="dirac_"):
            init.dirac_(pe.empty(*shape), groups)
    with pytest.raises(AttributeError, match="no attribute 'magic_'"):
        init.magic_  # noqa: B018
