"""The tape: what is recorded, what is refused, what is given back."""

import gc
import threading
import weakref

import numpy as np
import pytest

import pyengine as pe


def leaf(*values):
    return pe.tensor(list(values), requires_grad=True)


def test_one_neuron():
    """The seed of it all: inputs 0.5 and 0.3, weights 0.8 and 0.6, bias 0.2."""
    w, b = leaf(0.8, 0.6), leaf(0.2)
    out = (pe.tensor([0.5, 0.3]) * w).sum() + b
    out.backward()
    assert out.item() == pytest.approx(0.78)
    assert w.grad.tolist() == pytest.approx([0.5, 0.3])
    assert b.grad.tolist() == [1.0]


def test_gradients_accumulate_and_paths_add():
    x = leaf(2.0)
    y = x * x + x * 3.0
    y.backward(retain_graph=True)
    assert x.grad.tolist() == [7.0]
    y.backward()
    assert x.grad.tolist() == [14.0]


def test_second_backward_needs_retain_graph():
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


def test_leaves_do_not_share_gradient_memory():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).sum().backward()
    a.grad.mul_(10.0)
    assert b.grad.tolist() == [1.0, 1.0]
    given = pe.ones(2)
    c = leaf(1.0, 2.0)
    (c + 0.0).backward(given)
    c.grad.zero_()
    assert given.tolist() == [1.0, 1.0]


def test_no_grad_and_enable_grad():
    x = leaf(1.0)
    with pe.no_grad():
        assert not (x * 2).requires_grad
        with pe.enable_grad():
            assert (x * 2).requires_grad
        assert not pe.is_grad_enabled()
    assert pe.is_grad_enabled()

    @pe.no_grad()
    def f():
        return x * 2

    assert not f().requires_grad


