"""The short way of a convolution in inference: it is taken, and dropped whenever what was decided holds no more."""

import gc
from weakref import ref

import pytest
from test_fusion import OFF, WRITES, numbers, pair, random_norm, same

import pyengine as pe
import pyengine.nn.functional as F
from pyengine import nn
from pyengine.nn import conv_norm
from pyengine.nn.conv_norm import conv_norm_act


def runs(conv):
    """How often the short way that is there now was taken."""
    ready = conv_norm._ready.get(conv)
    return 0 if ready is None else ready.runs


def long_way(x, *modules, residual=None):
    """The same call with everything looked at anew."""
    pe.trim()
    y = conv_norm_act(x, *modules, residual=residual)
    pe.trim()
    return y


@pytest.mark.parametrize("added", (False, True))
@pytest.mark.parametrize("activation", (None, F.relu6, nn.SiLU()), ids=("none", "function", "module"))
@pytest.mark.parametrize("with_norm", (False, True))
@pytest.mark.parametrize("n", (1, 2, 3))
def test_it_is_taken_with_the_same_bits(n, with_norm, activation, added):
    conv, norm = pair(n)
    norm = norm if with_norm else None
    x = numbers(2, 4, *(7, 6, 5)[:n])
    with pe.no_grad():
        residual = numbers(*conv(x).shape, seed=3) if added else None
        expected = long_way(x, conv, norm, activation, residual=residual)
        for count in range(3):
            same(conv_norm_act(x, conv, norm, activation, residual), expected)
            assert runs(conv) == count


def test_networks_take_it():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), random_norm(nn.BatchNorm2d(8)), nn.ReLU(), nn.Conv2d(8, 8, 3)).eval()
    x = numbers(2, 3, 8, 8)
    with pe.no_grad():
        first = net(x)
        same(net(x), first)
    assert runs(net[0]) == runs(net[3]) == 1


def test_another_shape_and_layout():
    conv, norm = pair(padding=1)
    with pe.no_grad():
        for count, shape in enumerate(((2, 4, 6, 6), (1, 4, 6, 6), (2, 4, 9, 5), (2, 4, 6, 6))):
            x = numbers(*shape)
            y = conv_norm_act(x, conv, norm)
            assert runs(conv) == count
            same(conv_norm_act(x.to(memory_format=pe.channels_last), *pair(padding=1)), y)
        for wrong, error in ((numbers(2, 5, 6, 6), "channels are expected"), (numbers(2, 4, 0, 6), "is larger than")):
            with pytest.raises(RuntimeError, match=error):
                conv_norm_act(wrong, conv, norm)
        same(conv_norm_act(x, conv, norm), y)
        assert runs(conv) == 4


@pytest.mark.parametrize("name", WRITES)
def test_a_write_drops_it(name):
    conv, norm = pair()
    x = numbers(2, 4, 6, 6)
    with pe.no_grad():
        for _ in range(2):
            conv_norm_act(x, conv, norm)
        WRITES[name](conv, norm)
        after = conv_norm_act(x, conv, norm)
        assert runs(conv) != 2
        same(after, long_way(x, conv, norm))


CHANGES = {
    "stride": lambda c: setattr(c, "stride", (2, 2)), "padding": lambda c: setattr(c, "padding", (1, 1)),
    "dilation": lambda c: setattr(c, "dilation", (2, 2)), "bias": lambda c: c.bias.add_(1.0),
    "mode": lambda c: (setattr(c, "padding", (1, 1)), setattr(c, "padding_mode", "reflect")),
    "weight": lambda c: setattr(c, "weight", nn.Parameter(c.weight[:, :, :1] * 2.0)),
    "no bias": lambda c: setattr(c, "bias", None), "written": lambda c: c.weight.mul_(2.0),
    "class": lambda c: setattr(c, "__class__", Doubled),
}  # fmt: skip


class Doubled(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) * 2.0


@pytest.mark.parametrize("name", CHANGES)
def test_without_a_norm_changes_are_seen(name):
    conv, _ = pair()
    x = numbers(2, 4, 6, 6)
    with pe.no_grad():
        for _ in range(2):
            before = conv_norm_act(x, conv, None)
        assert runs(conv) == 1
        CHANGES[name](conv)
        after = conv_norm_act(x, conv, None)
        assert after.shape != before.shape or (after - before).abs().max().item() > 1e-3
        same(after, conv(x))


