"""Losses against float64 NumPy: values, gradients by finite differences, the chunked product, CTC by enumeration."""

import itertools

import numpy as np
import pytest
from scipy import special

import pyengine as pe
from pyengine import _core, nn
from pyengine.nn import functional as F
from pyengine.ops import fallback

rng = np.random.default_rng(0)


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)


def checked(function, formula, *arrays, wanted=(0,)):
    """function's value is formula's, and its gradients are the differences of formula in float64."""
    tensors = [pe.tensor(a) for a in arrays]
    for i in wanted:
        tensors[i].requires_grad_()
    loss = function(*tensors)
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    np.testing.assert_allclose(loss.detach().numpy(), formula(*wide), rtol=2e-5, atol=2e-6)
    loss.sum().backward()
    for i in wanted:
        slopes = np.zeros(arrays[i].shape)
        for place in np.ndindex(arrays[i].shape):
            up, down = [w.copy() for w in wide], [w.copy() for w in wide]
            up[i][place] += 1e-5
            down[i][place] -= 1e-5
            slopes[place] = (np.sum(formula(*up)) - np.sum(formula(*down))) / 2e-5
        np.testing.assert_allclose(tensors[i].grad.numpy(), slopes, rtol=2e-4, atol=2e-5)


def cross(x, t, weight=None, smoothing=0.0, ignore=-100, reduction="mean"):
    """Classes on axis 1, labels as target."""
    logs = -special.log_softmax(x, 1)
    c = x.shape[1]
    w = np.ones(c) if weight is None else weight.astype(float)
    kept = t != ignore
    safe = np.where(kept, t, 0)
    picked = np.take_along_axis(logs, np.expand_dims(safe, 1), 1).squeeze(1) * w[safe]
    spread = (logs * w.reshape(c, *[1] * (x.ndim - 2))).sum(1) / c
    each = kept * ((1 - smoothing) * picked + smoothing * spread)
    total = (kept * w[safe]).sum()
    return each if reduction == "none" else each.sum() / (total if reduction == "mean" else 1)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 2), (2, 4, 3, 2)], ids=str)
def test_cross_entropy(shape, weighted, smoothing, reduction):
    x, t = normal(*shape), rng.integers(0, 4, (shape[0], *shape[2:]))
    t.reshape(-1)[1] = -100
    weight = np.array([0.5, 1.0, 2.0, 0.25], np.float32) if weighted else None
    ours = None if weight is None else pe.tensor(weight)
    layer = nn.CrossEntropyLoss(ours, reduction=reduction, label_smoothing=smoothing)
    checked(lambda a: layer(a, pe.tensor(t)), lambda a: cross(a, t, weight, smoothing, reduction=reduction), x)
    if not smoothing:
        logs = special.log_softmax(x.astype(float), 1).astype(np.float32)
        ours = F.nll_loss(pe.tensor(logs), pe.tensor(t), ours, reduction=reduction)
        np.testing.assert_allclose(ours.numpy(), cross(x.astype(float), t, weight, reduction=reduction), rtol=2e-5)


def test_cross_entropy_with_a_distribution():
    x, p = normal(3, 4, 2), special.softmax(normal(3, 4, 2), 1)
    checked(
        lambda a, q: F.cross_entropy(a, q, label_smoothing=0.1),
        lambda a, q: -(special.log_softmax(a, 1) * (q * 0.9 + 0.1 / 4)).sum(1).mean(),
        x, p, wanted=(0, 1),
    )  # fmt: skip


P = rng.uniform(0.1, 0.9, (3, 4)).astype(np.float32)
Q = rng.uniform(0.1, 0.9, (3, 4)).astype(np.float32)
X, Y = normal(3, 4) * 2, normal(3, 4)
SIGN = np.where(rng.random((3, 4)) < 0.5, -1, 1).astype(np.float32)


def huber(d, delta):
    return np.where(np.abs(d) <= delta, d * d / 2, delta * (np.abs(d) - delta / 2))


