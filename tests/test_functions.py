"""Custom operations, derivatives as values, and the check of derivatives."""

import gc
import weakref
from typing import ClassVar

import numpy as np
import pytest

import pyengine as pe
from pyengine.autograd import Function, functional, gradcheck, gradgradcheck
from pyengine.autograd.function import once_differentiable


def leaf(*values):
    return pe.tensor(list(values), requires_grad=True)


# ---- Function --------------------------------------------------------------------


class Product(Function):
    @staticmethod
    def forward(ctx, a, b, scale=1.0):
        ctx.save_for_backward(a, b)
        ctx.scale = scale
        return a * b * scale

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g * b * ctx.scale, g * a * ctx.scale, None


class Exp(Function):
    @staticmethod
    def forward(x):
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


def test_function():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = Product.apply(a, b, 2.0)
    assert y.grad_fn.name == "ProductBackward" and not y.is_leaf
    y.sum().backward()
    assert a.grad.tolist() == [6.0, 8.0] and b.grad.tolist() == [2.0, 4.0]
    assert not Product.apply(a.detach(), b.detach()).requires_grad
    with pe.no_grad():
        assert not Product.apply(a, b).requires_grad
    with pytest.raises(RuntimeError, match="apply"):
        Product(a, b)


def test_function_is_differentiated_twice():
    a, b = leaf(0.5, -1.0), leaf(1.5, 0.7)
    assert gradcheck(Product.apply, (a, b)) and gradgradcheck(Product.apply, (a, b))
    assert gradcheck(Exp.apply, a) and gradgradcheck(Exp.apply, a)


def test_a_saved_output_makes_no_cycle():
    gc.disable()
    try:
        y = Exp.apply(leaf(1.0))
        probe = weakref.ref(y)
        del y
        assert probe() is None
    finally:
        gc.enable()


def test_saved_tensors_of_a_function_are_watched_and_freed():
    a, b = pe.ones(2), leaf(3.0, 4.0)
    y = Product.apply(a, b)
    a += 1.0
    with pytest.raises(RuntimeError, match=r"ProductBackward: saved tensor 0 .* written in place"):
        y.sum().backward()
    y = Product.apply(a, b).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


class Parts(Function):
    """Several outputs, one of them without gradient."""

    seen: ClassVar[list] = []

    @staticmethod
    def forward(ctx, x, materialize):
        ctx.set_materialize_grads(materialize)
        Parts.seen = [ctx.needs_input_grad]
        sign = x.sign()
        ctx.mark_non_differentiable(sign)
        return x * 2.0, sign, x * 3.0

    @staticmethod
    def backward(ctx, *grads):
        Parts.seen.append(grads)
        total = None
        for g, factor in zip(grads, (2.0, 0.0, 3.0), strict=True):
            if g is not None:
                total = g * factor if total is None else total + g * factor
        return total, None


def test_functions_with_several_outputs():
    x = leaf(1.0, -2.0)
    double, sign, triple = Parts.apply(x, True)
    assert not sign.requires_grad and triple.output_nr == 2 and Parts.seen[0] == (True, False)
    triple.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert [g.tolist() for g in Parts.seen[1]] == [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]
    double, _, _ = Parts.apply(x, False)
    double.sum().backward()
    assert Parts.seen[1][1] is None and Parts.seen[1][2] is None and x.grad.tolist() == [5.0, 5.0]


