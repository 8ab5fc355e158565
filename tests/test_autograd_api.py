"""Hooks, custom operations, checkpoints, anomaly mode, derivatives as values."""

import gc
import weakref

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn
from pyengine.autograd import Function, functional, gradcheck, gradgradcheck
from pyengine.autograd.function import once_differentiable
from pyengine.autograd.graph import saved_tensors_hooks
from pyengine.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential


def leaf(*values):
    return pe.tensor(list(values), requires_grad=True)


# ---- hooks -----------------------------------------------------------------------


def test_a_hook_replaces_the_gradient_until_it_is_removed():
    x = leaf(1.0, 2.0)
    handle = x.register_hook(lambda g: g * 10.0)
    (x * 3.0).sum().backward()
    assert x.grad.tolist() == [30.0, 30.0]
    handle.remove()
    handle.remove()
    (x * 3.0).sum().backward()
    assert x.grad.tolist() == [33.0, 33.0]


def test_hooks_of_results_run_in_order_on_the_whole_gradient():
    x, seen = leaf(2.0), []
    y = x * 3.0
    y.register_hook(lambda g: seen.append(("first", g.item())))
    y.register_hook(lambda g: g + 1.0)
    y.register_hook(lambda g: seen.append(("last", g.item())))
    y.retain_grad()
    (y * y + y).sum().backward()
    assert seen == [("first", 13.0), ("last", 14.0)]
    assert (y.grad.item(), x.grad.item()) == (14.0, 42.0) and y.retains_grad and not x.retains_grad


def test_hooks_hang_on_the_operation_not_on_the_object():
    x, seen = leaf(2.0), []
    y = x * 3.0
    y.register_hook(lambda g: seen.append(g.item()))
    z = y + 1.0
    del y
    z.backward()
    assert seen == [1.0]


def test_what_hooks_may_return():
    for wrong, error in ((3, TypeError), (pe.ones(3), RuntimeError)):
        x = leaf(1.0, 2.0)
        x.register_hook(lambda g, wrong=wrong: wrong)
        with pytest.raises(error, match="register_hook"):
            (x * 2.0).sum().backward()
    with pytest.raises(RuntimeError, match="does not require grad"):
        pe.ones(2).register_hook(print)
    with pytest.raises(TypeError, match="callable"):
        leaf(1.0).register_hook(3)


def test_post_accumulate_hooks_run_when_the_gradient_is_whole():
    """As soon as it is, not at the end: an optimizer may step and drop the gradient there."""
    w, x, seen = leaf(3.0), leaf(2.0), []
    w.register_post_accumulate_grad_hook(lambda p: seen.append(("w", p.grad.item())))
    y = x * x
    y.register_hook(lambda g: seen.append(("y", g.item())))
    (y * w + w).backward()
    assert seen == [("w", 5.0), ("y", 3.0)]
    with pytest.raises(RuntimeError, match="leaf"):
        y.register_post_accumulate_grad_hook(print)

    def step(p):
        with pe.no_grad():
            p.sub_(p.grad)
        p.grad = None

    v = leaf(1.0)
    v.register_post_accumulate_grad_hook(step)
    (v * 4.0).backward()
    assert v.item() == -3.0 and v.grad is None


def test_a_hook_sees_gradients_that_linear_would_add_by_itself():
    layer, seen = nn.Linear(3, 2), []
    layer.weight.register_hook(lambda g: seen.append(g.shape))
    for _ in range(2):
        layer(pe.ones(4, 3)).sum().backward()
    assert seen == [(2, 3)] * 2 and layer.weight.grad.tolist() == [[8.0] * 3] * 2


def test_hooks_of_nodes():
    x, seen = leaf(2.0), []
    y = x * x
    y.grad_fn.register_prehook(lambda outs: (outs[0] * 2.0,))
    handle = y.grad_fn.register_hook(lambda ins, outs: seen.append((len(ins), outs[0].item())))
    y.backward()
    assert x.grad.item() == 8.0 and seen == [(2, 2.0)]
    handle.remove()
    assert y.grad_fn.name == "mul"
    y.grad_fn.metadata["note"] = 1
    assert y.grad_fn.metadata == {"note": 1}


def test_hooks_go_with_the_graph():
    x = leaf(1.0)
    y = x * 2.0

    class Probe:
        def __call__(self, g):
            return None

    probe = Probe()
    alive = weakref.ref(probe)
    y.register_hook(probe)
    del y, probe
    gc.collect()
    assert alive() is None