PAIRS = {
    "mse": (F.mse_loss, lambda x, y: ((x - y) ** 2).mean(), X, Y),
    "l1": (F.l1_loss, lambda x, y: np.abs(x - y).mean(), X, Y),
    "smooth_l1": (lambda x, y: F.smooth_l1_loss(x, y, beta=0.7), lambda x, y: huber(x - y, 0.7).mean() / 0.7, X, Y),
    "huber": (lambda x, y: F.huber_loss(x, y, delta=0.7), lambda x, y: huber(x - y, 0.7).mean(), X, Y),
    "bce": (F.binary_cross_entropy, lambda p, q: -(q * np.log(p) + (1 - q) * np.log1p(-p)).mean(), P, Q),
    "bce_logits": (
        lambda x, q: F.binary_cross_entropy_with_logits(x, q, pos_weight=pe.tensor([1.0, 2.0, 3.0, 4.0])),
        lambda x, q: (q * [1, 2, 3, 4] * np.logaddexp(0, -x) + (1 - q) * np.logaddexp(0, x)).mean(), X, Q),
    "kl": (lambda x, q: F.kl_div(x, q, reduction="batchmean"), lambda x, q: (q * (np.log(q) - x)).sum() / 3, X, Q),
    "kl_log": (lambda x, y: F.kl_div(x, y, log_target=True), lambda x, y: (np.exp(y) * (y - x)).mean(), X, Y),
    "soft_margin": (F.soft_margin_loss, lambda x, s: np.logaddexp(0, -s * x).mean(), X, SIGN),
    "poisson": (F.poisson_nll_loss, lambda x, q: (np.exp(x) - q * x).mean(), X, Q),
    "focal": (
        lambda x, q: F.sigmoid_focal_loss(x, q, reduction="mean"),
        lambda x, q: ((q * np.logaddexp(0, -x) + (1 - q) * np.logaddexp(0, x)) * (0.25 * q + 0.75 * (1 - q))
                      * (1 - special.expit(x) * q - (1 - special.expit(x)) * (1 - q)) ** 2).mean(), X, Q),
    "multilabel_soft": (
        F.multilabel_soft_margin_loss,
        lambda x, q: (q * np.logaddexp(0, -x) + (1 - q) * np.logaddexp(0, x)).mean(), X, Q),
    "hinge": (F.hinge_embedding_loss, lambda x, s: np.where(s == 1, x, np.maximum(0, 1 - x)).mean(), X, SIGN),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name):
    function, formula, x, y = PAIRS[name]
    wanted = (0, 1) if name in ("mse", "l1", "bce", "kl_log") else (0,)
    checked(function, formula, x, y, wanted=wanted)


def test_gaussian():
    checked(
        lambda x, y, v: F.gaussian_nll_loss(x, y, v, full=True),
        lambda x, y, v: (np.log(2 * np.pi * v) + (x - y) ** 2 / v).mean() / 2,
        X, Y, P, wanted=(0, 1, 2),
    )  # fmt: skip


