"""Every row of the elementwise table, forward and backward, against tests/reference.py."""

import numpy as np
import pytest
import reference as ref

import pyengine as pe
from pyengine import _core

ROWS = {row["name"]: row for row in _core.elementwise_rows()}
SMOOTH = {**ref.UNARY, **ref.BINARY}
SIZES = [(), (1,), (3,), (17,), (5, 67), (3, 1, 129), (0, 4)]  # tails of every vector length


def inputs_of(name, shape, seed=0):
    rng = np.random.default_rng(seed)
    arrays = [ref.draw(name, shape, rng) for _ in range(ROWS[name]["inputs"])]
    if name in ref.THRESHOLD:  # kinks at |a| = b: a keeps away from b = 0.5 .. 1
        arrays[1] = rng.uniform(0.5, 1, shape).astype(np.float32)
        arrays[0] = np.where(np.abs(np.abs(arrays[0]) - arrays[1]) < 0.05, 2, arrays[0]).astype(np.float32)
    return arrays


def close(actual, expected, relative=4e-6, absolute=2e-6):
    actual = np.asarray(actual)
    assert actual.shape == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol=relative, atol=absolute)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_forward(name, shape):
    arrays = inputs_of(name, shape)
    expected = SMOOTH[name](*[a.astype(np.float64) for a in arrays])
    out = _core.elementwise(ROWS[name]["op"], *map(pe.from_numpy, arrays))
    assert out.dtype is pe.float32
    close(out, expected)


@pytest.mark.parametrize("name", SMOOTH)
def test_first_and_second_derivative(name):
    """d/dx_i of sum(u f) and then d/dx_j of sum(v d), with random u and v."""
    arrays = inputs_of(name, (7, 33), seed=1)
    wide = [a.astype(np.float64) for a in arrays]
    rng = np.random.default_rng(2)
    u, v = rng.normal(size=(2, 7, 33)).astype(np.float32)
    f = SMOOTH[name]
    tensors = [pe.tensor(a, requires_grad=True) for a in arrays]
    out = _core.elementwise(ROWS[name]["op"], *tensors)
    firsts = pe.grad((out * pe.from_numpy(u)).sum(), tensors, create_graph=True, allow_unused=True)
    for i, first in enumerate(firsts):
        expected = u * ref.slope(f, wide, i)
        if first is None:
            assert np.abs(expected).max() < 1e-6
            continue
        close(first.detach(), expected, 2e-5, 2e-5)
        if not first.requires_grad:
            continue
        seconds = pe.grad((first * pe.from_numpy(v)).sum(), tensors, retain_graph=True, allow_unused=True)
        for j, second in enumerate(seconds):
            mixed = v * u * ref.slope(lambda *args, i=i: ref.slope(f, list(args), i, 1e-3), wide, j, 1e-3)
            got = np.zeros((7, 33)) if second is None else np.asarray(second)
            close(got, mixed, 1e-3, 1e-3)


@pytest.mark.parametrize("name", ref.COMPARE)
def test_comparison(name):
    special = np.array([0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e-42], np.float32)
    a, b = np.repeat(special, 7), np.tile(special, 7)
    out = _core.elementwise(ROWS[name]["op"], pe.from_numpy(a), pe.from_numpy(b))
    assert out.dtype is pe.bool_
    np.testing.assert_array_equal(np.asarray(out), ref.COMPARE[name](a, b))


@pytest.mark.parametrize("name", ref.TEST)
def test_property(name):
    x = np.array([0.0, 1.0, np.nan, np.inf, -np.inf, 3e38] * 5, np.float32)
    out = _core.elementwise(ROWS[name]["op"], pe.from_numpy(x))
    np.testing.assert_array_equal(np.asarray(out), ref.TEST[name](x))


@pytest.mark.parametrize("name", ref.LOGICAL)
def test_logical(name):
    a, b = np.array([True, True, False, False] * 9), np.array([True, False, True, False] * 9)
    args = [a, b][: ROWS[name]["inputs"]]
    out = _core.elementwise(ROWS[name]["op"], *map(pe.from_numpy, args))
    np.testing.assert_array_equal(np.asarray(out), ref.LOGICAL[name](*args))


