"""The elementwise family and the reductions beside float64 NumPy: values, slopes, types, errors."""

import numpy as np
import pytest
from scipy import special

import pyengine as pe

RNG = np.random.default_rng(0)


def t(values, requires_grad=False):
    return pe.tensor(np.asarray(values, np.float32), requires_grad=requires_grad)


def given(*shape, low=-3.0, high=3.0):
    return np.random.default_rng(len(shape) + sum(shape)).uniform(low, high, shape).astype(np.float32)


A, B = given(4, 5), given(3, 4, 5)[0]
P, Q = given(4, 5, low=0.2, high=0.8), given(5, low=1.2, high=2.5)
SPREAD = np.sort(RNG.permutation(20).astype(np.float32).reshape(4, 5) / 7 - 1, axis=0)[:, ::-1].copy()

# name, our function of tensors, NumPy's of arrays, inputs
SMOOTH = [
    ("add", lambda a, b: pe.add(a, b, alpha=2.5), lambda a, b: a + 2.5 * b, (A, Q)),
    ("sub", lambda a, b: a.sub(b, alpha=2), lambda a, b: a - 2 * b, (A, Q)),
    ("rsub", pe.rsub, lambda a, b: b - a, (A, B)),
    ("lerp", pe.lerp, lambda a, b, w: a + w * (b - a), (A, B, Q)),
    ("addcmul", lambda x, a, b: pe.addcmul(x, a, b, value=0.3), lambda x, a, b: x + 0.3 * a * b, (A, B, Q)),
    ("addcdiv", lambda x, a, b: x.addcdiv(a, b, value=0.3), lambda x, a, b: x + 0.3 * a / b, (A, B, Q)),
    ("remainder", pe.remainder, np.remainder, (A, Q)),
    ("fmod", pe.fmod, np.fmod, (A, Q)),
    ("hypot", pe.hypot, np.hypot, (A, Q)),
    ("copysign", pe.copysign, np.copysign, (P, A)),
    ("float_power", pe.float_power, np.float_power, (P, Q)),
    ("logaddexp", pe.logaddexp, np.logaddexp, (A, B)),
    ("logaddexp2", pe.logaddexp2, np.logaddexp2, (A, B)),
    ("xlogy", pe.xlogy, special.xlogy, (A, P)),
    ("fmax", pe.fmax, np.fmax, (A, B)),
    ("fmin", pe.fmin, np.fmin, (A, B)),
    ("clamp", lambda x: pe.clamp(x, -1.0, 2.0), lambda x: np.clip(x, -1, 2), (A,)),
    ("clip", lambda x, a, b: x.clip(a, b), lambda x, a, b: np.minimum(np.maximum(x, a), b), (A, P - 1, Q)),
    ("frac", pe.frac, lambda x: x - np.trunc(x), (A,)),
    ("asinh", pe.asinh, np.arcsinh, (A,)),
    ("acosh", pe.acosh, np.arccosh, (Q,)),
    ("atanh", pe.atanh, np.arctanh, (P,)),
    ("sinc", pe.sinc, np.sinc, (A,)),
    ("logit", pe.logit, special.logit, (P,)),
    ("erfinv", pe.erfinv, special.erfinv, (P,)),
    ("lgamma", pe.lgamma, special.gammaln, (P * 8,)),
    ("digamma", pe.digamma, special.digamma, (P * 8,)),
    ("deg2rad", pe.deg2rad, np.deg2rad, (A,)),
    ("rad2deg", pe.rad2deg, np.rad2deg, (A,)),
    ("cumsum", lambda x: x.cumsum(1), lambda x: x.cumsum(1), (A,)),
    ("cumprod", lambda x: x.cumprod(-1), lambda x: x.cumprod(-1), (A,)),
    ("logcumsumexp", lambda x: x.logcumsumexp(0), lambda x: np.logaddexp.accumulate(x, 0), (A,)),
    ("cummax", lambda x: pe.cummax(x, 1).values, lambda x: np.maximum.accumulate(x, 1), (SPREAD,)),
    ("cummin", lambda x: pe.cummin(x, 0)[0], lambda x: np.minimum.accumulate(x, 0), (SPREAD,)),
    ("diff", lambda x: pe.diff(x, 2, 1), lambda x: np.diff(x, 2, 1), (A,)),
    ("max", lambda x: x.max(1).values, lambda x: x.max(1), (SPREAD,)),
    ("min", lambda x: pe.min(x, 0, keepdim=True)[0], lambda x: x.min(0, keepdims=True), (SPREAD,)),
    ("prod", lambda x: x.prod((0, 1)), np.prod, (P,)),
    ("var", lambda x: x.var(1), lambda x: x.var(1, ddof=1), (A,)),
    ("std", lambda x: x.std((0, 1), correction=0), np.std, (A,)),
    ("std_mean", lambda x: pe.std_mean(x, 0, False)[0], lambda x: x.std(0), (A,)),
    ("norm", lambda x: pe.norm(x, 3, 1), lambda x: (np.abs(x) ** 3).sum(1) ** (1 / 3), (A,)),
    ("norm2", lambda x: x.norm(), np.linalg.norm, (A,)),
    ("dist", lambda a, b: pe.dist(a, b, 1), lambda a, b: np.abs(a - b).sum(), (A, B)),
    ("logsumexp", lambda x: pe.logsumexp(x, (0, 1)), special.logsumexp, (A,)),
    ("median", lambda x: x.median(1)[0], lambda x: np.median(x, 1), (SPREAD,)),
    ("quantile", lambda x: pe.quantile(x, 0.3, 0), lambda x: np.quantile(x, 0.3, 0), (SPREAD,)),
    ("cov", pe.cov, np.cov, (A,)),
    ("corrcoef", pe.corrcoef, np.corrcoef, (A[:3],)),
    ("renorm", lambda x: x.renorm(2, 0, 2.0),
     lambda x: x * np.minimum(1, 2 / np.linalg.norm(x, axis=1, keepdims=True)), (A,)),
]  # fmt: skip


