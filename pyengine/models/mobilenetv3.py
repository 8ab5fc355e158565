"""MobileNetV3."""

from pyengine import nn
from pyengine.nn.conv_norm import add_to

from .blocks import conv_norm, divisible, draw_weights, with_weights

NORM = {"eps": 0.001, "momentum": 0.01}

# kernel, expanded channels, channels, squeeze and excitation, hard swish, stride
LARGE = (
    (3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1), (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1), (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1),
)  # fmt: skip
SMALL = (
    (3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1), (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1),
)  # fmt: skip


class SqueezeExcitation(nn.Module):
    """x times hardsigmoid(fc2(relu(fc1(the mean of each channel)))). (Hu et al. 2018)"""

    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.relu = nn.ReLU()
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x):
        return x * self.gate(self.fc2(self.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class InvertedResidual(nn.Module):
    """MobileNetV2's block with any kernel, squeeze and excitation, and ReLU or hard swish."""

    def __init__(self, inputs, kernel, expanded, outputs, squeeze, swish, stride):
        super().__init__()
        activation = nn.Hardswish if swish else nn.ReLU
        layers = []
        if expanded != inputs:
            layers.append(conv_norm(inputs, expanded, 1, activation=activation, **NORM))
        layers.append(conv_norm(expanded, expanded, kernel, stride, expanded, activation, **NORM))
        if squeeze:
            layers.append(SqueezeExcitation(expanded, divisible(expanded // 4)))
        self.block = nn.Sequential(*layers, conv_norm(expanded, outputs, 1, activation=None, **NORM))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        return add_to(x, self.block) if self.adds else self.block(x)


class MobileNetV3(nn.Module):
    """Blocks found by search, with squeeze and excitation and hard swish. (Howard et al. 2019, "Searching for
    MobileNetV3")

    Arguments: blocks, a table as LARGE; last, features before the classes; num_classes; dropout between them.
    Shape: (N, 3, H, W) -> (N, num_classes).
    """

    def __init__(self, blocks, last, num_classes=1000, dropout=0.2):
        super().__init__()
        channels = 16
        layers = [conv_norm(3, channels, 3, 2, activation=nn.Hardswish, **NORM)]
        for kernel, expanded, outputs, squeeze, swish, stride in blocks:
            layers.append(InvertedResidual(channels, kernel, expanded, outputs, squeeze, swish, stride))
            channels = outputs
        self.features = nn.Sequential(*layers, conv_norm(channels, 6 * channels, 1, activation=nn.Hardswish, **NORM))
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, last), nn.Hardswish(), nn.Dropout(dropout), nn.Linear(last, num_classes)
        )
        draw_weights(self, 0.01)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def mobilenet_v3_large(weights=None, num_classes=1000, **options):
    """The large MobileNetV3 with torchvision's keys; options are MobileNetV3's."""
    return with_weights(MobileNetV3(LARGE, 1280, num_classes, **options), weights)


def mobilenet_v3_small(weights=None, num_classes=1000, **options):
    """The small MobileNetV3 with torchvision's keys; options are MobileNetV3's.

    >>> import pyengine as pe
    >>> net = mobilenet_v3_small(num_classes=10).eval()
    >>> with pe.no_grad():
    ...     net(pe.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    return with_weights(MobileNetV3(SMALL, 1024, num_classes, **options), weights)
