"""Shapes, joins, windows, products and images beside float64 NumPy: values, gradients, and gradients of gradients."""

import numpy as np
import pytest

import pyengine as pe
from pyengine.nn import functional as F


def im2col(x, k, d, p, s):
    """nn.functional.unfold, element by element."""
    x = np.pad(x, [(0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])])
    n, c, h, w = x.shape
    rows, columns = (h - d[0] * (k[0] - 1) - 1) // s[0] + 1, (w - d[1] * (k[1] - 1) - 1) // s[1] + 1
    out = np.empty((n, c * k[0] * k[1], rows * columns))
    for i in range(k[0]):
        for j in range(k[1]):
            for r in range(rows):
                for q in range(columns):
                    out[:, i * k[1] + j :: k[0] * k[1], r * columns + q] = x[
                        :, :, r * s[0] + i * d[0], q * s[1] + j * d[1]
                    ]
    return out


def nearest(x, h, w):
    return x[:, :, np.arange(h) * x.shape[2] // h][:, :, :, np.arange(w) * x.shape[3] // w]


# name: ours, NumPy's, shape of x
LINEAR = {
    "split": (
        lambda x: pe.cat(x.split(2, 1)[::-1], 1),
        lambda x: np.concatenate([x[:, 4:], x[:, 2:4], x[:, :2]], 1),
        (3, 5),
    ),
    "split sizes": (lambda x: x.split([1, 4], -1)[1], lambda x: x[:, 1:], (3, 5)),
    "chunk": (lambda x: x.chunk(3, 0)[1], lambda x: x[3:6], (7, 2)),
    "tensor_split": (lambda x: x.tensor_split(3)[1], lambda x: np.array_split(x, 3)[1], (7, 2)),
    "unbind": (lambda x: x.unbind(1)[2] * 2.0, lambda x: x[:, 2] * 2, (3, 4)),
    "narrow": (lambda x: x.narrow(1, -3, 2), lambda x: x[:, 1:3], (3, 4)),
    "flip": (lambda x: x.flip(0, -1), lambda x: np.flip(x, (0, 2)), (2, 3, 4)),
    "roll": (lambda x: x.roll((1, -5), (0, 2)), lambda x: np.roll(x, (1, -5), (0, 2)), (2, 3, 4)),
    "roll flat": (lambda x: x.roll(-4), lambda x: np.roll(x, -4), (3, 4)),
    "rot90": (lambda x: x.rot90(3, (2, 0)), lambda x: np.rot90(x, 3, (2, 0)), (2, 3, 4)),
    "repeat": (lambda x: x.repeat(2, 1, 3), lambda x: np.tile(x, (2, 1, 3)), (2, 3)),
    "repeat of 5 axes": (lambda x: x.repeat(2, 1, 2, 3, 2), lambda x: np.tile(x, (2, 1, 2, 3, 2)), (1, 2, 1, 2, 2)),
    "tile": (lambda x: x.tile(2), lambda x: np.tile(x, 2), (2, 3)),
    "repeat_interleave": (lambda x: x.repeat_interleave(3, 1), lambda x: np.repeat(x, 3, 1), (2, 3)),
    "repeat_interleave counts": (
        lambda x: x.repeat_interleave(pe.tensor([2, 0, 1]), 1),
        lambda x: np.repeat(x, [2, 0, 1], 1),
        (2, 3),
    ),
    "movedim": (lambda x: x.movedim((0, 1), (-1, 0)), lambda x: np.moveaxis(x, (0, 1), (-1, 0)), (2, 3, 4)),
    "unflatten": (lambda x: x.unflatten(1, (2, -1)), lambda x: x.reshape(2, 2, 3), (2, 6)),
    "hstack": (lambda x: pe.hstack([x, x]), lambda x: np.hstack([x, x]), (2, 3)),
    "vstack": (lambda x: pe.vstack([x, x]), lambda x: np.vstack([x, x]), (3,)),
    "dstack": (lambda x: pe.dstack([x, x]), lambda x: np.dstack([x, x]), (2, 3)),
    "column_stack": (lambda x: pe.column_stack([x, x]), lambda x: np.column_stack([x, x]), (3,)),
    "squeeze": (lambda x: x.squeeze((0, 2)), lambda x: x[0], (1, 2, 3, 1)),
    "meshgrid": (lambda x: pe.meshgrid(x, x, indexing="xy")[0], lambda x: np.meshgrid(x, x)[0], (3,)),
    "cartesian_prod": (
        lambda x: pe.cartesian_prod(x, x),
        lambda x: np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2),
        (3,),
    ),
    "block_diag": (
        lambda x: pe.block_diag(x, x[0]),
        lambda x: np.block([[x, np.zeros((2, 3))], [np.zeros((1, 3)), x[:1]]]),
        (2, 3),
    ),
    "diagonal": (lambda x: x.diagonal(1, 0, 2), lambda x: np.diagonal(x, 1, 0, 2), (3, 2, 4)),
    "diagonal below": (lambda x: x.diagonal(-2), lambda x: np.diagonal(x, -2), (4, 3)),
    "diag_embed": (lambda x: x.diag_embed(-1), lambda x: np.stack([np.diag(row, -1) for row in x]), (2, 3)),
    "diagflat": (lambda x: x.diagflat(2), lambda x: np.diagflat(x, 2), (2, 2)),
    "tril": (lambda x: x.tril(-1), lambda x: np.tril(x, -1), (2, 3, 4)),
    "triu": (lambda x: x.triu(1), lambda x: np.triu(x, 1), (2, 3, 4)),
    "trace": (lambda x: x.trace(), np.trace, (3, 4)),
    "pad": (lambda x: F.pad(x, (1, -1, 2, 0)), lambda x: np.pad(x, [(2, 0), (1, 0)])[:, :-1], (3, 4)),
    "reflect": (
        lambda x: F.pad(x, (2, 1, 3, 0), "reflect"),
        lambda x: np.pad(x, [(0, 0), (3, 0), (2, 1)], "reflect"),
        (2, 4, 3),
    ),
    "replicate": (lambda x: F.pad(x, (2, 1), "replicate"), lambda x: np.pad(x, [(0, 0), (2, 1)], "edge"), (2, 3)),
    "circular": (
        lambda x: F.pad(x, (2, 1, 0, 3), "circular"),
        lambda x: np.pad(x, [(0, 0), (0, 3), (2, 1)], "wrap"),
        (2, 4, 3),
    ),
    "Tensor.unfold": (
        lambda x: x.unfold(1, 3, 2),
        lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, 1)[:, ::2],
        (2, 8),
    ),
    "as_strided": (lambda x: x.as_strided((2, 3), (1, 2), 1), lambda x: x.reshape(-1)[[[1, 3, 5], [2, 4, 6]]], (2, 4)),
    "unfold": (
        lambda x: F.unfold(x, (2, 3), (2, 1), (1, 0), (1, 2)),
        lambda x: im2col(x, (2, 3), (2, 1), (1, 0), (1, 2)),
        (2, 2, 4, 5),
    ),
    "pixel_shuffle": (
        lambda x: pe.pixel_shuffle(x, 2),
        lambda x: x.reshape(2, 2, 2, 2, 2, 3).transpose(0, 1, 4, 2, 5, 3).reshape(2, 2, 4, 6),
        (2, 8, 2, 3),
    ),
    "pixel_unshuffle": (lambda x: pe.pixel_shuffle(pe.pixel_unshuffle(x, 2), 2), lambda x: x, (2, 2, 4, 6)),
    "channel_shuffle": (lambda x: pe.channel_shuffle(x, 2), lambda x: x[:, [0, 3, 1, 4, 2, 5]], (2, 6, 2)),
    "nearest": (lambda x: F.interpolate(x, (5, 6)), lambda x: nearest(x, 5, 6), (1, 2, 4, 3)),
    "area": (
        lambda x: F.interpolate(x, (2, 3), mode="area"),
        lambda x: x.reshape(1, 2, 2, 2, 3, 2).mean((3, 5)),
        (1, 2, 4, 6),
    ),
    "einsum": (lambda x: pe.einsum("...ij->...ji", x), lambda x: np.einsum("...ij->...ji", x), (2, 3, 4)),
    "einsum diagonal": (lambda x: pe.einsum("iji->j", x), lambda x: np.einsum("iji->j", x), (3, 2, 3)),
    "cross": (lambda x: pe.cross(x, pe.ones(2, 3)), lambda x: np.cross(x, np.ones((2, 3))), (2, 3)),
}