def test_grad_mode_belongs_to_the_thread():
    seen = []
    with pe.no_grad():
        thread = threading.Thread(target=lambda: seen.append(pe.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_saved_tensor_written_in_place_is_an_error_that_names_the_operation():
    x = leaf(1.0, 2.0)
    y = x * 2
    z = y * y
    y += 1.0
    with pytest.raises(RuntimeError, match=r"mul: .*written in place"):
        z.sum().backward()


def test_saved_output_written_in_place():
    x = leaf(1.0, 2.0)
    y = pe.sigmoid(x)
    y *= 2.0
    with pytest.raises(RuntimeError, match="sigmoid: its output was written in place"):
        y.sum().backward()


@pytest.mark.parametrize("product", [
    lambda x, w: x @ w, lambda x, w: pe.linear(x, w), lambda x, w: pe.addmm(pe.ones(3), x, w),
    lambda x, w: pe.linear(x, w, activation="relu"), lambda x, w: x * w, lambda x, w: x.expand(2, 3, 3) @ w,
])  # fmt: skip
def test_a_factor_that_no_gradient_needs_may_be_written_and_is_not_kept(product):
    """x is needed for w's gradient alone, and w for x's."""
    for which in (0, 1):
        factors = [pe.tensor(np.arange(1, 10, dtype=np.float32).reshape(3, 3), requires_grad=True), pe.ones(3, 3)]
        if which:
            factors.reverse()
        expected = pe.grad(product(*factors).sum(), factors[which])[0].tolist()
        out = product(*factors).sum()
        with pe.no_grad():
            factors[which].mul_(2.0)  # the one that wants the gradient
        assert pe.grad(out, factors[which])[0].tolist() == expected
        out = product(*factors).sum()
        with pe.no_grad():
            factors[1 - which].mul_(2.0)
        with pytest.raises(RuntimeError, match="written in place"):
            pe.grad(out, factors[which])


BY_INDEX = {
    "brackets": lambda x, i: x[i[0]],
    "array": lambda x, i: x[i[0].numpy()],
    "mask": lambda x, i: x[:2][i],
    "gather": lambda x, i: x.gather(0, i),
    "index_select": lambda x, i: x.index_select(0, i[0]),
    "take": lambda x, i: x.take(i),
    "take_along_dim": lambda x, i: x.take_along_dim(i, 0),
    "masked_select": lambda x, i: x[:2].masked_select(i),
    "masked_fill": lambda x, i: x[:2].masked_fill(i, 7.0),
    "where": lambda x, i: pe.where(i, x[:2], x[1:]),
    "index_add": lambda x, i: pe.zeros(3, 2).index_add(0, i[0], x[:2]),
    "scatter": lambda x, i: x.scatter(0, i, x[:2] * 3.0),
    "scatter_add": lambda x, i: x.scatter_add(0, i, x[:2]),
    "scatter_reduce": lambda x, i: x.scatter_reduce(0, i, x[:2], "prod"),
    "index_fill": lambda x, i: x.index_fill(0, i[0], 7.0),
    "max_unpool": lambda x, i: pe.nn.functional.max_unpool1d(x[:2], i, 2),
}


@pytest.mark.parametrize("name", BY_INDEX)
def test_an_index_written_in_place_is_an_error_or_does_no_harm(name):
    """Never a wrong gradient."""

    def gradient(write):
        x, index = pe.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True), pe.tensor([[0, 1], [1, 0]])
        if name in ("mask", "masked_select", "masked_fill", "where"):
            index = index == 1
        out = BY_INDEX[name](x, index)
        if write:
            index.copy_(pe.tensor([[1, 0], [0, 1]]))
        (out * out).sum().backward()
        return x.grad.tolist()

    expected = gradient(False)
    try:
        assert gradient(True) == expected
    except RuntimeError as error:
        assert "written in place" in str(error)


def test_what_sort_returns_may_be_written():
    x = leaf(3.0, 1.0, 2.0)
    values, places = x.sort()
    places.copy_(pe.tensor([0, 0, 0]))
    (values * pe.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [3.0, 1.0, 2.0]


def test_in_place_on_the_tape_is_right():
    x = leaf(1.0, 2.0)
    y = x * 2
    y += x
    y *= 3.0
    y.sum().backward()
    assert x.grad.tolist() == [9.0, 9.0]


def test_in_place_on_leaf_and_on_view_are_refused():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="leaf"):
        x += 1.0
    y = x * 2
    v = y[:1]
    with pytest.raises(RuntimeError, match="view"):
        v += 1.0
    with pytest.raises(RuntimeError, match="leaf"):
        x[0] = 3.0


def test_view_of_a_tensor_changed_by_a_recorded_write_is_refused():
    x = leaf(1.0, 2.0)
    y = x * 2
    v = y[:1]
    y += x
    with pytest.raises(RuntimeError, match="make the view again"):
        v * 2.0


def test_numpy_reads_between_record_and_backward_are_free():
    x = leaf(1.0, 2.0)
    y = pe.exp(x)
    assert y.detach().numpy().shape == (2,)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([1.0, 2.0]), rtol=1e-6)


def test_storage_counts_exports():
    """What caches of packed weights will look at: NumPy may write as long as an export lives."""
    x = pe.ones(3)
    array = x.numpy()
    assert x.storage_.exports == 1
    ended = x.storage_.unseen_writes
    del array
    assert (x.storage_.exports, x.storage_.unseen_writes) == (0, ended + 1)


def test_grad_function():
    x, y = leaf(2.0), leaf(3.0)
    z = x * x * y
    dx, dy = pe.grad(z, (x, y), create_graph=True)
    assert (dx.item(), dy.item()) == (12.0, 4.0)
    assert pe.grad(dx, (x, y))[0].item() == 6.0
    assert x.grad is None
    with pytest.raises(RuntimeError, match="not used"):
        pe.grad(x * 2, y)
    assert pe.grad(x * 2, y, allow_unused=True) == (None,)
    middle = x * 2
    (g,) = pe.grad((middle * middle).sum(), middle)
    assert g.tolist() == [8.0]


@pytest.mark.parametrize("output", (None, 3, "y"))
def test_only_tensors_have_gradients(output):
    with pytest.raises(TypeError, match="grad: outputs must be Tensors"):
        pe.autograd.grad([output], pe.ones(3, requires_grad=True))


