"""Activations, losses and embeddings beside torch's: values and gradients, all reductions, and what both refuse."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import pyengine as pe  # noqa: E402

rng = np.random.default_rng(0)


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32) * 2


def unit(*shape):
    return rng.uniform(0.05, 0.95, shape).astype(np.float32)


def signs(*shape):
    return np.where(rng.random(shape) < 0.5, -1, 1).astype(np.float32)


def both(name, options, arrays, wanted):
    """Values and gradients of torch.nn's and our module of one name are close."""
    results = []
    for library, nn, tensor in ((torch, torch.nn, torch.tensor), (pe, pe.nn, pe.tensor)):
        given = {k: tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        module = getattr(nn, name)(**given)
        tensors = [tensor(a) if isinstance(a, np.ndarray) else a for a in arrays]
        for i in wanted:
            tensors[i].requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = module(*tensors)
        (out * out).sum().backward()
        results.append([out.detach().numpy()] + [tensors[i].grad.numpy() for i in wanted])
        assert library is torch or out.dtype is pe.float32
    for theirs, ours in zip(*results, strict=True):
        assert theirs.shape == ours.shape
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


ACTIVATIONS = [
    ("ReLU", {}), ("ReLU6", {}), ("Hardtanh", {}), ("Hardtanh", {"min_val": -2.0, "max_val": 0.5}), ("Hardsigmoid", {}),
    ("Hardswish", {}), ("Hardshrink", {"lambd": 0.3}), ("Softshrink", {}), ("Tanhshrink", {}), ("Softsign", {}),
    ("LogSigmoid", {}), ("PReLU", {"init": 0.3}), ("SELU", {}), ("CELU", {"alpha": 0.7}), ("ELU", {"alpha": 1.3}),
    ("GLU", {"dim": 1}), ("Mish", {}), ("SiLU", {}), ("Threshold", {"threshold": 0.1, "value": 3.0}), ("Softmin", {}),
    ("Softmax", {}), ("LogSoftmax", {"dim": 0}), ("Softplus", {"beta": 2.0, "threshold": 1.0}), ("GELU", {}),
    ("GELU", {"approximate": "tanh"}), ("LeakyReLU", {"negative_slope": 0.2}), ("Tanh", {}), ("Sigmoid", {}),
]  # fmt: skip


@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 5), (2, 4, 3, 3), (0, 2)], ids=str)
@pytest.mark.parametrize(("name", "options"), ACTIVATIONS, ids=str)
def test_activations(name, options, shape):
    both(name, options, [normal(*shape)], [0])


