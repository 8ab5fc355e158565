"""Normalization beside torch: results, gradients, running statistics, state_dicts, text and refusals."""

import importlib.util

import numpy as np
import pytest
from require import require

import pyengine as pe

F = pe.nn.functional


@pytest.fixture(scope="module")
def torch():
    require("torch", importlib.util.find_spec("torch"), "torch is not installed (pip install torch)")
    import torch

    return torch


def close(ours, theirs, what=""):
    a, b = ours.detach().numpy(), theirs.detach().numpy()
    assert a.shape == b.shape and a.dtype == b.dtype, what
    scale = max(1.0, float(np.abs(b).max(initial=0.0)))
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5 * scale, err_msg=what)


def both(torch, function, *shapes, seed=0):
    """function(namespace, *tensors) in both engines, and the gradients of all tensors."""
    rng = np.random.default_rng(seed)
    arrays = [(1.5 * rng.standard_normal(s) + 0.5).astype(np.float32) for s in shapes]
    results = []
    for engine, tensor in ((pe, pe.tensor), (torch, torch.tensor)):
        leaves = [tensor(a).requires_grad_() for a in arrays]
        out = function(engine, *leaves)
        weights = np.cos(np.arange(int(np.prod(out.shape)))).reshape(tuple(out.shape)).astype(np.float32)
        (out * tensor(weights)).sum().backward()
        results.append([out, *[leaf.grad for leaf in leaves]])
    for i, (a, b) in enumerate(zip(*results, strict=True)):
        close(a, b, f"result {i}" if i == 0 else f"gradient {i - 1}")


ROWS = [((3, 5), 1), ((4, 1), 1), ((7, 768), 1), ((300, 33), 1), ((2, 3, 65), 1), ((2, 3, 4, 5), 2), ((2, 3, 4), 3),
        ((6,), 1), ((2, 9000), 1), ((1030, 7), 1)]  # fmt: skip


@pytest.mark.parametrize("parameters", [0, 1, 2])
@pytest.mark.parametrize(("shape", "axes"), ROWS)
def test_layer_norm(torch, shape, axes, parameters):
    last = shape[len(shape) - axes :]
    both(torch, lambda e, x, *p: e.nn.functional.layer_norm(x, last, *p), shape, *[last] * parameters)


@pytest.mark.parametrize("parameters", [0, 1])
@pytest.mark.parametrize("eps", [None, 1e-3])
@pytest.mark.parametrize(("shape", "axes"), ROWS)
def test_rms_norm(torch, shape, axes, eps, parameters):
    last = shape[len(shape) - axes :]
    both(torch, lambda e, x, *p: e.nn.functional.rms_norm(x, last, *p, eps=eps), shape, *[last] * parameters)


def test_bias_alone_and_views(torch):
    both(torch, lambda e, x, b: e.nn.functional.layer_norm(x, (6,), None, b), (5, 6), (6,))
    both(torch, lambda e, x, w: e.nn.functional.layer_norm(x.transpose(0, 1), (5,), w[::2]), (5, 6), (10,))
    both(torch, lambda e, x, w: e.nn.functional.rms_norm(x[:, ::2], (3,), w), (5, 6), (3,))


@pytest.mark.parametrize("shape", [(8, 3), (2, 3), (4, 3, 5), (2, 4, 5, 6), (1, 2, 3, 3, 2), (64, 17)])
@pytest.mark.parametrize("affine", [False, True])
def test_batch_norm(torch, shape, affine):
    c = [(shape[1],)] * (2 if affine else 0)

    def trained(e, x, *p):
        return e.nn.functional.batch_norm(x, None, None, *p, training=True)

    def fixed(e, x, *p):
        mean, var = e.zeros(shape[1]) + 0.3, e.zeros(shape[1]) + 1.7
        return e.nn.functional.batch_norm(x, mean, var, *p)

    both(torch, trained, shape, *c)
    both(torch, fixed, shape, *c)