def slopes(f, arrays, weight, i, step=1e-4):
    """The gradient of sum(weight f) by its i-th input, by central differences in float64."""
    out = np.zeros_like(arrays[i])
    for at in np.ndindex(out.shape):
        up, down = [a.copy() for a in arrays], [a.copy() for a in arrays]
        up[i][at] += step
        down[i][at] -= step
        out[at] = ((f(*up) - f(*down)) * weight).sum() / (2 * step)
    return out


@pytest.mark.parametrize(("name", "ours", "reference", "inputs"), SMOOTH, ids=[row[0] for row in SMOOTH])
def test_value_and_gradient(name, ours, reference, inputs):
    tensors, arrays = [t(x, True) for x in inputs], [x.astype(np.float64) for x in inputs]
    out = ours(*tensors)
    np.testing.assert_allclose(out.detach().numpy(), reference(*arrays), rtol=2e-5, atol=2e-6)
    weight = np.cos(np.arange(out.numel())).reshape(out.shape)
    gradients = pe.grad((out * t(weight)).sum(), tensors, create_graph=True)
    for i, g in enumerate(gradients):
        np.testing.assert_allclose(g.detach().numpy(), slopes(reference, arrays, weight, i), rtol=2e-3, atol=2e-4)
    # off the tape the value is the same
    with pe.no_grad():
        np.testing.assert_allclose(ours(*tensors).numpy(), out.detach().numpy(), rtol=1e-6, atol=1e-6)


def test_prod_at_zero_is_differentiated_twice():
    x = t([[2.0, 0.0, 5.0], [0.0, 3.0, 0.0], [2.0, 3.0, 4.0]], True)
    (g,) = pe.grad(x.prod(1).sum(), x, create_graph=True)
    assert g.tolist() == [[0.0, 10.0, 0.0], [0.0, 0.0, 0.0], [12.0, 8.0, 6.0]]
    (h,) = pe.grad((g * t([[1, 2, 3], [4, 5, 6], [1, 0, 0]])).sum(), x)
    # by hand: d/dx_j of sum_i w_i prod_(k != i) x_k
    assert h.tolist() == [[10.0, 11.0, 4.0], [18.0, 0.0, 12.0], [0.0, 4.0, 3.0]]


def test_integers_keep_to_torch_types():
    whole = pe.tensor([[1, -2], [3, 4]])
    assert whole.sum().dtype.name == "int64" and whole.sum().item() == 6
    assert (whole > 0).sum(0).tolist() == [2, 1]
    assert pe.tensor([1, 2], dtype="int32").prod().dtype.name == "int64"
    assert (whole // 2).tolist() == [[0, -1], [1, 2]] and (whole % 3).tolist() == [[1, 1], [0, 1]]
    assert pe.div(whole, 2, rounding_mode="trunc").tolist() == [[0, -1], [1, 2]]
    assert pe.fmod(whole, 2).tolist() == [[1, 0], [1, 0]]
    assert (whole & 1).tolist() == [[1, 0], [1, 0]] and (~whole).tolist() == [[-2, 1], [-4, -5]]
    assert (whole << 1).tolist() == [[2, -4], [6, 8]] and (8 >> whole.abs()).tolist() == [[4, 2], [1, 0]]
    assert (whole / 2).dtype.name == "float32" and (whole * 1.5).dtype.name == "float32"
    assert (whole + pe.tensor(1, dtype="int8")).dtype.name == "int64"
    assert (pe.tensor([1], dtype="int8") + pe.tensor(1)).dtype.name == "int8"
    assert whole.max().item() == 4 and whole.max(1).indices.tolist() == [0, 1]
    assert whole.cumsum(0).tolist() == [[1, -2], [4, 2]]


def test_mixed_types_have_a_gradient():
    x = t([1.0, 2.0, 3.0], True)
    (x * pe.tensor([True, False, True]) + x * pe.tensor([1, 2, 3])).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 4.0]