def test_shapes_of_given_gradients_are_checked():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="gradient must be given"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match=r"\(3,\).*\(2,\)"):
        (x * 2).backward(pe.ones(3))
    with pytest.raises(RuntimeError, match="does not fit"):
        x.grad = pe.ones(3)
    with pytest.raises(RuntimeError, match="does not require grad"):
        pe.ones(1).backward()
    with pytest.raises(TypeError, match="float32"):
        pe.tensor([1, 2], requires_grad=True)


def test_view_gradients():
    a = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    x = pe.tensor(a, requires_grad=True)
    w = pe.tensor(np.arange(24.0, dtype=np.float32))
    y = x.permute(2, 0, 1).reshape(4, 6).T.unsqueeze(0).expand(2, 6, 4)[1:, :, ::1].flatten()
    (y * w).sum().backward()
    expected = np.empty(24, np.float32)
    expected[a.transpose(2, 0, 1).reshape(4, 6).T.flatten().astype(int)] = np.arange(24)
    np.testing.assert_array_equal(x.grad.numpy(), expected.reshape(2, 3, 4))


def test_index_and_cat_gradients():
    x = leaf(1.0, 2.0, 3.0)
    y = x[pe.tensor([0, 2, 0])]
    (y * pe.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [101.0, 0.0, 10.0]
    a, b = leaf(1.0), leaf(2.0, 3.0)
    (pe.cat([a, b]) * pe.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert a.grad.tolist() == [1.0]
    assert b.grad.tolist() == [2.0, 3.0]
    s = pe.stack([a.detach(), a.detach()], 1)
    assert s.shape == (1, 2)


def test_cycles_do_not_keep_the_graph_alive():
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = pe.sigmoid(x * 2)  # keeps its own output
        probe = weakref.ref(y)
        del y
        assert probe() is None
    finally:
        gc.enable()


def test_deep_graph():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    y.backward()
    assert x.grad.tolist() == [1.0]
    del y


def test_backward_from_several_threads():
    w = pe.tensor(np.ones((64, 64), np.float32), requires_grad=True)
    results = []

    def work(seed):
        x = pe.tensor(np.random.default_rng(seed).normal(size=(32, 64)).astype(np.float32))
        for _ in range(20):
            (g,) = pe.grad((x @ w).sum(), w)
        results.append((seed, g.numpy().tobytes()))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for seed, bits in results:
        x = pe.tensor(np.random.default_rng(seed).normal(size=(32, 64)).astype(np.float32))
        assert pe.grad((x @ w).sum(), w)[0].numpy().tobytes() == bits


def test_slices_add_up_in_place():
    """The gradients of slices that overlap, run backwards, or take one index, beside one of the whole; nobody else's
    gradient is written."""
    parts = [np.s_[1:3], np.s_[2], np.s_[::-2, 1:], np.s_[:, None, 0], np.s_[..., -1], np.s_[0:0]]
    drawn = np.random.default_rng(3)
    values = drawn.normal(size=(4, 5)).astype(np.float32)
    for inner in (False, True):  # of a leaf, and of what an operation made
        x, kept = pe.tensor(values, requires_grad=True), []
        y = x * 1.0 if inner else x
        total, expected = (y * 3.0).sum(), np.full(values.shape, 3.0)
        for index in parts:
            weight = drawn.normal(size=values[index].shape).astype(np.float32)
            part = y[index]
            part.register_hook(lambda g, kept=kept: kept.append((g, g.numpy().copy())))
            total = total + (part * pe.from_numpy(weight)).sum()
            expected[index] += weight
        total.backward(retain_graph=True)
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-5, atol=1e-6)
        assert len(kept) == len(parts)
        assert all((g.numpy() == before).all() for g, before in kept)
        total.backward()
        np.testing.assert_allclose(x.grad.numpy(), 2 * expected, rtol=1e-5, atol=1e-6)


def test_a_gradient_that_others_hold_is_not_written_by_slices():
    x = pe.tensor(np.ones(4, np.float32), requires_grad=True)
    y, given = x * 1.0, pe.tensor(np.full(4, 5.0, np.float32))
    part = y[:2].sum()
    whole = y + 0.0  # its gradient is `given` itself
    (g,) = pe.grad([whole, part], [x], [given, pe.tensor(1.0)])
    assert g.tolist() == [6.0, 6.0, 5.0, 5.0] and given.tolist() == [5.0] * 4