def weights(shape):
    return (1.25 + np.cos(np.arange(int(np.prod(shape))))).astype(np.float32).reshape(shape)


def numeric(f, x, w, h=1e-5):
    """The gradient of sum(f(x) w) by central differences."""
    x, g = x.astype(np.float64), np.empty(x.shape)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        g[i] = ((f(up) - f(down)) * w).sum() / (2 * h)
    return g


def gradient(f, x):
    """The gradient of sum(w f(x)^2), on the tape."""
    y = f(x)
    return pe.grad((y * y * pe.tensor(weights(y.shape))).sum(), x, create_graph=True)[0]


@pytest.mark.parametrize("name", LINEAR)
def test_linear(name):
    ours, reference, shape = LINEAR[name]
    rng = np.random.default_rng(0)
    values, way = rng.normal(size=(2, *shape)).astype(np.float32)
    x = pe.tensor(values, requires_grad=True)
    y = ours(x)
    expected = reference(values.astype(np.float64))
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    y.backward(pe.tensor(weights(y.shape)))
    np.testing.assert_allclose(x.grad.numpy(), numeric(reference, values, weights(y.shape)), rtol=1e-4, atol=1e-5)
    # f is linear: the second derivative of sum(w f^2), times v, is its gradient at v
    at, v = pe.tensor(values, requires_grad=True), pe.tensor(way, requires_grad=True)
    (second,) = pe.grad((gradient(ours, at) * v.detach()).sum(), at)
    np.testing.assert_allclose(second.numpy(), gradient(ours, v).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_fold_is_the_transpose_of_unfold():
    rng = np.random.default_rng(1)
    x = pe.tensor(rng.normal(size=(2, 3, 5, 6)).astype(np.float32), requires_grad=True)
    geometry = {"kernel_size": (3, 2), "dilation": (1, 2), "padding": (1, 2), "stride": 2}
    columns = F.unfold(x, **geometry)
    g = pe.tensor(rng.normal(size=columns.shape).astype(np.float32))
    columns.backward(g)
    np.testing.assert_array_equal(F.fold(g, (5, 6), **geometry).numpy(), x.grad.numpy())


PRODUCTS = {
    "mm": ("ij,jk->ik", [(2, 3), (3, 4)]), "bmm": ("bij,bjk->bik", [(2, 3, 2), (2, 2, 4)]),
    "mv": ("ij,j->i", [(2, 3), (3,)]), "dot": ("i,i->", [(5,), (5,)]), "outer": ("i,j->ij", [(2,), (3,)]),
    "inner": ("ijk,lk->ijl", [(2, 3, 4), (5, 4)]),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name):
    equation, shapes = PRODUCTS[name]
    rng = np.random.default_rng(2)
    values = [rng.normal(size=s).astype(np.float32) for s in shapes]
    expected = np.einsum(equation, *[v.astype(np.float64) for v in values])
    out = getattr(pe, name)(*map(pe.tensor, values))
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-5, atol=1e-5)
    whole = [np.arange(v.size).reshape(v.shape) for v in values]
    if name != "outer":
        assert getattr(pe, name)(*map(pe.tensor, whole)).tolist() == np.einsum(equation, *whole).tolist()