@pytest.mark.parametrize("shape", [(2, 6, 4), (3, 6), (1, 6, 2, 3), (2, 6, 3, 2, 2)])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(torch, shape, groups):
    if shape == (3, 6) and groups == 6:
        return  # rows of one value: 0, where torch leaves rounding times 1 / sqrt(eps)
    both(torch, lambda e, x, w, b: e.nn.functional.group_norm(x, groups, w, b), shape, (6,), (6,))
    both(torch, lambda e, x: e.nn.functional.group_norm(x, groups), shape)


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 6, 2, 3), (2, 1, 3, 2, 2)])
def test_instance_norm(torch, shape):
    c = (shape[1],)
    both(torch, lambda e, x, w, b: e.nn.functional.instance_norm(x, weight=w, bias=b), shape, c, c)
    both(torch, lambda e, x: e.nn.functional.instance_norm(x), shape)


@pytest.mark.parametrize("shape", [(2, 7, 4), (1, 6, 2, 3), (2, 3, 3, 2, 2)])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_local_response_norm(torch, shape, size):
    both(torch, lambda e, x: e.nn.functional.local_response_norm(x, size, 0.3, 0.6, 2.0), shape)


NETS = {
    "BatchNorm1d": [((8, 3), {}), ((4, 3, 5), {"momentum": None}), ((4, 3), {"affine": False, "momentum": 0.3}),
                    ((4, 3), {"track_running_stats": False}), ((4, 3), {"bias": False})],
    "BatchNorm2d": [((4, 3, 5, 2), {}), ((4, 3, 5, 2), {"momentum": None, "eps": 0.1})],
    "BatchNorm3d": [((4, 3, 5, 2, 2), {})],
    "InstanceNorm1d": [((4, 3, 5), {}), ((3, 5), {"affine": True, "track_running_stats": True}),
                       ((4, 3, 5), {"track_running_stats": True})],
    "InstanceNorm2d": [((4, 3, 5, 2), {"affine": True}), ((3, 5, 2), {}),
                       ((4, 3, 5, 2), {"affine": True, "bias": False})],
    "InstanceNorm3d": [((4, 3, 5, 2, 2), {"affine": True, "track_running_stats": True, "momentum": 0.5})],
}  # fmt: skip


@pytest.mark.parametrize(("name", "shape", "options"), [(n, *case) for n, cases in NETS.items() for case in cases])
def test_running_statistics_and_state(torch, name, shape, options):
    """Three batches in training, one in evaluation; the state goes both ways."""
    ours, theirs = getattr(pe.nn, name)(3, **options), getattr(torch.nn, name)(3, **options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    rng = np.random.default_rng(1)
    for step in range(4):
        if step == 3:
            ours.eval(), theirs.eval()
        x = (2 * rng.standard_normal(shape) + 1).astype(np.float32)
        close(ours(pe.tensor(x)), theirs(torch.tensor(x)), f"step {step}")
        for key, value in theirs.state_dict().items():
            close(ours.state_dict()[key], value, f"step {step}: {key}")
    other = getattr(pe.nn, name)(3, **options)
    other.load_state_dict(theirs.state_dict())
    theirs.load_state_dict({key: torch.from_numpy(value.numpy()) for key, value in ours.state_dict().items()})
    for key, value in theirs.state_dict().items():
        close(other.state_dict()[key], value, key)


LAYERS = [("LayerNorm", (4,), {}), ("LayerNorm", ((3, 4),), {"bias": False}),
          ("LayerNorm", ([4],), {"elementwise_affine": False}),
          ("RMSNorm", (4,), {}), ("RMSNorm", ((3, 4),), {"eps": 0.1, "elementwise_affine": False}),
          ("GroupNorm", (1, 3), {}),
          ("GroupNorm", (3, 3), {"affine": False}), ("GroupNorm", (3, 3), {"bias": False}),
          ("LocalResponseNorm", (2,), {})]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "options"), LAYERS)