def test_margins():
    a, b, c = normal(4, 6), normal(4, 6), normal(4, 6)
    s = np.array([1, -1, 1, -1], np.float32)
    cosine = lambda x, y: (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)  # noqa: E731
    checked(
        lambda x, y: F.cosine_embedding_loss(x, y, pe.tensor(s), margin=-0.5),
        lambda x, y: np.where(s == 1, 1 - cosine(x, y), np.maximum(0, cosine(x, y) + 0.5)).mean(),
        a, b, wanted=(0, 1),
    )  # fmt: skip
    norm = lambda x, y: np.sqrt(((x - y + 1e-6) ** 2).sum(1))  # noqa: E731
    checked(
        lambda x, y, z: F.triplet_margin_loss(x, y, z, margin=2.0),
        lambda x, y, z: np.maximum(0, 2 + norm(x, y) - norm(x, z)).mean(),
        a, b, c, wanted=(0, 1, 2),
    )  # fmt: skip
    t = np.array([1, 0, 5, 3])
    rows = np.arange(4)

    def multi(x):
        short = np.maximum(0, 1 - x[rows, t][:, None] + x) ** 2
        short[rows, t] = 0
        return (short.sum(1) / 6).mean()

    checked(lambda x: F.multi_margin_loss(x, pe.tensor(t), p=2), multi, a)
    labels = np.array([[3, 0, -1, 1, 2, 2], [1, 2, 3, -1, 0, 0], [-1] * 6, [0, 1, 2, 3, 4, 5]])

    def multilabel(x):
        total = 0.0
        for row, line in zip(x, labels.tolist(), strict=True):
            given = line[: line.index(-1)] if -1 in line else line
            total += sum(max(0, 1 - (row[j] - row[i])) for j in given for i in range(6) if i not in given) / 6
        return total / 4

    checked(lambda x: F.multilabel_margin_loss(x, pe.tensor(labels)), multilabel, a)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_linear_cross_entropy_is_both_in_one(reduction, weighted):
    x, w, b = normal(2, 7, 5), normal(9, 5), normal(9)
    t = rng.integers(0, 9, (2, 7))
    t[0, 3] = -100
    ours = pe.tensor(rng.uniform(0.5, 2, 9).astype(np.float32)) if weighted else None
    smoothing = 0.0 if weighted else 0.1
    results = []
    for chunk in (None, 3, "both"):
        tensors = [pe.tensor(a, requires_grad=True) for a in (x, w, b)]
        if chunk == "both":
            logits = F.linear(*tensors).reshape(14, 9)
            loss = F.cross_entropy(
                logits, pe.tensor(t).reshape(14), ours, reduction=reduction, label_smoothing=smoothing
            )
        else:
            loss = F.linear_cross_entropy(
                tensors[0], tensors[1], pe.tensor(t), linear_bias=tensors[2], weight=ours, reduction=reduction,
                label_smoothing=smoothing, chunk_size=chunk,
            )  # fmt: skip
        loss.square().sum().backward()
        results.append([loss.detach().numpy().reshape(-1)] + [v.grad.numpy() for v in tensors])
    for result in results[:2]:
        for mine, reference in zip(result, results[2], strict=True):
            np.testing.assert_allclose(mine, reference, rtol=2e-5, atol=2e-6)


def test_linear_cross_entropy_twice():
    x, w, t = normal(4, 3), normal(5, 3), pe.tensor([0, 1, 4, 2])
    seconds = []
    for function in (F.linear_cross_entropy, lambda a, b, c: F.cross_entropy(F.linear(a, b), c)):
        a, b = pe.tensor(x, requires_grad=True), pe.tensor(w, requires_grad=True)
        (first,) = pe.grad(function(a, b, t), [a], create_graph=True)
        seconds.append(pe.grad(first.square().sum(), [a, b]))
    for mine, reference in zip(*seconds, strict=True):
        np.testing.assert_allclose(mine.numpy(), reference.numpy(), rtol=1e-4, atol=1e-6)


def spelled(path, blank=0):
    return [c for c, _ in itertools.groupby(path) if c != blank]


@pytest.mark.parametrize("labels", [[1, 2], [1, 1], [2], []], ids=str)
def test_ctc_is_the_sum_over_all_alignments(labels):
    steps, classes = 4, 3
    scores = normal(steps, 1, classes)

    def all_alignments(x):
        logs = special.log_softmax(x, 2)[:, 0]
        paths = itertools.product(range(classes), repeat=steps)
        scored = [sum(logs[t, c] for t, c in enumerate(path)) for path in paths if spelled(path) == labels]
        return -special.logsumexp(scored)

    target = pe.tensor([[*labels, 1, 1][:2]])
    checked(
        lambda x: F.ctc_loss(F.log_softmax(x, 2), target, [steps], [len(labels)], reduction="sum"),
        all_alignments, scores,
    )  # fmt: skip


def test_ctc_that_cannot_be_spelled():
    x = F.log_softmax(pe.tensor(normal(2, 1, 3)), 2)
    arguments = pe.tensor([[1, 1]]), [2], [2]
    assert F.ctc_loss(x, *arguments).item() == float("inf")
    x.requires_grad_()
    loss = F.ctc_loss(x, *arguments, zero_infinity=True)
    loss.backward()
    assert loss.item() == 0 and not x.grad.numpy().any()