def test_lists_that_can_change_in_place():
    conv, norm = pair()
    conv.dilation = [1, 1]
    x = numbers(2, 4, 6, 6)
    with pe.no_grad():
        conv_norm_act(x, conv, norm)
        conv.dilation[0] = 2
        assert conv_norm_act(x, conv, norm).shape == (2, 8, 2, 4)


@pytest.mark.parametrize("name", OFF)
def test_what_switches_it_off_later(name):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), random_norm(nn.BatchNorm2d(8)), nn.ReLU()).eval()
    x = numbers(2, 3, 6, 6)
    with pe.no_grad():
        for _ in range(2):
            net(x)
        OFF[name](net)
        before = runs(net[0])
        y = net(x)
        assert runs(net[0]) in (0, before)
        same(y, net[2](net[1](net[0](x))))


def test_a_hook_on_the_activation_and_its_end():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), random_norm(nn.BatchNorm2d(8)), nn.ReLU()).eval()
    x, calls = numbers(2, 3, 6, 6), []
    with pe.no_grad():
        for _ in range(2):
            net(x)
        handle = net[2].register_forward_hook(lambda m, a, y: calls.append(y.shape))
        net(x)
        handle.remove()
        net(x)
        assert calls == [(2, 8, 4, 4)] and runs(net[0]) == 2
        del net[2]  # no activation: another call
        assert (net(x) < 0).any().item()


def test_a_patched_class(monkeypatch):
    conv, norm = pair()
    x = numbers(2, 4, 6, 6)
    with pe.no_grad():
        for _ in range(2):
            conv_norm_act(x, conv, norm, F.relu)
        plain = nn.BatchNorm2d.forward
        monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda self, v: plain(self, v) + 100.0)
        assert conv_norm_act(x, conv, norm, F.relu).max().item() > 50


def test_the_tape_is_seen():
    conv, norm = pair()
    x = numbers(2, 4, 6, 6)
    with pe.no_grad():
        for _ in range(2):
            conv_norm_act(x, conv, norm)
    assert conv_norm_act(x, conv, norm).requires_grad
    for module in (conv, norm):
        module.requires_grad_(False)
    assert not conv_norm_act(x, conv, norm).requires_grad and runs(conv) == 2
    assert conv_norm_act(x.requires_grad_(), conv, norm).requires_grad
    residual = numbers(2, 8, 4, 4).requires_grad_()
    assert conv_norm_act(x.detach(), conv, norm, None, residual).requires_grad and runs(conv) == 2


def test_it_keeps_no_module_alive_and_training_ends_it():
    conv, norm = pair()
    with pe.no_grad():
        conv_norm_act(numbers(2, 4, 6, 6), conv, norm)
        assert conv in conv_norm._ready
        conv_norm_act(numbers(2, 4, 6, 6), conv, norm.train())
        assert conv not in conv_norm._ready
        conv_norm_act(numbers(2, 4, 6, 6), conv, norm.eval())
    there = ref(conv), ref(norm)
    del conv, norm
    gc.collect()
    assert there[0]() is None and there[1]() is None


def test_numbers_that_equal_integers_are_not_taken_for_them():
    """What is remembered of (1, 1) must not answer for (1.0, 1.0), True or a list that changes."""
    x, w = numbers(1, 2, 6, 6), numbers(3, 2, 3, 3)
    steps = [1, 1]
    for _ in range(2):
        assert F.conv2d(x, w, None, (1, 1)).shape == F.conv2d(x, w, None, steps).shape == (1, 3, 4, 4)
        assert F.max_pool2d(x, 2, 1).shape == F.max_pool2d(x, 2, steps).shape == (1, 2, 5, 5)
        for wrong in ((1.0, 1.0), 1.0, True):
            with pytest.raises(TypeError, match="must be integers"):
                F.conv2d(x, w, None, wrong)
            with pytest.raises(TypeError, match="must be integers"):
                F.max_pool2d(x, 2, wrong)
    steps[0] = 3
    assert F.conv2d(x, w, None, steps).shape == (1, 3, 2, 4) and F.max_pool2d(x, 2, steps).shape == (1, 2, 2, 5)