EQUATIONS = [
    "ij,jk->ik", "bij,bjk->bik",
    "bij,bkj->bik", "i,j->ji", "ij,ij->", "ij,ji", "...ij,...jk->...ik", "bhqd,bhkd->bhqk",
    "ij,jk,kl->il", "abc,cd,ae->be", "ii,ij->j", "iij,jkk->ik", "ij,kl->", "b...,b...->b...", "ij,ij->ij", "a,b,c->cab",
    " i j , j -> i",
]  # fmt: skip


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation):
    sizes = {c: n for n, c in enumerate("abcdehijklq", 2)} | {"a": 2, "b": 3, "h": 2, "i": 4, "j": 3, "k": 4, "q": 3}
    rng = np.random.default_rng(3)
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    shapes = [[n for c in t.replace("...", ".") for n in ([2, 5] if c == "." else [sizes[c]])] for t in terms]
    values = [rng.normal(size=s).astype(np.float32) for s in shapes]
    inputs = [pe.tensor(v, requires_grad=True) for v in values]
    out = pe.einsum(equation, *inputs)
    wide = [v.astype(np.float64) for v in values]
    np.testing.assert_allclose(out.detach().numpy(), np.einsum(equation, *wide), rtol=1e-4, atol=1e-4)
    w = weights(out.shape)
    out.backward(pe.tensor(w))
    for i, x in enumerate(inputs):

        def one(value, i=i):
            return np.einsum(equation, *wide[:i], value, *wide[i + 1 :])

        np.testing.assert_allclose(x.grad.numpy(), numeric(one, values[i], w), rtol=1e-3, atol=1e-3)