REDUCTIONS = ["mean", "sum", "none"]
W = np.array([0.5, 1.0, 2.0, 0.25], np.float32)
X, Y, P, Q = normal(5, 4), normal(5, 4), unit(5, 4), unit(5, 4)
LABELS = np.array([0, 3, -100, 2, 1])
SAFE = np.array([0, 3, 1, 2, 1])
SETS = np.array([[1, 2, -1, 0], [3, -1, 0, 0], [-1, 0, 0, 0], [0, 1, 2, 3], [2, 0, 3, -1]])
GRID, GRID_LABELS = normal(2, 4, 3, 2), rng.integers(0, 4, (2, 3, 2))
LOSSES = [
    ("CrossEntropyLoss", {}, [X, LABELS], [0]), ("CrossEntropyLoss", {"weight": W}, [X, LABELS], [0]),
    ("CrossEntropyLoss", {"weight": W, "label_smoothing": 0.3, "ignore_index": 2}, [X, SAFE], [0]),
    ("CrossEntropyLoss", {"label_smoothing": 0.3}, [GRID, GRID_LABELS], [0]),
    ("CrossEntropyLoss", {"weight": W}, [GRID, GRID_LABELS], [0]), ("CrossEntropyLoss", {}, [X[0], SAFE[1]], [0]),
    ("CrossEntropyLoss", {"weight": W, "label_smoothing": 0.2}, [X, P], [0, 1]),
    ("CrossEntropyLoss", {"weight": W}, [GRID, unit(2, 4, 3, 2)], [0]), ("CrossEntropyLoss", {}, [X[0], P[0]], [0]),
    ("NLLLoss", {}, [X, LABELS], [0]), ("NLLLoss", {"weight": W, "ignore_index": 3}, [X, SAFE], [0]),
    ("NLLLoss", {"weight": W}, [GRID, GRID_LABELS], [0]), ("NLLLoss", {}, [X[0], SAFE[1]], [0]),
    ("BCELoss", {"weight": W}, [P, Q], [0, 1]), ("BCELoss", {}, [np.array([0, 1, 0.5], np.float32), unit(3)], [0]),
    ("BCEWithLogitsLoss", {"weight": W, "pos_weight": W[::-1].copy()}, [X, Q], [0, 1]),
    ("BCEWithLogitsLoss", {}, [X * 50, Q], [0]), ("MSELoss", {}, [X, Y], [0, 1]), ("MSELoss", {}, [X, Y[:1]], [0, 1]),
    ("L1Loss", {}, [X, Y], [0, 1]), ("SmoothL1Loss", {"beta": 0.5}, [X, Y], [0, 1]),
    ("SmoothL1Loss", {"beta": 0.0}, [X, Y], [0]), ("HuberLoss", {"delta": 0.8}, [X, Y], [0, 1]),
    ("KLDivLoss", {}, [X, P], [0, 1]), ("KLDivLoss", {"log_target": True}, [X, Y], [0, 1]),
    ("PoissonNLLLoss", {"full": True}, [X, P * 9], [0]), ("PoissonNLLLoss", {"log_input": False}, [P, Q], [0]),
    ("GaussianNLLLoss", {"full": True}, [X, Y, P], [0, 1, 2]), ("GaussianNLLLoss", {}, [X, Y, P[:, :1]], [0, 2]),
    ("GaussianNLLLoss", {"eps": 0.5}, [X, Y, P[:, 0]], [0, 2]), ("SoftMarginLoss", {}, [X, signs(5, 4)], [0]),
    ("HingeEmbeddingLoss", {"margin": 0.6}, [X, signs(5, 4)], [0]),
    ("MarginRankingLoss", {"margin": 0.3}, [X, Y, signs(5, 4)], [0, 1]),
    ("MultiLabelMarginLoss", {}, [X, SETS], [0]), ("MultiLabelMarginLoss", {}, [X[0], SETS[0]], [0]),
    ("MultiLabelSoftMarginLoss", {"weight": W}, [X, Q.round()], [0]), ("MultiMarginLoss", {}, [X, SAFE], [0]),
    ("MultiMarginLoss", {"p": 2, "margin": 0.7, "weight": W}, [X, SAFE], [0]),
    ("MultiMarginLoss", {}, [X[0], SAFE[1]], [0]),
    ("CosineEmbeddingLoss", {"margin": 0.1}, [X, Y, signs(5)], [0, 1]),
    ("CosineEmbeddingLoss", {}, [X[0], Y[0], signs()], [0, 1]),
    ("TripletMarginLoss", {"swap": True}, [X, Y, normal(5, 4)], [0, 1, 2]),
    ("TripletMarginLoss", {"p": 3.0, "margin": 2.5}, [X, Y, normal(5, 4)], [0, 1, 2]),
    ("TripletMarginLoss", {"p": 1.0}, [X[0], Y[0], normal(4)], [0, 1, 2]),
    ("TripletMarginWithDistanceLoss", {"swap": True}, [X, Y, normal(5, 4)], [0, 1, 2]),
]  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", range(len(LOSSES)), ids=lambda i: f"{LOSSES[i][0]}-{i}")
def test_losses(case, reduction):
    name, options, arrays, wanted = LOSSES[case]
    both(name, {**options, "reduction": reduction}, [np.asarray(a) for a in arrays], wanted)


def test_batchmean():
    both("KLDivLoss", {"reduction": "batchmean"}, [X, P], [0, 1])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("joined", [False, True])
def test_ctc(reduction, joined):
    scores, lengths, steps = normal(12, 3, 5), [4, 1, 0], [12, 7, 9]
    labels = np.array([[1, 1, 2, 4], [3, 1, 1, 1], [1, 1, 1, 1]])
    target = np.concatenate([row[:n] for row, n in zip(labels, lengths, strict=True)]) if joined else labels
    results = []
    # torch in float64: in float32 its gradient is off by more than ours
    for F, tensor, given in ((torch.nn.functional, torch.tensor, scores.astype(float)),
                             (pe.nn.functional, pe.tensor, scores)):  # fmt: skip
        x = tensor(given).requires_grad_()
        loss = F.ctc_loss(F.log_softmax(x, 2), tensor(target), tensor(steps), tensor(lengths), reduction=reduction)
        (loss * loss).sum().backward()
        results.append((loss.detach().numpy(), x.grad.numpy()))
    for theirs, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