# ---- backward and grad -----------------------------------------------------------


def test_backward_into_given_inputs_only():
    x, w = leaf(2.0), leaf(3.0)
    h = x * w
    y = h * h
    y.backward(retain_graph=True, inputs=[w])
    assert x.grad is None and w.grad.item() == 24.0
    y.backward(inputs=h)
    assert h.grad.item() == 12.0 and x.grad is None
    with pytest.raises(RuntimeError, match="empty"):
        (x * w).backward(inputs=[])


def test_grad_runs_only_what_leads_to_its_inputs():
    x, w, ran = leaf(2.0), leaf(3.0), []
    h = x * x
    h.register_hook(lambda g: ran.append("h"))
    y = h * w
    assert pe.grad(y, w, retain_graph=True)[0].item() == 4.0 and ran == []
    assert pe.grad(y, h)[0].item() == 3.0 and ran == ["h"]
    h.backward()  # what was not run still has what it saved
    assert x.grad.item() == 4.0


def test_grad_materializes():
    x, y = leaf(2.0), leaf(1.0, 1.0)
    assert pe.grad(x * 2.0, (x, y), materialize_grads=True)[1].tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="allow_unused"):
        pe.grad(x * 2.0, y, materialize_grads=True, allow_unused=False)
    with pytest.raises(NotImplementedError, match="is_grads_batched"):
        pe.grad(x * 2.0, x, is_grads_batched=True)


def test_backward_of_several():
    x = leaf(1.0, 2.0)
    pe.autograd.backward((x.sum(), x * x), (None, pe.tensor([1.0, 10.0])))
    assert x.grad.tolist() == [3.0, 41.0]
    with pytest.raises(RuntimeError, match="2 grad_tensors for 1"):
        pe.autograd.backward(x.sum(), [None, None])
    with pytest.raises(TypeError, match="Tensors"):
        pe.autograd.backward([3.0])


def test_detach_and_data():
    x = leaf(1.0, 2.0)
    y = x * 2.0
    assert y.detach_() is y and y.is_leaf and not y.requires_grad and y.grad_fn is None
    x.data = pe.tensor([5.0, 6.0, 7.0])
    assert x.tolist() == [5.0, 6.0, 7.0] and x.requires_grad
    with pytest.raises(RuntimeError, match="leaf"):
        (x * 2.0).data = pe.ones(3)
    before = x._version
    with pe.no_grad():
        x.zero_()
    assert x._version == before + 1 and x.data.tolist() == [0.0] * 3


# ---- modes -----------------------------------------------------------------------


def test_modes_decorate():
    x = leaf(1.0)

    @pe.no_grad
    def plain():
        return (x * 2).requires_grad

    @pe.enable_grad()
    def recorded():
        return (x * 2).requires_grad

    @pe.inference_mode()
    def inferred():
        return (x * 2).requires_grad, pe.is_inference_mode_enabled()

    @pe.set_grad_enabled(False)
    def switched():
        return (x * 2).requires_grad

    assert pe.is_grad_enabled() and not plain() and inferred() == (False, True) and not switched()
    with pe.no_grad():
        assert recorded()
    assert pe.is_grad_enabled() and not pe.is_inference_mode_enabled()
    with pe.inference_mode(), pe.inference_mode(False):
        assert (x * 2).requires_grad


def test_a_decorated_generator_keeps_its_mode_to_itself():
    @pe.no_grad()
    def numbers():
        given = yield pe.is_grad_enabled()
        yield given, pe.is_grad_enabled()

    generator = numbers()
    assert next(generator) is False and pe.is_grad_enabled()
    assert generator.send(5) == (5, False) and pe.is_grad_enabled()
    with pytest.raises(StopIteration):
        next(generator)


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
    with pytest.raises(RuntimeError, match="ProductBackward: saved tensor 0 .* written in place"):
        y.sum().backward()
    y = Product.apply(a, b).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


class Parts(Function):
    """Several outputs, one of them without gradient."""

    seen: list = []

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


# ---- checkpoints -----------------------------------------------------------------


def block():
    pe.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 4), nn.Tanh())


def gradients(net, run):
    x = pe.ones(5, 4, requires_grad=True)
    pe.manual_seed(9)
    run(x).square().sum().backward()
    found = [x.grad.tolist(), *[p.grad.tolist() for p in net.parameters()]]
    net.zero_grad()
    return found