def test_where_takes_no_nan_from_the_other_side():
    condition = pe.tensor([True, False, True])
    a = pe.tensor([1.0, np.nan, 3.0], requires_grad=True)
    b = pe.tensor([np.inf, 5.0, np.nan], requires_grad=True)
    out = pe.where(condition, a, b)
    out.sum().backward()
    assert out.tolist() == [1.0, 5.0, 3.0]
    assert a.grad.tolist() == [1.0, 0.0, 1.0]
    assert b.grad.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("name", SMOOTH)
def test_body_and_tail_agree(name):
    """An element has the same bits wherever it lies in a vector, and in place or not."""
    arrays = inputs_of(name, (67,), seed=3)
    for a in arrays:
        a[[0, 13, 40, 66]] = [np.nan, np.inf, -np.inf, -0.0]
    op = ROWS[name]["op"]
    whole = np.asarray(_core.elementwise(op, *map(pe.from_numpy, arrays)))
    ones = [[pe.tensor(a[i : i + 1]) for a in arrays] for i in range(67)]
    single = [np.asarray(_core.elementwise(op, *args)) for args in ones]
    same_bits(whole, np.concatenate(single))
    strided = [np.repeat(a, 3)[::3] for a in arrays]
    same_bits(whole, np.asarray(_core.elementwise(op, *map(pe.from_numpy, strided))))


def same_bits(a, b):
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    nan = np.isnan(a)
    np.testing.assert_array_equal(nan, np.isnan(b))
    np.testing.assert_array_equal(a.view(np.int32)[~nan], b.view(np.int32)[~nan])


@pytest.mark.parametrize("name", [n for n in SMOOTH if n not in ("zero", "sign")])
def test_nan_passes(name):
    arrays = [np.full(19, np.nan, np.float32) for _ in range(ROWS[name]["inputs"])]
    assert np.isnan(np.asarray(_core.elementwise(ROWS[name]["op"], *map(pe.from_numpy, arrays)))).all()


BROADCASTS = [((3, 4), (4,)), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)), ((), (5,)), ((1,), (2, 2)), ((0, 3), (3,))]


@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
@pytest.mark.parametrize("name", ["add", "mul", "div", "leaky_relu"])
def test_broadcast_gradients_sum_back(name, shapes):
    rng = np.random.default_rng(4)
    arrays = [ref.draw(name, s, rng) for s in shapes]
    tensors = [pe.tensor(a, requires_grad=True) for a in arrays]
    out = _core.elementwise(ROWS[name]["op"], *tensors)
    weights = rng.normal(size=out.shape).astype(np.float32)
    (out * pe.from_numpy(weights)).sum().backward()
    wide = [np.broadcast_to(a.astype(np.float64), out.shape) for a in arrays]
    for i, x in enumerate(tensors):
        full = weights * ref.slope(SMOOTH[name], list(wide), i)
        lead = full.ndim - x.ndim
        axes = tuple(k for k in range(full.ndim) if k < lead or x.shape[k - lead] == 1)
        close(x.grad, full.sum(axis=axes).reshape(x.shape) if axes else full, 2e-5, 2e-5)


AXES = [None, 0, 1, -1, (0, 2), (0, 1, 2)]


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", AXES, ids=str)
@pytest.mark.parametrize("name", ref.REDUCTION)
def test_reduction(name, dim, keepdim):
    rng = np.random.default_rng(5)
    a = rng.uniform(0.5, 1.5, (5, 70, 3)).astype(np.float32)
    x = pe.tensor(a, requires_grad=True)
    out = getattr(pe, name)(x, dim=dim, keepdim=keepdim)
    expected = ref.REDUCTION[name](a.astype(np.float64), dim, keepdim)
    close(out.detach(), expected, 1e-5)
    u = rng.normal(size=out.shape).astype(np.float32)
    (out * pe.from_numpy(u)).sum().backward()
    step = 1e-6
    direction = rng.normal(size=a.shape)
    up, down = (ref.REDUCTION[name](a + s * step * direction, dim, keepdim) for s in (1, -1))
    slope = np.sum(u * (up - down)) / (2 * step)
    assert np.sum(np.asarray(x.grad) * direction) == pytest.approx(slope, rel=2e-4, abs=2e-4)