def test_chains_and_powers():
    rng = np.random.default_rng(4)
    a, b, c, d = (rng.normal(size=s).astype(np.float32) for s in [(5,), (5, 2), (2, 7), (7, 3)])
    out = pe.linalg.multi_dot([pe.tensor(x) for x in (a, b, c, d)])
    np.testing.assert_allclose(out.numpy(), a @ b @ c @ d, rtol=1e-4)
    m = (rng.normal(size=(2, 3, 3)) + 3 * np.eye(3)).astype(np.float32)
    for n in (-3, -1, 0, 1, 2, 7):
        np.testing.assert_allclose(
            pe.tensor(m).matrix_power(n).numpy(), np.linalg.matrix_power(m, n), rtol=2e-3, atol=1e-4
        )
    x = pe.tensor(m, requires_grad=True)
    x.matrix_power(-1).backward(pe.tensor(weights(m.shape)))
    np.testing.assert_allclose(x.grad.numpy(), numeric(np.linalg.inv, m, weights(m.shape)), rtol=1e-3, atol=1e-4)


def test_distances():
    rng = np.random.default_rng(5)
    a, b = (rng.normal(size=s).astype(np.float32) for s in [(4, 3), (5, 3)])
    for p in (0.0, 1.0, 1.5, 2.0, np.inf):
        expected = np.linalg.norm((a[:, None] - b).astype(np.float64), ord=p, axis=-1)
        np.testing.assert_allclose(pe.cdist(pe.tensor(a), pe.tensor(b), p).numpy(), expected, rtol=1e-5)
    x = pe.tensor(a, requires_grad=True)
    pe.cdist(x, x).sum().backward()  # 0 on the diagonal: no NaN
    assert np.isfinite(x.grad.numpy()).all()
    rows = F.normalize(pe.tensor(a), dim=1)
    np.testing.assert_allclose((rows * rows).sum(1).numpy(), np.ones(4), rtol=1e-6)
    assert F.normalize(pe.zeros(2, 2)).tolist() == [[0, 0], [0, 0]]
    np.testing.assert_allclose(pe.cosine_similarity(x, x * 3.0).detach().numpy(), np.ones(4), rtol=1e-6)


def test_linear_interpolation_keeps_straight_lines():
    line = pe.arange(5).float().reshape(1, 1, 5)
    assert F.interpolate(line, 9, mode="linear", align_corners=True).flatten().tolist() == [i / 2 for i in range(9)]
    image = pe.ones(1, 1, 4, 6)
    for mode in ("bilinear", "bicubic"):
        for antialias in (False, True):
            out = F.interpolate(image, (3, 7), mode=mode, antialias=antialias)
            np.testing.assert_allclose(out.numpy(), np.ones((1, 1, 3, 7)), rtol=1e-6)


