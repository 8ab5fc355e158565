"""The elementwise family and the reductions beside torch: values, gradients, gradients of gradients, types, errors."""

import numpy as np
import pytest

import pyengine as pe

torch = pytest.importorskip("torch")

SHAPES = [(5,), (3, 4), (2, 1, 3), (), (0, 3)]
UNARY = """abs acos add:2 asin atan asinh acosh:1.5 atanh ceil cos cosh deg2rad digamma:0.3 erf erfc erfinv exp exp2
expm1 floor frac isfinite isinf isnan lgamma:0.3 log:0.3 log10:0.3 log1p log2:0.3 logical_not logit:0.3 neg nan_to_num
positive rad2deg reciprocal round rsqrt:0.3 sgn sigmoid sign signbit sin sinc sinh sqrt:0.3 square tan tanh trunc"""
BINARY = """add sub mul div atan2 copysign eq fmax fmin fmod ge gt hypot le logaddexp logaddexp2 lt maximum
minimum ne pow:0.3 remainder true_divide xlogy:0.3 logical_and logical_or logical_xor"""
REDUCED = [
    ("sum", {}), ("mean", {}), ("prod", {}), ("var", {}), ("std", {"correction": 0}), ("logsumexp", {}), ("amax", {}),
    ("amin", {}), ("max", {}), ("min", {}), ("nansum", {}), ("nanmean", {}), ("any", {}), ("all", {}),
    ("count_nonzero", {}), ("argmax", {}), ("argmin", {}), ("median", {}), ("norm", {"p": 3}), ("norm", {"p": 1}),
    ("norm", {"p": float("inf")}), ("cumsum", {}), ("cumprod", {}), ("cummax", {}), ("cummin", {}),
    ("logcumsumexp", {}), ("diff", {}), ("var_mean", {}), ("std_mean", {}),
]  # fmt: skip


def both(shape, seed, shift=None):
    values = np.random.default_rng(seed).uniform(-0.9, 0.9, shape).astype(np.float32)
    if shift is not None:
        values = np.abs(values) * np.float32(0.7) + np.float32(shift)
    return pe.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)


def listed(result):
    return list(result) if isinstance(result, tuple) else [result]


def weight(shape):
    return (1.5 + np.sin(np.arange(int(np.prod(shape))))).astype(np.float32).reshape(shape)


def agree(ours, theirs, our_leaves, their_leaves, twice=True):
    """Results, gradients, and gradients of the gradients."""
    pairs = []
    for a, b in zip(listed(ours), listed(theirs), strict=True):
        assert tuple(a.shape) == tuple(b.shape)
        assert a.dtype.name == str(b.dtype).removeprefix("torch.")
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=1e-5)
        if b.requires_grad and b.numel():
            pairs.append((a, b))
    if not pairs:
        return
    ours = sum((a * pe.tensor(weight(a.shape))).sum() for a, _ in pairs)
    theirs = sum((b * torch.tensor(weight(tuple(b.shape)))).sum() for _, b in pairs)
    if not ours.requires_grad:
        return
    mine = pe.grad(ours, our_leaves, create_graph=twice, allow_unused=True)
    others = torch.autograd.grad(theirs, their_leaves, create_graph=twice, allow_unused=True)
    for g, h in zip(mine, others, strict=True):
        zero = np.zeros_like(h.detach().numpy(force=True)) if g is None else g.detach().numpy()
        np.testing.assert_allclose(zero, 0 if h is None else h.detach().numpy(force=True), rtol=1e-4, atol=1e-5)
    live = [(g, h) for g, h in zip(mine, others, strict=True)
            if twice and g is not None and h is not None and g.requires_grad and h.requires_grad]  # fmt: skip
    if live:
        agree(tuple(g for g, _ in live), tuple(h for _, h in live), our_leaves, their_leaves, twice=False)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("entry", UNARY.split())
def test_unary(entry, shape):
    name, _, shift = entry.partition(":")
    x, y = both(shape, 1, float(shift) if shift else None)
    extra = (2,) if name == "add" else ()
    agree(getattr(pe, name)(x, *extra), getattr(torch, name)(y, *extra), [x], [y])