def make(forward, backward):
    return type("Made", (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


def test_what_backward_may_return():
    x = leaf(1.0, 2.0)
    cases = [
        (lambda ctx, g: (g, g), RuntimeError, "2 gradients, forward took 1"),
        (lambda ctx, g: pe.ones(3), RuntimeError, r"shape \(3,\) for argument 0 of shape \(2,\)"),
        (lambda ctx, g: 3.0, TypeError, "got float"),
    ]
    for backward, error, text in cases:
        with pytest.raises(error, match=text):
            make(lambda ctx, x: x * 2.0, backward).apply(x).sum().backward()
    with pytest.raises(RuntimeError, match="no Tensor"):
        make(lambda ctx, x, n: x * n, lambda ctx, g: (g, g)).apply(x, 2.0).sum().backward()
    make(lambda ctx, x: x * 2.0, lambda ctx, g: (g.unsqueeze(0), None)).apply(x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]  # broadcast axes are summed, trailing None are allowed
    with pytest.raises(NotImplementedError, match="backward"):
        type("Half", (Function,), {"forward": staticmethod(lambda ctx, x: x * 2.0)}).apply(x).sum().backward()


def test_an_input_handed_through_is_another_tensor():
    x = leaf(1.0, 2.0)
    y = make(lambda ctx, x: x, lambda ctx, g: g * 5.0).apply(x)
    assert y is not x
    y.sum().backward()
    assert x.grad.tolist() == [5.0, 5.0]


def test_mark_dirty():
    def forward(ctx, x):
        x.mul_(3.0)
        ctx.mark_dirty(x)
        return x

    triple, x = make(forward, lambda ctx, g: g * 3.0), leaf(1.0, 2.0)
    y = x * 1.0
    assert triple.apply(y) is y
    y.sum().backward()
    assert y.tolist() == [3.0, 6.0] and x.grad.tolist() == [3.0, 3.0]


def test_once_differentiable():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * x * 2.0

    x = leaf(3.0)
    (first,) = pe.grad(Square.apply(x), x)
    assert first.item() == 6.0
    y = Square.apply(x * 1.0) * x
    (first,) = pe.grad(y, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        pe.grad(first, x)


# ---- derivatives as values -------------------------------------------------------


def test_functional():
    rng = np.random.default_rng(0)
    w = pe.from_numpy(rng.standard_normal((3, 4)).astype(np.float32))
    x, y = (pe.from_numpy(rng.standard_normal(n).astype(np.float32)) for n in (4, 3))

    def f(x, y):
        return (w @ x).sin() * y, (x * x).sum()

    a, b, c = w.numpy().astype(float), x.numpy().astype(float), y.numpy().astype(float)
    jx, jy = (np.cos(a @ b) * c)[:, None] * a, np.diag(np.sin(a @ b))
    (fx, fy), (gx, gy) = functional.jacobian(f, (x, y))
    np.testing.assert_allclose(fx.numpy(), jx, atol=1e-5)
    np.testing.assert_allclose(fy.numpy(), jy, atol=1e-5)
    np.testing.assert_allclose(gx.numpy(), 2 * b, atol=1e-5)
    assert gy.shape == (3,) and not gy.numpy().any()
    vx, vy = pe.ones(4), pe.ones(3)
    _, (d1, d2) = functional.jvp(f, (x, y), (vx, vy))
    np.testing.assert_allclose(d1.numpy(), jx.sum(1) + jy.sum(1), atol=1e-5)
    assert d2.item() == pytest.approx(2 * b.sum(), abs=1e-5)
    _, (e1, e2) = functional.vjp(f, (x, y), (pe.ones(3), pe.tensor(1.0)))
    np.testing.assert_allclose(e1.numpy(), jx.sum(0) + 2 * b, atol=1e-5)
    np.testing.assert_allclose(e2.numpy(), jy.sum(0), atol=1e-5)

    def g(x):
        return (w @ x).sin().sum()

    hessian = -(a.T * np.sin(a @ b)) @ a
    np.testing.assert_allclose(functional.hessian(g, x).numpy(), hessian, atol=1e-5)
    for product in (functional.hvp, functional.vhp):
        np.testing.assert_allclose(product(g, x, vx)[1].numpy(), hessian.sum(1), atol=1e-5)


def test_functional_refuses_and_keeps_the_graph():
    x = leaf(1.0, 2.0)
    j = functional.jacobian(lambda x: x * x * x, x, create_graph=True)
    j.sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]
    with pytest.raises(RuntimeError, match="strict"):
        functional.jacobian(lambda x: pe.ones(2), x, strict=True)
    with pytest.raises(TypeError, match="float"):
        functional.jacobian(lambda x: 3.0, x)
    with pytest.raises(RuntimeError, match="one element"):
        functional.hessian(lambda x: x * x, x)
    with pytest.raises(RuntimeError, match="does not fit"):
        functional.vjp(lambda x: x * x, x, pe.ones(3))


def test_gradcheck_finds_what_is_wrong():
    x = leaf(0.5, 1.5)
    wrong = make(lambda ctx, x: x * x, lambda ctx, g: g)
    with pytest.raises(pe.autograd.GradcheckError, match="output 0 with respect to input 0"):
        gradcheck(wrong.apply, x)
    assert gradcheck(wrong.apply, x, raise_exception=False) is False
    assert gradcheck(lambda x, n: (x * n, x.sin()), (x, 3.0))
    right_once = make(lambda ctx, x: x * x * 0.5, lambda ctx, g: g * x.detach())
    assert gradcheck(right_once.apply, x)
    assert not gradgradcheck(right_once.apply, x, raise_exception=False)
    with pytest.raises(ValueError, match="require grad"):
        gradcheck(pe.sin, pe.ones(2))