def test_checkpoint_gives_the_same_bits_and_keeps_less():
    net = block()
    plain = gradients(net, net)
    kept, calls = [], []
    net[1].register_forward_hook(lambda m, a, y: calls.append(1) or kept.append(weakref.ref(y)))
    alive = []

    def run(x):
        y = checkpoint(net, x)
        alive.append(kept[-1]() is not None)
        pe.rand(3)  # draws in between do not disturb the repetition
        return y

    assert gradients(net, run) == plain
    assert alive == [False] and len(calls) == 2
    assert gradients(net, lambda x: checkpoint_sequential(net, 2, x)) == plain


def test_checkpoint_works_with_grad_and_twice():
    x = leaf(0.3, 0.7)

    def f(x):
        return (x.sin() * x).exp()

    y = checkpoint(f, x * 1.0).sum()
    (first,) = pe.grad(y, x, create_graph=True)
    (second,) = pe.grad(first.sum(), x)
    z = f(x).sum()
    (a,) = pe.grad(z, x, create_graph=True)
    assert first.tolist() == a.tolist() and second.tolist() == pe.grad(a.sum(), x)[0].tolist()
    assert gradgradcheck(lambda x: checkpoint(f, x), x)


def test_nested_checkpoints_and_retained_graphs():
    x = leaf(0.3, 0.7)
    y = checkpoint(lambda x: checkpoint(lambda x: x.exp() * x, x * 2.0).sin(), x).sum()
    y.backward(retain_graph=True)
    once = x.grad.tolist()
    y.backward()
    np.testing.assert_allclose(x.grad.tolist(), 2 * np.array(once), rtol=1e-6)
    b = np.array([0.6, 1.4])
    np.testing.assert_allclose(once, 2 * np.cos(np.exp(b) * b) * np.exp(b) * (b + 1), rtol=1e-5)


def test_checkpoint_notices_another_second_run():
    sizes = iter((2.0, 3.0))
    x = leaf(1.0, 2.0)

    def unsteady(x):
        return x.exp() * 2.0 if next(sizes) == 2.0 else x[:1].exp() * 2.0

    with pytest.raises(CheckpointError, match="the same both times"):
        checkpoint(unsteady, x * 1.0).sum().backward()
    with pytest.raises(TypeError, match="callable"):
        checkpoint(3)
    with pytest.raises(ValueError, match="segments"):
        checkpoint_sequential([pe.sin], 2, x)


def test_saved_tensors_hooks():
    x, packed = leaf(1.0, 2.0), []

    def pack(t):
        packed.append(t.tolist())
        return t.tolist()

    with saved_tensors_hooks(pack, pe.tensor):
        y = (x * 2.0).exp() * 3.0
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * np.exp([2.0, 4.0]), rtol=1e-6)
    assert len(packed) >= 1
    with saved_tensors_hooks(lambda t: 1, lambda n: n):
        y = (x * 2.0).exp()
    with pytest.raises(TypeError, match="unpack hook returned int"):
        y.sum().backward()


# ---- anomaly mode ----------------------------------------------------------------


def test_anomaly_mode_names_the_operation_and_the_place():
    x = leaf(0.0, 4.0)
    with pe.autograd.detect_anomaly():
        assert pe.autograd.is_anomaly_enabled()
        y = (x.sqrt() * pe.tensor([0.0, 1.0])).sum()  # the line to be named
        with pytest.raises(RuntimeError, match="'sqrt' returned nan") as error:
            y.backward()
    assert "the line to be named" in str(error.value) and not pe.autograd.is_anomaly_enabled()
    (x.sqrt() * pe.tensor([0.0, 1.0])).sum().backward()
    assert np.isnan(x.grad.numpy()[0])
    with pe.autograd.set_detect_anomaly(True, check_nan=False):
        assert not pe.autograd.is_anomaly_check_nan_enabled()
        (x.sqrt() * pe.tensor([0.0, 1.0])).sum().backward()


def test_anomaly_mode_sees_what_linear_adds_and_functions():
    layer = nn.Linear(2, 2)
    layer(pe.ones(1, 2)).sum().backward()
    with pe.autograd.detect_anomaly():
        y = layer(pe.tensor([[float("nan"), 1.0]]))
        with pytest.raises(RuntimeError, match="'linear' returned nan values in its 1th"):
            y.sum().backward()
        bad = make(lambda ctx, x: x * 1.0, lambda ctx, g: g * float("nan"))
        with pytest.raises(RuntimeError, match="MadeBackward"):
            bad.apply(leaf(1.0)).backward()
