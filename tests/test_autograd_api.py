"""Hooks, backward and grad with all they take, modes."""

import gc
import weakref

import pytest

import pyengine as pe
from pyengine import nn


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
    z = pe.tensor([3.0], requires_grad=True)
    square = z * z
    z.data = pe.tensor([4.0])
    with pytest.raises(RuntimeError, match="mul: saved tensor"):
        square.backward()
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