def test_sixteen_bit_floats_are_computed_in_float32():
    x = pe.tensor([1.5, -2.5]).to("bfloat16")
    assert (x * x).dtype.name == "bfloat16" and (x * x).float().tolist() == [2.25, 6.25]
    assert (x + pe.tensor([1.0, 1.0])).dtype.name == "float32"
    assert x.sigmoid().dtype.name == "bfloat16" and x.sum().dtype.name == "bfloat16"


def test_special_values():
    x = t([np.nan, np.inf, -np.inf, 0.0, -0.0])
    np.testing.assert_array_equal(pe.nan_to_num(x, 1.0, 2.0, 3.0).numpy(), [1, 2, 3, 0, 0])
    assert x.signbit().tolist()[1:] == [False, True, False, True]
    assert pe.isposinf(x).tolist() == [False, True, False, False, False]
    np.testing.assert_array_equal(x.clamp(-1, 1).numpy(), [np.nan, 1, -1, 0, 0])
    np.testing.assert_array_equal(t(x.numpy(), True).clamp(-1, 1).detach().numpy(), [np.nan, 1, -1, 0, 0])
    assert x.nansum().isnan().item() and pe.nanmean(t([1.0, np.nan, 3.0])).item() == 2.0
    assert pe.heaviside(t([-1.0, 0.0, 2.0]), t([0.5])).tolist() == [0.0, 0.5, 1.0]
    assert pe.xlogy(t([0.0]), t([0.0])).item() == 0.0
    assert t([1.2345]).round(decimals=2).item() == pytest.approx(1.23)
    assert pe.logaddexp(t([-np.inf]), t([-np.inf])).item() == -np.inf
    assert pe.logsumexp(t([-np.inf, -np.inf]), 0).item() == -np.inf


def test_lengths_of_zero_have_gradient_zero():
    for p in (1, 1.5, 2, 3):
        x = t([0.0, 0.0], True)
        x.norm(p).backward()
        assert x.grad.tolist() == [0.0, 0.0], p
    x = t([2.0, 2.0], True)
    x.std().backward()
    assert x.grad.tolist() == [0.0, 0.0]


def test_clamp_gives_the_gradient_at_a_bound_to_x():
    x = t([-1.0, 0.5, 2.0, 3.0], True)
    x.clamp(-1.0, 2.0).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0, 0.0]


def test_asked_of_all():
    x = t([[0.0, 1.0], [0.0, 0.0]])
    assert x.any(1).tolist() == [True, False] and not x.all().item() and x.count_nonzero(0).tolist() == [0, 1]
    assert pe.allclose(x, x + 1e-9) and not pe.equal(x, x + 1) and pe.equal(x, x.clone())
    assert [i.tolist() for i in pe.where(x)] == [[0], [1]]
    assert pe.aminmax(x, dim=1).max.tolist() == [1.0, 0.0]


def test_in_place_forms_are_recorded():
    x = t([0.5, -0.25], True)
    y = x * 2.0
    assert y.clamp_(min=0.0) is y and y.detach().tolist() == [1.0, 0.0]
    y.add_(x, alpha=3).asinh_().addcmul_(x, x)
    y.sum().backward()
    z = np.array([0.5, -0.25])
    inner = np.maximum(2 * z, 0) + 3 * z
    np.testing.assert_allclose(x.grad.numpy(), (2 * (z > 0) + 3) / np.sqrt(inner**2 + 1) + 2 * z, rtol=1e-6)
    whole = pe.tensor([5, 7])
    assert whole.remainder_(3).tolist() == [2, 1] and whole.bitwise_or_(4).tolist() == [6, 5]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: pe.clamp(t([1.0])), RuntimeError),
        (lambda: pe.div(t([1.0]), 2, rounding_mode="up"), RuntimeError),
        (lambda: pe.tensor([1]) // 0, RuntimeError),
        (lambda: pe.cumsum(t([1.0]), 1), IndexError),
        (lambda: pe.max(t([]), 0), IndexError),
        (lambda: pe.max(t([])), RuntimeError),
        (lambda: pe.bitwise_and(t([1.0]), 1), RuntimeError),
        (lambda: pe.quantile(t([1.0]), 1.5), RuntimeError),
        (lambda: pe.var(pe.tensor([1, 2])), RuntimeError),
        (lambda: pe.tensor([2]) ** -1, RuntimeError),
        (lambda: pe.hypot(t([1.0, 2.0]), t([1.0, 2.0, 3.0])), RuntimeError),
        (lambda: pe.where(t([1.0]), 1.0, 2.0), RuntimeError),
        (lambda: pe.norm(t([1.0]), "what"), RuntimeError),
        (lambda: pe.diff(t(1.0)), RuntimeError),
        (lambda: pe.lerp(1.0, t([1.0]), 0.5), TypeError),
        (lambda: pe.sum(t([1.0]), "0"), TypeError),
        (lambda: pe.sum(pe.tensor([1]), 2), IndexError),
        (lambda: t([1.0]).clamp_(min=t([1.0, 2.0])), RuntimeError),
    ],
)
def test_errors(call, error):
    with pytest.raises(error):
        call()
