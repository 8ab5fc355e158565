"""linear, addmm and packed weights: what follows the product and its gradients against float64, packed weights that
are never stale and never change a bit, gradients that are added to .grad in place."""

import gc
import itertools
import os
import threading

import numpy as np
import pytest
import reference as ref

import pyengine as pe
from pyengine import _core, nn, optim

ACTIVATIONS = [None, "relu", "relu6", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "softplus"]


def values(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def bits(x):
    return x.detach().numpy().tobytes()


def packed(weight):
    return _core.packed_weight(weight)


@pytest.fixture
def no_packs():
    gc.collect()
    pe.trim()
    assert pe.memory_stats()["packed"] == 0
    yield
    pe.trim()


# ---- what follows the product ------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (0, 7), (3, 0)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fused_has_the_bits_of_the_steps(shape, activation):
    x, w, b = pe.tensor(values(*shape)), pe.tensor(values(9, shape[-1])), pe.tensor(values(9))
    residual = pe.tensor(values(*shape[:-1], 9, seed=1))
    for bias, extra in itertools.product((None, b), (None, residual)):
        steps = pe.linear(x, w, bias)
        steps = steps if activation is None else getattr(pe, activation)(steps)
        steps = steps if extra is None else steps + extra
        fused = pe.linear(x, w, bias, activation, extra)
        assert fused.shape == (*shape[:-1], 9)
        assert bits(fused) == bits(steps)
        recorded = pe.linear(x.clone().requires_grad_(), w, bias, activation, extra)
        assert recorded.requires_grad
        assert bits(recorded) == bits(steps)


def check_gradients(tensors, out, function):
    """<gradient, direction> against the difference quotient of function in float64."""
    rng = np.random.default_rng(3)
    wide = [t.detach().numpy().astype(np.float64) for t in tensors]
    np.testing.assert_allclose(out.detach().numpy(), function(*wide), rtol=1e-5, atol=1e-5)
    u = rng.normal(size=out.shape).astype(np.float32)
    (out * pe.tensor(u)).sum().backward()
    for i, x in enumerate(tensors):
        direction = rng.normal(size=x.shape)
        up, down = list(wide), list(wide)
        up[i], down[i] = wide[i] + 1e-6 * direction, wide[i] - 1e-6 * direction
        slope = np.sum(u * (function(*up) - function(*down))) / 2e-6
        assert np.sum(x.grad.numpy() * direction) == pytest.approx(slope, rel=2e-4, abs=2e-4)


@pytest.mark.parametrize("lead", [(4,), (2, 3)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("with_residual", [False, True])
def test_gradients_by_random_projection(lead, activation, with_residual):
    arrays = [values(*lead, 7), values(5, 7), values(5)] + [values(*lead, 5)] * with_residual
    tensors = [pe.tensor(a, requires_grad=True) for a in arrays]
    f = ref.UNARY[activation] if activation else lambda z: z

    def function(x, w, b, r=0.0):
        return f(x @ w.T + b) + r

    out = pe.linear(*tensors[:3], activation, *tensors[3:])
    check_gradients(tensors, out, function)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu"])
def test_second_order(activation):
    """create_graph through the fused call gives what it gives through the steps."""
    seconds = []
    for fused in (True, False):
        x, w = pe.tensor(values(3, 4), requires_grad=True), pe.tensor(values(5, 4), requires_grad=True)
        out = pe.linear(x, w, None, activation) if fused else getattr(pe, activation)(pe.linear(x, w))
        (first,) = pe.grad(out.sum(), x, create_graph=True)
        seconds.append(pe.grad((first * first).sum(), [x, w]))
    for a, b in zip(*seconds, strict=True):
        assert np.abs(a.numpy()).max() > 1e-3
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


def test_output_written_in_place_is_refused():
    x = pe.tensor(values(3, 4), requires_grad=True)
    out = pe.linear(x, pe.tensor(values(5, 4)), None, "tanh")
    with pe.no_grad():
        out.detach().zero_()
    with pytest.raises(RuntimeError, match="linear: its output"):
        out.sum().backward()


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.5])
@pytest.mark.parametrize("alpha", [1.0, 2.5])
@pytest.mark.parametrize("shape", [(4, 5), (5,), (4, 1), (1, 1), ()])
def test_addmm(beta, alpha, shape):
    arrays = values(*shape), values(4, 7), values(7, 5)
    tensors = [pe.tensor(a, requires_grad=True) for a in arrays]
    out = pe.addmm(*tensors, beta=beta, alpha=alpha)
    check_gradients(tensors, out, lambda i, a, b: beta * i + alpha * (a @ b))


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5), (3, 1, 5), (1,)])
def test_baddbmm(shape):
    arrays = values(*shape), values(3, 4, 7), values(3, 7, 5)
    tensors = [pe.tensor(a, requires_grad=True) for a in arrays]
    out = tensors[0].baddbmm(*tensors[1:], beta=0.5, alpha=-2)
    check_gradients(tensors, out, lambda i, a, b: 0.5 * i - 2 * (a @ b))