def test_an_identity_grid_gives_the_image():
    x = pe.randn(2, 3, 4, 5)
    theta = pe.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]] * 2)
    for align in (False, True):
        grid = F.affine_grid(theta, (2, 3, 4, 5), align)
        for mode in ("bilinear", "nearest", "bicubic"):
            np.testing.assert_allclose(F.grid_sample(x, grid, mode, "zeros", align).numpy(), x.numpy(), atol=1e-5)


def test_views_share_memory():
    x = pe.zeros(4, 4)
    for part in (x.split(2)[1], x.unbind(1)[3], x.narrow(0, 1, 2), x.diagonal(1), x.select(1, 2), x.ravel()):
        x.zero_()
        part.add_(1.0)
        assert x.sum().item() == part.numel()
    y = x.flip(0)
    y.add_(1.0)
    assert x.sum().item() == 16


def test_other_types_and_nothing():
    x = pe.arange(6).reshape(2, 3)
    assert x.repeat(1, 2).tolist() == [[0, 1, 2, 0, 1, 2], [3, 4, 5, 3, 4, 5]]
    assert x.tril().tolist() == [[0, 0, 0], [3, 4, 0]] and x.tril().dtype is x.dtype
    assert F.pad(x, (1, 0), value=7).tolist() == [[7, 0, 1, 2], [7, 3, 4, 5]]
    assert pe.einsum("ij->j", x).tolist() == [3, 5, 7]
    empty = pe.zeros(0, 3)
    assert [p.shape for p in empty.split(2)] == [(0, 3)] and empty.roll(1).shape == (0, 3)
    assert empty.repeat(2, 2).shape == (0, 6) and pe.mm(empty, pe.zeros(3, 2)).shape == (0, 2)
    assert empty.diagonal().shape == (0,) and empty.flip(0).shape == (0, 3)
    assert pe.tensor(3.0).repeat(2).tolist() == [3, 3] and pe.tensor(3.0).flip(0).item() == 3
    nan = pe.full((2, 2), float("nan"))
    assert nan.tril().tolist()[0][1] == 0


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: x.split(0), RuntimeError, "split: split_size"),
        (lambda x: x.split([1, 1]), RuntimeError, r"\[1, 1\] must add up to 4"),
        (lambda x: x.narrow(0, 3, 2), RuntimeError, "narrow: 3 \\+ 2"),
        (lambda x: x.flip(2), IndexError, "flip: axis 2"),
        (lambda x: x.flip(0, 0), RuntimeError, "name one twice"),
        (lambda x: x.repeat(2), RuntimeError, "repeat: 1 counts"),
        (lambda x: x.unflatten(0, (3, -1)), RuntimeError, "unflatten: sizes"),
        (lambda x: F.pad(x, (4, 0), "reflect"), RuntimeError, "reflect by"),
        (lambda x: F.pad(x, (1, 0), "mirror"), NotImplementedError, "'mirror'"),
        (lambda x: F.unfold(x, 2), RuntimeError, "3 or 4 axes"),
        (lambda x: pe.einsum("ij,jk", x, x), RuntimeError, "subscript 'j'"),
        (lambda x: pe.einsum("i->i", x), RuntimeError, "1 subscripts"),
        (lambda x: pe.mm(x, x), RuntimeError, "mm: shapes"),
        (lambda x: pe.cdist(x, x, -1.0), RuntimeError, "p must not be negative"),
        (lambda x: F.interpolate(x, 3), NotImplementedError, "3 to 5 axes"),
        (lambda x: pe.hstack([]), RuntimeError, "at least one"),
        (lambda x: pe.split([x], 1), TypeError, "must be a Tensor"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(pe.zeros(4, 3))