def test_layers(torch, name, args, options):
    ours, theirs = getattr(pe.nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    state = theirs.state_dict()
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == {k: tuple(v.shape) for k, v in state.items()}
    x = np.random.default_rng(2).standard_normal((2, 3, 3, 4)).astype(np.float32)
    close(ours(pe.tensor(x)), theirs(torch.tensor(x)))


REFUSED = [
    "F.layer_norm(x(2, 3), 3)", "F.layer_norm(x(2, 3), ())", "F.layer_norm(x(2, 3), (2,))",
    "F.layer_norm(x(2, 3), (3,), x(2))", "F.layer_norm(x(2, 3), (3,), None, x(2))", "F.layer_norm(x(()), (1,))",
    "F.layer_norm([1.0], (1,))", "F.rms_norm(x(2, 3), (2,))", "F.rms_norm(x(2, 3), ())", "F.rms_norm(x(2, 3), 3)",
    "F.rms_norm(x(2, 3), (3,), x(2))", "F.rms_norm(1.0, (1,))", "F.batch_norm(x(2, 3), None, None)",
    "F.batch_norm(x(1, 3), x(3), x(3), training=True)", "F.batch_norm(x(3), x(3), x(3), training=True)",
    "F.batch_norm(x(2, 3), x(2), x(3))", "F.batch_norm(x(2, 3), None, None, x(2), training=True)",
    "F.batch_norm(x(()), x(3), x(3))", "F.batch_norm(x(2, 3), x(3), None, training=True)",
    "F.batch_norm(x(2, 3), x(3), x(3), momentum=None, training=True)", "F.batch_norm(1.0, None, None)",
    "F.group_norm(x(2, 6, 4), 4)", "F.group_norm(x(2, 6, 4), 0)", "F.group_norm(x(6), 2)",
    "F.group_norm(x(2, 6, 4), 2, x(4))", "F.group_norm(x(1, 6), 6)", "F.group_norm(x(2, 6, 4), -2)",
    "F.group_norm(x(2, 6, 4), 2.5)", "F.instance_norm(x(2, 3, 1))", "F.instance_norm(x(2, 3))", "F.instance_norm(x(3))",
    "F.instance_norm(x(2, 3, 4), None, None, use_input_stats=False)", "F.instance_norm(x(2, 3, 4), x(3), None)",
    "F.instance_norm(x(2, 3, 4), weight=x(2))", "F.local_response_norm(x(2, 3), 2)", "F.local_response_norm(x(3), 2)",
    "F.local_response_norm(x(2, 3, 4), 0)", "F.local_response_norm(x(2, 3, 4), -1)",
    "F.local_response_norm(x(2, 3, 4), 2.5)", "nn.LayerNorm(2.5)", "nn.GroupNorm(2, 5)", "nn.GroupNorm(0, 5)",
    "nn.BatchNorm1d(3)(x(3))", "nn.BatchNorm1d(3)(x(2, 3, 4, 5))", "nn.BatchNorm1d(3)(x(2, 4))",
    "nn.BatchNorm2d(3)(x(2, 3, 4))", "nn.BatchNorm3d(3)(x(2, 3, 4))", "nn.BatchNorm1d(3)(x(1, 3))",
    "nn.InstanceNorm1d(3)(x(2, 3, 4, 5))", "nn.InstanceNorm1d(3, affine=True)(x(2, 4, 4))",
    "nn.InstanceNorm2d(3)(x(2, 3))", "nn.InstanceNorm3d(3)(x(3, 4, 5))", "nn.LocalResponseNorm(2)(x(2, 3))",
    "nn.LayerNorm(3)(x(2, 4))", "nn.LayerNorm(3)([1])",
]  # fmt: skip


@pytest.mark.parametrize("call", REFUSED)
def test_what_torch_refuses(torch, call):
    """The same exception types."""
    names = {"F": torch.nn.functional, "nn": torch.nn, "x": torch.ones}
    with pytest.raises(Exception) as theirs:
        eval(call, names)
    with pytest.raises(theirs.type):
        eval(call, {"F": pe.nn.functional, "nn": pe.nn, "x": pe.ones})


EMPTY = ["F.layer_norm(x(0, 3), (3,))", "F.layer_norm(x(3, 0), (0,))", "F.rms_norm(x(0, 3), (3,), x(3))",
         "F.batch_norm(x(0, 3), x(3), x(3), x(3), training=True)", "F.batch_norm(x(2, 3, 0), x(3), x(3))",
         "F.group_norm(x(0, 6, 2), 2)", "F.instance_norm(x(0, 3, 4))", "F.local_response_norm(x(0, 3, 4), 2)",
         "F.layer_norm(x(3, 3), (3,), x(3), x(3), 0.0)", "F.batch_norm(x(0), x(0), x(0))"]  # fmt: skip


@pytest.mark.parametrize("call", EMPTY)
def test_empty_and_constant(torch, call):
    theirs = eval(call, {"F": torch.nn.functional, "x": torch.ones})
    ours = eval(call, {"F": pe.nn.functional, "x": pe.ones})
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
