"""Memory formats: what torch's names do, which layout convolutions choose, and that no bit depends on it."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyengine as pe
import pyengine.nn.functional as F
from pyengine import _core, io, models, nn, optim

SHAPES = {"channels_last": (2, 9, 4, 5), "channels_last_3d": (2, 9, 3, 4, 5)}


def numbers(*shape, seed=0):
    return pe.tensor(np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32))


def last(x):
    """x with its channels last, whatever number of axes it has."""
    order = (0, *range(2, x.ndim), 1)
    back = (0, x.ndim - 1, *range(1, x.ndim - 1))
    return x.permute(*order).contiguous().permute(*back)


def steps(x):
    """The strides that are ever taken."""
    return [step for n, step in zip(x.shape, x.stride(), strict=True) if n > 1]


def same(a, b):
    assert a.shape == b.shape
    np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


# ---- torch's names --------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_formats_as_torch_has_them(name):
    format, x = getattr(pe, name), numbers(*SHAPES[name])
    y = x.contiguous(memory_format=format)
    assert isinstance(format, pe.memory_format) and repr(format) == f"pyengine.{name}"
    assert y.shape == x.shape and y.stride() == last(x).stride()
    same(x, y)
    assert y.is_contiguous(memory_format=format) and not y.is_contiguous()
    assert x.is_contiguous(memory_format=pe.contiguous_format) and not x.is_contiguous(memory_format=format)
    assert y.contiguous(memory_format=format) is y and y.to(memory_format=format) is y
    assert x.to(memory_format=pe.preserve_format) is x and y.to(memory_format=pe.preserve_format) is y
    assert y.to(memory_format=format, copy=True) is not y
    back = y.contiguous()
    assert back.is_contiguous()
    same(back, x)
    assert y.to(memory_format=pe.contiguous_format).is_contiguous()
    wide = x.to("float64", memory_format=format)
    assert wide.dtype is pe.float64 and wide.stride() == y.stride()
    assert y.clone().stride() == y.stride() and y.clone(memory_format=pe.contiguous_format).is_contiguous()
    assert pe.empty(*x.shape, memory_format=format).stride() == y.stride()
    assert pe.empty(x.shape, memory_format=pe.contiguous_format).is_contiguous()


@pytest.mark.parametrize("name", SHAPES)
def test_like(name):
    format, x = getattr(pe, name), numbers(*SHAPES[name])
    y = x.to(memory_format=format)
    makers = (pe.zeros_like, pe.ones_like, pe.empty_like, lambda x, **k: pe.full_like(x, 7.0, **k),
              pe.rand_like, pe.randn_like, lambda x, **k: pe.randint_like(x, 5, **k))  # fmt: skip
    for maker in makers:
        assert maker(y).stride() == y.stride() and maker(x).is_contiguous()
        assert maker(x, memory_format=format).stride() == y.stride()
        assert maker(y, memory_format=pe.contiguous_format).is_contiguous()
    assert pe.zeros_like(x.transpose(1, 2)).stride() == x.transpose(1, 2).stride()
    assert pe.ones_like(y, dtype="int64").stride() == y.stride()
    for maker in makers[4:]:
        pe.manual_seed(3)
        a = maker(x)
        pe.manual_seed(3)
        same(a, maker(y))


def test_wrong_ranks_and_types():
    x = pe.zeros(2, 3, 4)
    for refused in (
        lambda: x.contiguous(memory_format=pe.channels_last),
        lambda: x.to(memory_format=pe.channels_last_3d),
        lambda: x.clone(memory_format=pe.channels_last),
        lambda: pe.zeros_like(x, memory_format=pe.channels_last),
        lambda: pe.empty(2, 3, 4, memory_format=pe.channels_last),
    ):
        with pytest.raises(RuntimeError, match="axes is required for channels_last"):
            refused()
    assert not x.is_contiguous(memory_format=pe.channels_last)
    with pytest.raises(RuntimeError, match="preserve_format"):
        x.transpose(0, 1).contiguous(memory_format=pe.preserve_format)
    with pytest.raises(RuntimeError, match="preserve_format"):
        pe.empty(2, memory_format=pe.preserve_format)
    for refused in (lambda f: x.contiguous(memory_format=f), lambda f: x.to(memory_format=f), x.is_contiguous):
        with pytest.raises(TypeError, match="memory_format"):
            refused("channels_last")


def test_ambiguous_and_empty_shapes():
    assert pe.zeros(2, 1, 4, 5).is_contiguous(memory_format=pe.channels_last)
    assert pe.zeros(2, 7, 1, 1).is_contiguous(memory_format=pe.channels_last)
    empty = pe.zeros(0, 3, 4, 5).to(memory_format=pe.channels_last)
    assert empty.shape == (0, 3, 4, 5) and F.relu(empty).shape == empty.shape


def test_formats_survive_copies_and_pickles():
    assert pickle.loads(pickle.dumps(pe.channels_last)) is pe.channels_last
    assert copy.deepcopy(pe.channels_last) is pe.channels_last
    y = numbers(2, 3, 4, 5).to(memory_format=pe.channels_last)
    assert copy.deepcopy(y).stride() == y.stride()
    same(pickle.loads(pickle.dumps(y)), y)


def test_gradient_passes_a_change_of_format():
    x = numbers(2, 3, 4, 5).requires_grad_()
    w = numbers(2, 3, 4, 5, seed=1)
    (x.to(memory_format=pe.channels_last) * w).sum().backward()
    same(x.grad, w)
    assert x.grad.is_contiguous()


def test_modules():
    net = nn.Sequential(nn.Conv2d(3, 9, 3), nn.BatchNorm2d(9), nn.Flatten(), nn.Linear(9, 2))
    x = numbers(2, 3, 3, 3)
    before = net(x)
    weight = net[0].weight
    assert net.to(memory_format=pe.channels_last) is net and net[0].weight is weight
    assert weight.is_contiguous(memory_format=pe.channels_last) and net[3].weight.is_contiguous()
    same(net(x.to(memory_format=pe.channels_last)), before)
    assert net.to(memory_format=pe.contiguous_format)[0].weight.is_contiguous()
    with pytest.raises(RuntimeError, match="axes is required"):
        nn.Conv3d(2, 2, 2).to(memory_format=pe.channels_last)


# ---- the rule of convolutions -----------------------------------------------------------


@pytest.mark.parametrize("n", (1, 2, 3))
@pytest.mark.parametrize("inputs, outputs, groups", ((3, 8, 1), (9, 7, 1), (8, 16, 8), (8, 8, 2), (16, 16, 1)))
def test_the_rule(n, inputs, outputs, groups):
    """8 channels and not depthwise: last. Others as the input; a gradient as what it is the gradient of."""
    mixed = groups == 1 or inputs > groups
    w = numbers(outputs, inputs // groups, *(3,) * n)
    upper = numbers(2, outputs, *(4,) * n, seed=2)
    results = []
    for x in (numbers(2, inputs, *(6,) * n), last(numbers(2, inputs, *(6,) * n))):
        x = x.requires_grad_()
        kept = w.clone().requires_grad_()
        y = getattr(F, f"conv{n}d")(x, kept, None, groups=groups)
        assert _core.has_channels_last(y) == ((mixed and outputs >= 8) or _core.has_channels_last(x))
        assert _core.has_channels_last(_dx(y, upper, x)) == ((mixed and inputs >= 8) or _core.has_channels_last(x))
        y = getattr(F, f"conv{n}d")(x, kept, None, groups=groups)
        (y * upper).sum().backward()
        assert steps(x.grad) == steps(x) and steps(kept.grad) == steps(kept)
        results.append((y, x.grad, kept.grad))
    for a, b in zip(*results, strict=True):
        same(a, b)


def _dx(y, upper, x):
    return pe.grad(y, x, upper)[0]


@pytest.mark.parametrize("n", (1, 2, 3))
def test_the_rule_of_transposed_convolutions(n):
    results = []
    for x in (numbers(2, 4, *(5,) * n), last(numbers(2, 4, *(5,) * n))):
        x, w = x.requires_grad_(), numbers(4, 9, *(3,) * n, seed=1).requires_grad_()
        y = getattr(F, f"conv_transpose{n}d")(x, w, stride=2)
        assert _core.has_channels_last(y)
        dx = _dx(y, numbers(*y.shape, seed=2), x)
        assert _core.has_channels_last(dx) == _core.has_channels_last(x)
        results.append((y, dx))
    for a, b in zip(*results, strict=True):
        same(a, b)


def test_weights_with_their_channels_last_keep_them():
    x, w = numbers(2, 3, 6, 6), numbers(9, 3, 3, 3).to(memory_format=pe.channels_last).requires_grad_()
    y = F.conv2d(x, w)
    same(y, F.conv2d(x, w.contiguous()))
    assert pe.grad(y, w, pe.ones_like(y))[0].stride() == w.stride()


def test_one_image_without_a_batch():
    x, w = numbers(3, 6, 6), numbers(9, 3, 3, 3)
    y = F.conv2d(x, w)
    assert y.shape == (9, 4, 4)
    same(y.view(-1), F.conv2d(x.unsqueeze(0), w).flatten())
    assert F.conv1d(numbers(3, 9), numbers(9, 3, 3)).is_contiguous()


# ---- views behind a convolution ---------------------------------------------------------


def test_ported_code_may_view():
    x = numbers(2, 3, 6, 6).requires_grad_()
    w = numbers(9, 3, 3, 3)
    y = F.conv2d(x, w)
    flat = y.view(y.size(0), -1)
    same(flat, y.contiguous().view(2, -1))
    same(flat, y.flatten(1))
    same(y.view_as(pe.zeros(18, 16)), y.reshape(18, 16))
    upper = numbers(2, 144, seed=1)
    (dx,) = pe.grad(flat, x, upper)
    same(dx, pe.grad(F.conv2d(x, w), x, upper.view(2, 9, 4, 4))[0])
    assert y.view(2, 9, 16).storage_ is y.storage_  # where there is a view, it is one


@pytest.mark.parametrize("make", (
    lambda x: x.transpose(2, 3), lambda x: x[:, ::2], lambda x: x[:, 1:],
    lambda x: x[:, :, 1:], lambda x: x.permute(3, 2, 1, 0), lambda x: x[0, 0].t(),
))  # fmt: skip
def test_other_strides_are_no_view(make):
    for x in (numbers(2, 9, 4, 5), numbers(2, 9, 4, 5).to(memory_format=pe.channels_last)):
        x = make(x)
        if not x.is_contiguous():
            with pytest.raises(ValueError, match="use reshape"):
                x.view(-1)


def test_the_border():
    y = numbers(2, 9, 4, 5).to(memory_format=pe.channels_last)
    plain = y.contiguous()
    assert y.numpy().strides == tuple(4 * s for s in y.stride())
    same(pe.from_dlpack(y), plain)
    np.testing.assert_array_equal(np.from_dlpack(y), plain.numpy())
    assert repr(y) == repr(plain) and y.tolist() == plain.tolist()


def test_files_hold_rows(tmp_path):
    net = nn.Conv2d(3, 9, 3)
    plain = {name: value.clone() for name, value in net.state_dict().items()}
    net.to(memory_format=pe.channels_last)
    io.save_file(net.state_dict(), tmp_path / "last.safetensors")
    io.save_file(plain, tmp_path / "plain.safetensors")
    assert (tmp_path / "last.safetensors").read_bytes() == (tmp_path / "plain.safetensors").read_bytes()
    nn.init.zeros_(net.weight)
    net.load_state_dict(io.load_file(tmp_path / "plain.safetensors"))
    same(net.weight, plain["weight"])
    assert net.weight.is_contiguous(memory_format=pe.channels_last)


# ---- gradients and optimizers -----------------------------------------------------------


@pytest.mark.parametrize("make", (lambda p: optim.SGD(p, 0.1, momentum=0.9), lambda p: optim.AdamW(p, 0.1)))
def test_optimizers_take_gradients_that_lie_otherwise(make):
    start, grads = numbers(9, 3, 4, 5), [numbers(9, 3, 4, 5, seed=i) for i in (1, 2, 3)]
    results = []
    for format in (pe.contiguous_format, pe.channels_last):
        p = nn.Parameter(start.clone())
        optimizer = make([p])
        for g in grads:
            p.grad = g.clone(memory_format=format)
            optimizer.step()
        nn.utils.clip_grad_norm_([p], 0.5)
        results.append((p, p.grad))
        state = optimizer.state_dict()
        moved = nn.Parameter(start.to(memory_format=pe.channels_last))
        again = make([moved])
        again.load_state_dict(state)  # states of rows, a parameter with its channels last
        moved.grad = grads[0]
        again.step()  # the states follow
        assert moved.is_contiguous(memory_format=pe.channels_last)
    for a, b in zip(*results, strict=True):
        same(a, b)


def test_gradients_accumulate_in_the_parameters_format():
    p = nn.Parameter(numbers(9, 3, 4, 5))
    for _ in range(3):
        (p * numbers(9, 3, 4, 5, seed=1).to(memory_format=pe.channels_last)).sum().backward()
        assert p.grad.stride() == p.stride()
    same(p.grad, numbers(9, 3, 4, 5, seed=1) * 3.0)


# ---- what follows a convolution ---------------------------------------------------------

KEEP = {
    "relu": F.relu, "silu": F.silu, "hardswish": F.hardswish, "relu6": F.relu6, "clamp": lambda x: x.clamp(-1.0, 1.0),
    "scaled": lambda x: x * 2.0, "per channel": lambda x: pe.ones(16, 1, 1) * x,
    "mixed": lambda x: numbers(2, 16, 6, 4, seed=5) + x, "mixed compared": lambda x: numbers(2, 16, 6, 4, seed=5) > x,
    "where": lambda x: pe.where(x > 0.0, numbers(2, 16, 6, 4, seed=5), x), "in place": lambda x: (x * 1.0).mul_(2.0),
    "batch norm": lambda x: F.batch_norm(x, pe.ones(16), pe.ones(16), numbers(16)),
    "batch norm trained": lambda x: F.batch_norm(x, None, None, numbers(16), None, True),
    "cat": lambda x: pe.cat([x, numbers(2, 3, 6, 4)], 1), "pad": lambda x: F.pad(x, (1, 0, 2, 1)),
    "reflect": lambda x: F.pad(x, (1, 0, 2, 1), mode="reflect"),
    "nearest": lambda x: F.interpolate(x, scale_factor=2), "area": lambda x: F.interpolate(x, (3, 4), mode="area"),
    "bilinear": lambda x: F.interpolate(x, (7, 9), mode="bilinear"), "shuffle": lambda x: F.pixel_shuffle(x, 2),
    "unshuffle": lambda x: F.pixel_unshuffle(x, 2), "channels": lambda x: F.channel_shuffle(x, 4),
    "max pool": lambda x: F.max_pool2d(x, 2), "average pool": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "adaptive pool": lambda x: F.adaptive_avg_pool2d(x, (3, 2)), "softmax": lambda x: x.softmax(1),
    "clone": lambda x: x.clone(), "depthwise": lambda x: F.conv2d(x, numbers(16, 1, 3, 3), padding=1, groups=16),
}  # fmt: skip


@pytest.mark.parametrize("name", KEEP)
def test_the_layout_stays(name):
    x, y = numbers(2, 16, 6, 4), last(numbers(2, 16, 6, 4))
    a, b = KEEP[name](x), KEEP[name](y)
    assert _core.has_channels_last(b)
    same(a, b)


def test_dropout_draws_by_place_in_the_shape():
    x = numbers(2, 16, 6, 4)
    for drop in (F.dropout, F.dropout2d):
        pe.manual_seed(1)
        a = drop(x, 0.5)
        pe.manual_seed(1)
        b = drop(last(x), 0.5)
        same(a, b)
        assert _core.has_channels_last(b)


@given(st.integers(1, 3), st.integers(1, 12), st.integers(1, 6), st.integers(1, 6), st.data())
def test_reductions_do_not_see_the_layout(n, c, h, w, data):
    x = numbers(n, c, h, w)
    dims = data.draw(st.sampled_from([None, 1, (2, 3), (0, 2, 3), (0, 1)]))
    for name in ("sum", "mean", "amax"):
        same(getattr(x, name)(dim=dims), getattr(last(x), name)(dim=dims))


# ---- networks ---------------------------------------------------------------------------

NETWORKS = {
    "resnet18": lambda: (models.resnet18(num_classes=5, stem="3x3"), (2, 3, 16, 16)),
    "mobilenet_v2": lambda: (models.mobilenet_v2(num_classes=5), (2, 3, 32, 32)),
    "lenet": lambda: (models.LeNet(), (2, 1, 28, 28)),
    "unet": lambda: (models.UNet(2, 3, 8, 2), (1, 3, 32, 32)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_the_same_bits_in_either_format(name):
    pe.manual_seed(0)
    net, shape = NETWORKS[name]()
    start = {key: value.clone() for key, value in net.state_dict().items()}
    results = []
    for weights, images in ((0, 0), (0, 1), (1, 1)):
        net.load_state_dict(start)
        net.to(memory_format=(pe.contiguous_format, pe.channels_last)[weights])
        x = numbers(*shape).to(memory_format=(pe.contiguous_format, pe.channels_last)[images]).requires_grad_()
        net.train()
        pe.manual_seed(1)
        y = net(x)
        net.zero_grad()
        (y * numbers(*y.shape, seed=1)).sum().backward()
        net.eval()
        with pe.no_grad():
            results.append([y, x.grad, net(x), *(p.grad for p in net.parameters())])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            same(a, b)


SLIDING = [  # kernel, stride, padding, dilation, size: windows of 3 and 5 that slide by one and by two, and their edges
    ((3, 3), (1, 1), (1, 1), (1, 1), (14, 14)), ((3, 3), (1, 1), (1, 1), (1, 1), (7, 9)),
    ((5, 5), (1, 1), (2, 2), (1, 1), (7, 7)), ((5, 3), (1, 1), (0, 4), (1, 1), (9, 2)),
    ((3, 3), (2, 2), (1, 1), (1, 1), (15, 23)), ((5, 5), (2, 2), (2, 2), (1, 1), (14, 16)),
    ((3, 5), (1, 2), (2, 0), (1, 1), (6, 30)), ((3, 3), (2, 1), (1, 1), (1, 1), (9, 8)),
    ((3, 3), (1, 1), (2, 2), (2, 2), (11, 13)), ((1, 3), (1, 1), (0, 1), (1, 1), (5, 29)),
    ((1, 3, 3), (2, 1, 1), (1, 1, 1), (1, 1, 1), (4, 7, 7)), ((1, 3, 3), (1, 1, 1), (0, 1, 1), (1, 1, 1), (3, 8, 7)),
    ((3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), (4, 7, 9)), ((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    ((5, 5), (2, 2), (2, 2), (1, 1), (2, 1)), ((3, 3), (1, 1), (2, 1), (1, 1), (1, 3)),
]  # fmt: skip


@pytest.mark.parametrize("channels", [16, 37, 130])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "size"), SLIDING)
def test_depthwise_windows_have_the_bits_of_planes(channels, kernel, stride, padding, dilation, size):
    conv = F.conv2d if len(size) == 2 else F.conv3d
    last = pe.channels_last if len(size) == 2 else pe.channels_last_3d
    x, w, bias = numbers(2, channels, *size), numbers(channels, 1, *kernel), numbers(channels)
    found = []
    for format in (pe.contiguous_format, last):
        for k in range(40):  # the memory that the convolution meets is not zero by luck
            pe.full(((5 + k % 4) * 2 ** (k // 4 + 3),), float("nan"))
        here = x.detach().contiguous(memory_format=format).requires_grad_()
        y = conv(here, w, bias, stride, padding, dilation, channels)
        y.backward((y.detach() * 3.0 - 1.0).contiguous(memory_format=format))
        found.append((y.detach().numpy().tobytes(), here.grad.numpy().tobytes()))
        assert np.isfinite(y.detach().numpy()).all() and np.isfinite(here.grad.numpy()).all()
    assert found[0] == found[1]