@pytest.mark.parametrize("shapes", [((4,), (4,)), ((3, 4), (4,)), ((2, 1, 3), (4, 1)), ((), (2,)), ((0, 3), (3,))])
@pytest.mark.parametrize("entry", BINARY.split())
def test_binary(entry, shapes):
    name, _, shift = entry.partition(":")
    pairs = [both(shape, i + 2, float(shift) if shift else None) for i, shape in enumerate(shapes)]
    ours, theirs = [p[0] for p in pairs], [p[1] for p in pairs]
    agree(getattr(pe, name)(*ours), getattr(torch, name)(*theirs), ours, theirs)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (3, 4, 3), ()], ids=str)
@pytest.mark.parametrize("dim", [None, 0, -1])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize(("name", "options"), REDUCED, ids=lambda v: str(v))
def test_reduction(name, options, shape, dim, keepdim):
    if dim is None and name in ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "logsumexp", "diff"):
        pytest.skip("needs an axis")
    if shape == () and name in ("var", "std", "var_mean", "std_mean", "diff", "argmax", "argmin"):
        pytest.skip("nothing to reduce")
    options = dict(options)
    if dim is not None:
        options["dim"] = dim
    if keepdim and not (name.startswith("cum") or name in ("logcumsumexp", "diff", "count_nonzero")):
        if dim is None:
            pytest.skip("torch has no keepdim without an axis for all")
        options["keepdim"] = True
    x, y = both(shape, 5)
    agree(getattr(pe, name)(x, **options), getattr(torch, name)(y, **options), [x], [y])


TYPES = ["float32", "float64", "int64", "int32", "int8", "uint8", "bool"]


@pytest.mark.parametrize("a", TYPES)
@pytest.mark.parametrize("b", [*TYPES, 2, 1.5])
@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize("name", ["add", "mul", "div", "maximum", "eq", "where"])
def test_promotion(a, b, scalar, name):
    values = np.array([[1, 0, 3]])
    left = values.astype(a)
    right = b if isinstance(b, (int, float)) else np.array(1, b) if scalar else values[:, ::-1].astype(b)
    if name == "maximum" and not isinstance(right, np.ndarray):
        pytest.skip("torch takes tensors only")
    call = (lambda m, x, y: m.where(x == x, x, y)) if name == "where" else lambda m, x, y: getattr(m, name)(x, y)
    ours = call(pe, pe.tensor(left), pe.tensor(np.array(right)) if isinstance(right, np.ndarray) else right)
    theirs = call(torch, torch.tensor(left), torch.tensor(np.array(right)) if isinstance(right, np.ndarray) else right)
    assert ours.dtype.name == str(theirs.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.clamp(m.tensor([1.0])),
        lambda m: m.div(m.tensor([1.0]), 2, rounding_mode="up"),
        lambda m: m.cumsum(m.tensor([1.0]), 1),
        lambda m: m.bitwise_and(m.tensor([1.0]), 1),
        lambda m: m.quantile(m.tensor([1.0]), 1.5),
        lambda m: m.var(m.tensor([1, 2])),
        lambda m: m.tensor([2]) ** -1,
        lambda m: m.max(m.tensor([]), 0),
        lambda m: m.max(m.tensor([])),
        lambda m: m.tensor([1]) // 0,
        lambda m: m.hypot(m.tensor([1.0, 2.0]), m.tensor([1.0, 2.0, 3.0])),
        lambda m: m.where(m.tensor([1.0]), 1.0, 2.0),
        lambda m: m.norm(m.tensor([1.0]), "what"),
        lambda m: m.diff(m.tensor(1.0)),
        lambda m: m.lerp(1.0, m.tensor([1.0]), 0.5),
    ],
)
def test_error_types(call):
    with pytest.raises(Exception) as theirs:
        call(torch)
    with pytest.raises(theirs.type):
        call(pe)