def test_beta_0_leaves_input_out():
    out = pe.addmm(pe.full((2, 2), float("nan")), pe.ones(2, 3), pe.ones(3, 2), beta=0)
    assert out.tolist() == [[3.0, 3.0], [3.0, 3.0]]


# ---- packed weights ----------------------------------------------------------------


def test_second_use_packs_and_changes_no_bit(no_packs):
    for rows, width, out in [(1, 300, 70), (3, 129, 257), (40, 64, 65), (256, 100, 100)]:
        x, w, b = pe.tensor(values(rows, width)), pe.tensor(values(out, width)), pe.tensor(values(out))
        expected = bits(pe.matmul(x, w.T) + b)
        start = pe.memory_stats()
        assert bits(pe.linear(x, w, b)) == expected
        assert packed(w) is None and pe.memory_stats()["packed"] == 0
        assert bits(pe.linear(x, w, b)) == expected
        assert packed(w).shape == (out, width) and packed(w).nbytes >= 4 * out * width
        assert pe.memory_stats()["packed"] == packed(w).nbytes
        assert pe.memory_stats()["in_use"] - start["in_use"] >= packed(w).nbytes
        many = pe.tensor(values(700, width))
        assert bits(pe.linear(many, w, b)) == bits(pe.matmul(many, w.T) + b)
        for threads in (1, 2, 3):
            with pe.num_threads(threads):
                assert bits(pe.linear(x, w, b)) == expected
        del w
        assert pe.memory_stats()["packed"] == 0


def test_what_is_not_packed(no_packs):
    x = pe.tensor(values(4, 128))
    array = values(64, 128)
    shared, part = pe.from_numpy(array), pe.tensor(values(128, 128))[:64]
    small, learned = pe.tensor(values(8, 128)), pe.tensor(values(64, 128), requires_grad=True)
    many, w = pe.tensor(values(257, 128)), pe.tensor(values(64, 128))
    for _ in range(4):
        for weight in (shared, part, small, learned):
            pe.linear(x, weight)
        pe.linear(many, w)
        assert packed(w) is packed(shared) is packed(part) is packed(small) is packed(learned) is None
    with pe.no_grad():
        for _ in range(2):
            pe.linear(x, learned)
    assert packed(learned) is not None


WRITES = {
    "in place": lambda layer: layer.weight.add_(1.0),
    "copy_": lambda layer: layer.weight.copy_(pe.ones(96, 128)),
    "element": lambda layer: layer.weight.detach().__setitem__((0, 0), 5.0),
    "view": lambda layer: layer.weight.detach()[3:5].mul_(2.0),
    "random": lambda layer: layer.reset_parameters(),
    "numpy": lambda layer: np.asarray(layer.weight.detach()).__setitem__(0, 3.0),
    "state": lambda layer: layer.load_state_dict({"weight": values(96, 128, seed=9), "bias": values(96, seed=9)}),
}


def warm(layer, x):
    with pe.no_grad():
        for _ in range(3):
            out = layer(x)
    assert packed(layer.weight) is not None
    return bits(out)


def check_fresh(layer, x):
    with pe.no_grad():
        for _ in range(3):
            assert bits(layer(x)) == bits(pe.matmul(x, layer.weight.detach().clone().T) + layer.bias)


@pytest.mark.parametrize("name", WRITES)
def test_a_write_ends_the_pack(no_packs, name):
    layer, x = nn.Linear(128, 96).eval(), pe.tensor(values(5, 128))
    before = warm(layer, x)
    with pe.no_grad():
        WRITES[name](layer)
    assert packed(layer.weight) is None
    assert pe.memory_stats()["packed"] == 0
    check_fresh(layer, x)
    assert before != bits(layer(x))


def test_an_array_that_lives_may_write_at_any_time(no_packs):
    layer, x = nn.Linear(128, 96), pe.tensor(values(5, 128))
    warm(layer, x)
    array = layer.weight.detach().numpy()
    for i in range(4):
        array[i] = i
        check_fresh(layer, x)
        assert packed(layer.weight) is None
    array[:] = 7
    del array
    check_fresh(layer, x)
    assert packed(layer.weight) is not None