def test_runs_on_our_kernels(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("this rests on NumPy's arithmetic")

    x, t, q = normal(6, 4), pe.tensor([0, 1, 2, 3, 2, 1]), pe.tensor(rng.random((6, 4)).astype(np.float32))
    log_p = F.log_softmax(pe.tensor(normal(5, 6, 4)), 2)
    calls = [lambda a: F.nll_loss(a, t), lambda a: F.cross_entropy(a, t, pe.ones(4), label_smoothing=0.1),
             lambda a: F.linear_cross_entropy(a, q, t), lambda a: F.huber_loss(a, q), lambda a: F.kl_div(a, q),
             lambda a: F.binary_cross_entropy_with_logits(a, q), lambda a: F.multi_margin_loss(a, t.clone()),
             lambda a: F.ctc_loss(log_p + a, pe.tensor([[1, 2]] * 6), [5] * 6, [2] * 6)]  # fmt: skip
    for name in ("add", "subtract", "multiply", "equal", "not_equal", "maximum", "exp", "where"):
        monkeypatch.setattr(np, name, refuse)
    _core.set_fallback("arithmetic", refuse)
    try:
        for call in calls:
            a = pe.tensor(x, requires_grad=True)
            call(a).backward()
            assert a.grad is not None
    finally:
        _core.set_fallback("arithmetic", fallback._arithmetic)


Z = pe.zeros(2, 3)
REFUSED = [
    (lambda: F.mse_loss(Z, Z, reduction="best"), ValueError),
    (lambda: F.mse_loss(Z, [1.0]), TypeError),
    (lambda: F.nll_loss(Z, pe.tensor([0, 3])), IndexError),
    (lambda: F.nll_loss(Z, pe.tensor([0, 1, 2])), ValueError),
    (lambda: F.nll_loss(Z, pe.tensor([0, 1]), pe.ones(2)), RuntimeError),
    (lambda: F.nll_loss(pe.zeros(2, 3, 4), pe.tensor([[0], [1]])), RuntimeError),
    (lambda: F.cross_entropy(Z, pe.tensor([0, 1]), label_smoothing=2.0), RuntimeError),
    (lambda: F.binary_cross_entropy(Z - 1.0, Z), RuntimeError),
    (lambda: F.binary_cross_entropy_with_logits(Z, pe.zeros(2)), ValueError),
    (lambda: F.smooth_l1_loss(Z, Z, beta=-1.0), RuntimeError),
    (lambda: F.huber_loss(Z, Z, delta=0.0), RuntimeError),
    (lambda: F.gaussian_nll_loss(Z, Z, Z - 1.0), ValueError),
    (lambda: F.gaussian_nll_loss(Z, Z, pe.ones(4)), ValueError),
    (lambda: F.margin_ranking_loss(Z, Z, pe.zeros(2)), RuntimeError),
    (lambda: F.multi_margin_loss(Z, pe.tensor([0, 1]), p=3), ValueError),
    (lambda: F.multi_margin_loss(Z, pe.tensor([0, 3])), IndexError),
    (lambda: F.multilabel_margin_loss(Z, pe.tensor([0, 1])), RuntimeError),
    (lambda: F.cosine_embedding_loss(Z, Z, Z), RuntimeError),
    (lambda: F.triplet_margin_loss(Z, Z, Z, margin=0), ValueError),
    (lambda: F.linear_cross_entropy(Z, pe.zeros(4, 5), pe.tensor([0, 1])), RuntimeError),
    (lambda: F.ctc_loss(pe.zeros(2, 1, 3), pe.tensor([[0]]), [2], [1]), RuntimeError),
    (lambda: F.ctc_loss(pe.zeros(2, 1, 3), pe.tensor([[1]]), [3], [1]), RuntimeError),
    (lambda: F.ctc_loss(pe.zeros(2, 1, 3), pe.tensor([[1]]), [2], [2]), RuntimeError),
    (lambda: nn.MultiMarginLoss(p=3), ValueError),
    (lambda: nn.TripletMarginLoss(margin=0), ValueError),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_what_is_refused(case):
    call, error = REFUSED[case]
    with pytest.raises(error):
        call()