@pytest.mark.parametrize("name", ["matmul", "linear", "softmax", "log_softmax", "cross_entropy", "mse_loss"])
def test_structured_by_random_projection(name):
    """<gradient, direction> against the difference quotient of the float64 reference."""
    rng = np.random.default_rng(6)
    shapes = {"matmul": [(2, 5, 7), (7, 9)], "linear": [(3, 4, 7), (9, 7), (9,)], "mse_loss": [(4, 6), (4, 6)]}
    arrays = [rng.normal(size=s).astype(np.float32) for s in shapes.get(name, [(6, 11)])]
    labels = rng.integers(0, 11, 6)
    extra = (labels,) if name == "cross_entropy" else ()
    f = ref.STRUCTURED[name]
    tensors = [pe.tensor(a, requires_grad=True) for a in arrays]
    out = getattr(pe, name)(*tensors, *map(pe.tensor, extra))
    wide = [a.astype(np.float64) for a in arrays]
    close(out.detach(), f(*wide, *extra), 1e-5, 1e-5)
    u = rng.normal(size=out.shape).astype(np.float32)
    (out * pe.tensor(u)).sum().backward()
    for i, x in enumerate(tensors):
        direction = rng.normal(size=x.shape)
        up, down = list(wide), list(wide)
        up[i], down[i] = wide[i] + 1e-6 * direction, wide[i] - 1e-6 * direction
        slope = np.sum(u * (f(*up, *extra) - f(*down, *extra))) / 2e-6
        assert np.sum(np.asarray(x.grad) * direction) == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_laws():
    """Linearity and adjointness of the product, shift invariance of softmax."""
    rng = np.random.default_rng(7)
    a, b, c = (pe.tensor(rng.normal(size=(20, 20)).astype(np.float32)) for _ in range(3))
    np.testing.assert_allclose(((a + b) @ c).numpy(), (a @ c + b @ c).numpy(), atol=2e-5)
    left = ((a @ b) * c).sum().item()  # <a b, c> = <b, a^T c>
    assert left == pytest.approx((b * (a.T @ c)).sum().item(), rel=1e-4)
    np.testing.assert_allclose(pe.softmax(a + 3.0).numpy(), pe.softmax(a).numpy(), atol=1e-6)


def test_same_bits_for_any_number_of_threads():
    rng = np.random.default_rng(8)
    x = pe.tensor(rng.normal(size=(1031, 517)).astype(np.float32))
    w = pe.tensor(rng.normal(size=(300, 517)).astype(np.float32))

    def everything():
        return [t.numpy().tobytes() for t in (
            pe.gelu(x), x + x.T.contiguous().reshape(1031, 517), x.sum(), x.sum(0), x.sum(1), x.mean(), x.amax(0),
            pe.linear(x, w), x.T @ x, pe.softmax(x), pe.log_softmax(x, 0), x.argmax(1), x.T.contiguous(),
        )]  # fmt: skip

    with pe.num_threads(1):
        expected = everything()
    for n in (2, 3, 8):
        before = pe.pool_stats()["worker_chunks"]
        with pe.num_threads(n):
            for _ in range(20):  # a worker may come late: again until one took a chunk
                assert everything() == expected
                if pe.pool_stats()["worker_chunks"] > before:
                    break
        assert pe.pool_stats()["worker_chunks"] > before


@pytest.mark.parametrize("dim", [0, -1])
def test_a_scalar_has_an_axis_of_its_own(dim):
    """As in torch: a tensor without axes may be asked for axis 0 or -1, and for no other."""
    for f in (pe.sum, pe.mean, pe.prod, pe.amax, pe.amin):
        x = pe.tensor(3.0, requires_grad=True)
        out = f(x, dim)
        assert out.shape == () and out.item() == 3.0
        out.backward()
        assert x.grad.item() == 1.0
    x = pe.tensor(3.0)
    assert pe.argmax(x, dim).item() == 0 and pe.argmax(x, dim).shape == ()
    assert pe.softmax(x, dim).item() == 1.0 and pe.log_softmax(x, dim).item() == 0.0
    assert x.transpose(0, dim).shape == ()
    for f in (pe.sum, pe.argmax, pe.softmax, pe.amax):
        with pytest.raises(IndexError, match="axis 1 is out of range"):
            f(x, 1)


def test_vector_times_vector_is_a_number():
    x, y = pe.tensor([1.0, 2.0], requires_grad=True), pe.tensor([3.0, 4.0])
    out = x @ y
    assert out.shape == () and out.item() == 11.0
    out.backward()
    assert x.grad.tolist() == [3.0, 4.0]