@pytest.mark.parametrize("rule", [optim.SGD, optim.Adam])
def test_optimizer_steps_between_uses(no_packs, rule):
    layer, x = nn.Linear(128, 96), pe.tensor(values(5, 128))
    step = rule(layer.parameters(), lr=0.1)
    for _ in range(3):
        before = warm(layer, x)
        step.zero_grad()
        layer(x).sum().backward()
        step.step()
        assert packed(layer.weight) is None
        check_fresh(layer, x)
        assert bits(layer(x)) != before


def test_recorded_products_free_a_stale_pack(no_packs):
    """Training takes no memory for what inference had packed: it lies in the cache again, and is reused."""
    layer, x = nn.Linear(128, 96), pe.tensor(values(5, 128))
    warm(layer, x)
    nbytes, address = packed(layer.weight).nbytes, packed(layer.weight).data_ptr
    with pe.no_grad():
        layer.weight.mul_(0.5)
    out = layer(x)
    assert pe.empty(nbytes // 4).data_ptr == address
    assert out.requires_grad and packed(layer.weight) is None


def test_views_of_the_weight_do_not_meet_its_pack(no_packs):
    w, x = pe.tensor(values(128, 128)), pe.tensor(values(4, 128))
    expected, turned = bits(pe.matmul(x, w.T)), bits(pe.matmul(x, w))
    for _ in range(3):
        assert bits(pe.linear(x, w)) == expected
        assert bits(pe.linear(x, w.T)) == turned
        assert bits(pe.linear(x[:, :64], w[:, :64])) == bits(pe.matmul(x[:, :64], w[:, :64].T))


def test_pack_now_and_trim(no_packs):
    w, x = pe.tensor(values(96, 128)), pe.tensor(values(4, 128))
    expected = bits(pe.linear(x, w))
    made = pe.pack(w)
    assert repr(made) == f"PackedWeight(shape=(96, 128), nbytes={made.nbytes})"
    assert packed(w) is made is pe.pack(w)
    assert bits(pe.linear(x, w)) == expected
    pe.trim()
    assert packed(w) is None and pe.memory_stats()["packed"] == 0
    assert bits(pe.linear(x, w)) == expected
    assert packed(w) is None  # two uses again
    assert bits(pe.linear(x, w)) == expected
    assert packed(w) is not None
    assert pe.pack(pe.ones(3, 2)).shape == (3, 2)  # asked for, also the small ones


def test_pack_refuses():
    with pytest.raises(ValueError, match=r"pack: a weight \(out, in\) is needed, got shape \(3,\)"):
        pe.pack(pe.ones(3))
    with pytest.raises(ValueError, match=r"pack: the weight of shape \(2, 3\) is part of other memory"):
        pe.pack(pe.ones(4, 3)[:2])
    with pytest.raises(ValueError, match=r"pack: .*could change it unseen"):
        pe.pack(pe.from_numpy(values(3, 4)))
    with pytest.raises(TypeError, match=r"pack: weight must be float32, got int64"):
        pe.pack(pe.ones(3, 4, dtype="int64"))
    with pytest.raises(TypeError, match="pack: weight must be a Tensor, got NoneType"):
        pe.pack(None)
    with pytest.raises(TypeError, match="not called directly"):
        _core.PackedWeight()


def test_a_model_leaves_nothing(no_packs):
    start = pe.memory_stats()["in_use"]
    model = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 64))
    x = pe.tensor(values(4, 128))
    with pe.no_grad():
        for _ in range(3):
            model(x)
    assert pe.memory_stats()["packed"] > 4 * (128 * 256 + 256 * 64)
    del model, x
    gc.collect()
    assert pe.memory_stats()["packed"] == 0
    assert pe.memory_stats()["in_use"] == start


def test_threads_share_packs(no_packs):
    """Products, writes and trims from several threads: every result is that of the weight at one moment."""
    w, x = pe.tensor(values(200, 300)), pe.tensor(values(3, 300))
    right = {bits(pe.matmul(x, w.T))}
    with pe.no_grad():
        right.add(bits(pe.matmul(x, (w + w).T)))
    layers, wrong = [pe.tensor(w.numpy().copy()) for _ in range(3)], []

    def work(i):
        try:
            for turn in range(150):
                weight = layers[(i + turn) % 3]
                if bits(pe.linear(x, weight)) not in right:
                    wrong.append(turn)
                if turn % 40 == i:
                    pe.trim()
                    layers[i % 3] = weight + weight if bits(weight) == bits(w) else w.clone()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join(120) for t in threads]
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_uses_and_frees_the_pack(no_packs):
    layer, x = nn.Linear(512, 600), pe.tensor(values(5, 512))
    before = warm(layer, x)
    child = os.fork()
    if not child:
        code = 1
        try:
            with pe.no_grad():
                same = bits(layer(x)) == before
                layer.weight.mul_(2.0)
                check_fresh(layer, x)
                pe.trim()
                check_fresh(layer, x)
            code = 0 if same else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bits(layer(x)) == before
    assert packed(layer.weight) is not None


