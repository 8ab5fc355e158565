"""The networks: their sizes and keys, what they compute and learn, and the files they read."""

import subprocess
import sys

import numpy as np
import pytest
import torch_files as tf

import pyengine as pe
from pyengine import models, nn
from pyengine.io import save_file
from pyengine.models import audio, blocks

# parameters as torchvision and the packages of DATA's weights have them
SIZES = {
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "mobilenet_v2": 3_504_872,
    "mobilenet_v3_small": 2_542_856, "mobilenet_v3_large": 5_483_032, "efficientnet_lite0": 4_652_008,
    "lenet": 61_706, "small_cnn": 104_426,
}  # fmt: skip
KEYS = {
    "resnet18": "layer2.0.downsample.1.running_var layer4.1.conv2.weight bn1.num_batches_tracked fc.bias",
    "resnet50": "layer1.0.downsample.0.weight layer3.5.bn3.bias",
    "mobilenet_v2": "features.0.1.weight features.1.conv.0.0.weight features.2.conv.3.bias classifier.1.weight",
    "mobilenet_v3_small": "features.1.block.1.fc2.bias features.12.1.running_mean classifier.3.weight",
    "mobilenet_v3_large": "features.4.block.2.fc1.weight features.16.0.weight",
    "efficientnet_lite0": "_conv_stem.weight _blocks.15._project_conv.weight _blocks.1._bn0.bias _fc.weight",
    "lenet": "conv2.bias fc3.weight",
}
SMALL = {
    "resnet18": {"stem": "3x3"}, "resnet50": {}, "mobilenet_v2": {"width_mult": 0.25}, "mobilenet_v3_small": {},
    "mobilenet_v3_large": {}, "efficientnet_lite0": {}, "unet": {"width": 4, "depth": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_keys(name):
    net = getattr(models, name)()
    assert sum(parameter.numel() for parameter in net.parameters()) == SIZES[name]
    assert set(KEYS.get(name, "").split()) <= set(net.state_dict())


@pytest.mark.parametrize("name", SMALL)
def test_samples_do_not_see_each_other(name):
    """In evaluation a sample's result has the same bits in every batch."""
    pe.manual_seed(1)
    net = getattr(models, name)(num_classes=5, **SMALL[name])
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # one batch decides: an untrained net gives every picture the same answer
    x = pe.randn(2, 3, 32, 32)
    with pe.no_grad():
        net(x)
        net.eval()
        both, one = net(x).numpy(), net(x[1:]).numpy()
    assert both.shape[:2] == (2, 5) and np.isfinite(both).all()
    assert np.array_equal(both[1:], one) and not np.array_equal(both[:1], one)


def test_every_parameter_learns():
    for net, x in ((models.resnet18(num_classes=3, stem="3x3", in_channels=1), pe.randn(2, 1, 8, 8)),
                   (models.mobilenet_v3_small(num_classes=3), pe.randn(2, 3, 32, 32)),
                   (models.unet(num_classes=3, width=2, depth=1), pe.randn(2, 3, 6, 6))):  # fmt: skip
        net(x).square().sum().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None and np.isfinite(parameter.grad.numpy()).all(), name


def test_same_padding_is_tensorflows():
    """ceil(size / stride) outputs, each of the window that begins at i stride - pad // 2."""
    from pyengine.models.efficientnet import SameConv2d

    for size, kernel, stride in ((7, 3, 2), (8, 3, 2), (8, 5, 2), (9, 5, 1), (4, 3, 3)):
        layer, x = SameConv2d(1, 1, kernel, stride, bias=False), pe.randn(1, 1, size, size)
        count = -(-size // stride)
        before = max((count - 1) * stride + kernel - size, 0) // 2
        wide = np.zeros((size + 2 * kernel,) * 2, np.float32)
        wide[before : before + size, before : before + size] = x[0, 0].numpy()
        weight = layer.weight[0, 0].detach().numpy()
        expected = [[(wide[i : i + kernel, j : j + kernel] * weight).sum() for j in range(0, count * stride, stride)]
                    for i in range(0, count * stride, stride)]  # fmt: skip
        assert np.allclose(layer(x)[0, 0].detach().numpy(), expected, atol=1e-5)


def test_drop_path_keeps_the_mean():
    pe.manual_seed(0)
    x = pe.ones(4000, 2, 1)
    y = blocks.drop_path(x, 0.25, True).numpy()
    assert set(np.unique(y.round(4))) == {0.0, np.float32(1.3333)} and np.array_equal(y[:, 0], y[:, 1])
    assert abs(y.mean() - 1) < 0.05
    assert blocks.drop_path(x, 0.25, False) is x and blocks.drop_path(x, 0.0, True) is x


def test_divisible():
    assert [blocks.divisible(n) for n in (1, 8, 11, 12, 18, 24 * 0.75)] == [8, 8, 16, 16, 24, 24]


def test_weights_come_from_either_kind_of_file(tmp_path):
    pe.manual_seed(0)
    net = models.lenet()
    save_file(net.state_dict(), tmp_path / "a.safetensors")
    arrays = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    (tmp_path / "b.pth").write_bytes(tf.both(arrays)["zip"])
    for file in ("a.safetensors", "b.pth"):
        loaded = models.lenet(weights=tmp_path / file).state_dict()
        assert all(np.array_equal(loaded[name].numpy(), array) for name, array in arrays.items())
    with pytest.raises(RuntimeError, match="missing keys"):
        models.small_cnn(weights=tmp_path / "b.pth")
    with pytest.raises(FileNotFoundError):
        models.lenet(weights=tmp_path / "c.pth")


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="stem must be '7x7' or '3x3', got '5x5'"):
        models.resnet18(stem="5x5")
    with pytest.raises(ValueError, match="one of \\['full', 'tiny'\\], got 'huge'"):
        models.crepe("huge")
    with pytest.raises(ValueError, match="windows \\(N, 1024\\) are needed, got shape \\(2, 100\\)"):
        models.crepe("tiny")(pe.zeros(2, 100))
    with pytest.raises(ValueError, match="UNet: images must have 4 pixels"):
        models.unet(width=2, depth=2)(pe.zeros(1, 3, 8, 3))
    with pytest.raises(AttributeError, match="no attribute 'alexnet'"):
        _ = models.alexnet


def test_frames_are_windows_around_every_hop():
    sound = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    found = audio.frames(pe.from_numpy(sound), hop=100).numpy()
    wide = np.pad(sound.astype(np.float64), 512)
    windows = np.stack([wide[i : i + 1024] for i in range(0, 3001, 100)])
    windows -= windows.mean(1, keepdims=True)
    assert found.shape == (31, 1024)
    assert np.allclose(found, windows / windows.std(1, ddof=1, keepdims=True), atol=1e-4)
    assert audio.hertz(pe.eye(360)[:2]).numpy() == pytest.approx([31.7, 32.07], abs=0.01)
    with pytest.raises(ValueError, match="got shape \\(2, 3\\)"):
        audio.frames(pe.zeros(2, 3))


def test_a_network_learns():
    """SmallCNN tells pictures with a bright left half from ones with a bright right half."""
    pe.manual_seed(0)
    net = models.small_cnn(num_classes=2, widths=(4, 4), size=8)
    optimizer = pe.optim.AdamW(net.parameters(), lr=0.01)
    labels = pe.randint(2, (64,))
    x = pe.randn(64, 1, 8, 8)
    x[:, 0, :, :4] += (1.0 - labels.float()).reshape(-1, 1, 1)
    x[:, 0, :, 4:] += labels.float().reshape(-1, 1, 1)
    for _ in range(30):
        loss = nn.functional.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_nothing_is_read_before_it_is_asked_for():
    code = (
        "import sys, pyengine\n"
        "assert 'pyengine.models' not in sys.modules\n"
        "pyengine.models.lenet()\n"
        "assert 'pyengine.models.lenet5' in sys.modules and 'pyengine.models.resnet' not in sys.modules\n"
        "assert 'lenet' in dir(pyengine.models) and len(set(pyengine.models.__all__)) == len(pyengine.models.__all__)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