TABLE, INDEX = normal(7, 3), rng.integers(0, 7, (4, 5))
TABLES = [
    ("Embedding", {}, [INDEX]), ("Embedding", {"padding_idx": 2}, [INDEX]), ("Embedding", {"max_norm": 1.5}, [INDEX]),
    ("Embedding", {"max_norm": 1.0, "norm_type": 1.0, "scale_grad_by_freq": True}, [INDEX]),
    ("EmbeddingBag", {}, [INDEX]), ("EmbeddingBag", {"mode": "max", "padding_idx": -2}, [INDEX]),
    ("EmbeddingBag", {"mode": "mean", "padding_idx": 1}, [INDEX.reshape(-1), np.array([0, 4, 4, 9])]),
    ("EmbeddingBag", {"mode": "max", "include_last_offset": True}, [INDEX.reshape(-1), np.array([0, 4, 4, 20])]),
    ("EmbeddingBag", {"mode": "sum"}, [INDEX, None, normal(4, 5)]),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(TABLES)))
def test_tables(case):
    name, options, arrays = TABLES[case]
    results = []
    for nn, tensor in ((torch.nn, torch.tensor), (pe.nn, pe.tensor)):
        layer = getattr(nn, name)(7, 3, _weight=tensor(TABLE.copy()), **options)
        out = layer(*[a if a is None else tensor(a) for a in arrays])
        (out * out).sum().backward()
        results.append((out.detach().numpy(), layer.weight.detach().numpy(), layer.weight.grad.numpy()))
    for theirs, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


REFUSED = [
    lambda t, F: F.nll_loss(t.zeros(2, 3), t.tensor([0, 3])),
    lambda t, F: F.nll_loss(t.zeros(2, 3), t.tensor([0, 1, 2])),
    lambda t, F: F.nll_loss(t.zeros(2, 3), t.tensor([0, 1]), t.ones(2)),
    lambda t, F: F.cross_entropy(t.zeros(2, 3), t.tensor([0, 1, 2])),
    lambda t, F: F.cross_entropy(t.zeros(2, 3), t.tensor([0, 1]), label_smoothing=2.0),
    lambda t, F: F.binary_cross_entropy(t.zeros(3) - 1, t.zeros(3)),
    lambda t, F: F.binary_cross_entropy(t.zeros(3), t.zeros(2)),
    lambda t, F: F.binary_cross_entropy_with_logits(t.zeros(3), t.zeros(2)),
    lambda t, F: F.mse_loss(t.zeros(3), t.zeros(3), reduction="best"),
    lambda t, F: F.smooth_l1_loss(t.zeros(3), t.zeros(3), beta=-1.0),
    lambda t, F: F.huber_loss(t.zeros(3), t.zeros(3), delta=0.0),
    lambda t, F: F.gaussian_nll_loss(t.zeros(3), t.zeros(3), t.zeros(3) - 1),
    lambda t, F: F.gaussian_nll_loss(t.zeros(3), t.zeros(3), t.ones(2)),
    lambda t, F: F.margin_ranking_loss(t.zeros(2, 3), t.zeros(2, 3), t.zeros(2)),
    lambda t, F: F.cosine_embedding_loss(t.zeros(2, 3), t.zeros(2, 3), t.zeros(2, 3)),
    lambda t, F: F.multi_margin_loss(t.zeros(2, 3), t.tensor([0, 1]), p=3),
    lambda t, F: F.triplet_margin_loss(t.zeros(2, 3), t.zeros(2, 3), t.zeros(2, 3), margin=0.0),
    lambda t, F: F.embedding(t.tensor([7]), t.zeros(7, 3)),
    lambda t, F: F.embedding(t.tensor([1.0]), t.zeros(7, 3)),
    lambda t, F: F.embedding(t.tensor([1]), t.zeros(7, 3), padding_idx=9),
    lambda t, F: F.embedding_bag(t.tensor([1]), t.zeros(7, 3)),
    lambda t, F: F.glu(t.zeros(3)),
    lambda t, F: F.glu(t.zeros(4), 2),
    lambda t, F: F.celu(t.zeros(3), 0.0),
    lambda t, F: F.softshrink(t.zeros(3), -1.0),
    lambda t, F: F.prelu(t.zeros(2, 3), t.zeros(2)),
    lambda t, F: F.dropout(t.zeros(3), 1.5),
    lambda t, F: F.dropout1d(t.zeros(3)),
    lambda t, F: F.linear_cross_entropy(t.zeros(2, 3), t.zeros(4, 5), t.tensor([0, 1])),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_both_refuse_alike(case):
    call = REFUSED[case]
    with pytest.raises(Exception) as theirs:
        call(torch, torch.nn.functional)
    with pytest.raises(theirs.type):
        call(pe, pe.nn.functional)