# ---- gradients onto gradients ------------------------------------------------------


def two_passes(hold):
    """The weight's gradient after two backward passes; hold: somebody else sees the first one."""
    layer, x = nn.Linear(40, 30), pe.tensor(values(2, 6, 40))
    with pe.no_grad():
        layer.weight.copy_(values(30, 40))
    held = []
    layer(x).square().sum().backward()
    first = layer.weight.grad.numpy().copy()
    if hold:
        held.append(layer.weight.grad)
    address = layer.weight.grad.data_ptr
    layer(x).square().sum().backward()
    if hold:
        assert held[0].numpy().tobytes() == first.tobytes()  # who holds a gradient keeps it
    return layer.weight.grad, address, first, x, layer


def test_second_backward_adds_in_place():
    grad, address, first, x, layer = two_passes(hold=False)
    assert grad.data_ptr == address
    np.testing.assert_allclose(grad.numpy(), 2 * first, rtol=1e-5, atol=1e-4)
    assert grad.version == 1
    # what is documented: the chain of each element starts at .grad's element
    g = 2 * (pe.matmul(x, layer.weight.detach().T) + layer.bias.detach())
    a, b = g.reshape(12, 30), x.reshape(12, 40)
    chain = pe.tensor(np.concatenate([np.ones((1, 30), np.float32), a.numpy()]))  # 1 * first, then the rest
    for i in (0, 7):
        row = pe.matmul(chain[:, i : i + 1].T, pe.tensor(np.concatenate([first[i : i + 1], b.numpy()])))
        assert bits(row[0]) == bits(grad[i])


def test_leaves_do_not_share_a_gradient():
    a, b = pe.ones(3, requires_grad=True), pe.ones(3, requires_grad=True)
    given = pe.ones(3)
    (a + b).backward(given)
    a.grad.mul_(5.0)
    assert (a.grad.tolist(), b.grad.tolist(), given.tolist()) == ([5.0] * 3, [1.0] * 3, [1.0] * 3)


def test_a_first_gradient_is_not_copied():
    """backward() takes no more memory at its end than the gradients themselves."""
    w, x = pe.tensor(values(512, 512), requires_grad=True), pe.tensor(values(4, 512))
    out = pe.linear(x, w).sum()
    before = pe.memory_stats()["allocations"]
    (expected,) = pe.grad(out, w, retain_graph=True)
    taken = pe.memory_stats()["allocations"] - before
    out.backward()
    assert pe.memory_stats()["allocations"] - before == 2 * taken
    assert bits(w.grad) == bits(expected)


def test_a_gradient_that_others_see_is_not_written():
    grad, address, first, *_ = two_passes(hold=True)
    assert grad.data_ptr != address
    np.testing.assert_allclose(grad.numpy(), 2 * first, rtol=1e-5, atol=1e-4)


def test_gradients_that_are_values_do_not_touch_grad():
    layer, x = nn.Linear(8, 6), pe.tensor(values(4, 8))
    layer(x).sum().backward()
    before = bits(layer.weight.grad)
    pe.grad(layer(x).sum(), layer.weight)
    assert bits(layer.weight.grad) == before
    layer(x).sum().backward(create_graph=True)
    layer(x).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), 3 * np.frombuffer(before, np.float32).reshape(6, 8),
                               rtol=1e-5)  # fmt: skip


def test_a_weight_used_twice():
    w, x = pe.tensor(values(6, 6), requires_grad=True), pe.tensor(values(4, 6))
    for _ in range(2):
        pe.linear(pe.linear(x, w, None, "tanh"), w).sum().backward()
    v = pe.tensor(values(6, 6), requires_grad=True)
    pe.linear(pe.tanh(pe.linear(x, v)), v).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * v.grad.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_accumulated_bits_do_not_depend_on_threads(threads):
    results = []
    for n in (1, threads):
        with pe.num_threads(n):
            w, x = pe.tensor(values(300, 200), requires_grad=True), pe.tensor(values(150, 200))
            for _ in range(3):
                pe.linear(x, w, None, "relu").sum().backward()
            results.append(bits(w.grad))
    assert results[0] == results[1]
