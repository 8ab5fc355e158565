"""MobileNetV2."""

from pyengine import nn
from pyengine.nn.conv_norm import add_to

from .blocks import conv_norm, divisible, draw_weights, with_weights

# expansion, channels, blocks, stride of the first
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
LAST = 1280


class InvertedResidual(nn.Module):
    """1x1 to `expand` times the channels, 3x3 in each, 1x1 back without activation; plus x where the shape stays."""

    def __init__(self, inputs, outputs, stride, expand):
        super().__init__()
        hidden = inputs * expand
        wider = [] if expand == 1 else [conv_norm(inputs, hidden, 1, activation=nn.ReLU6)]
        each = conv_norm(hidden, hidden, 3, stride, hidden, nn.ReLU6)
        self.conv = nn.Sequential(*wider, each, *conv_norm(hidden, outputs, 1, activation=None))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        return add_to(x, self.conv) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    """Inverted residuals with linear bottlenecks. (Sandler et al. 2018, "MobileNetV2: inverted residuals and linear
    bottlenecks")

    Arguments: num_classes; width_mult, which multiplies all channels; dropout before the classifier.
    Shape: (N, 3, H, W) -> (N, num_classes).
    """

    def __init__(self, num_classes=1000, width_mult=1.0, dropout=0.2):
        super().__init__()
        channels = divisible(32 * width_mult)
        last = divisible(LAST * max(1.0, width_mult))
        layers = [conv_norm(3, channels, 3, 2, activation=nn.ReLU6)]
        for expand, size, count, stride in STAGES:
            outputs = divisible(size * width_mult)
            for block in range(count):
                layers.append(InvertedResidual(channels, outputs, stride if block == 0 else 1, expand))
                channels = outputs
        self.features = nn.Sequential(*layers, conv_norm(channels, last, 1, activation=nn.ReLU6))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        draw_weights(self, 0.01)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def mobilenet_v2(weights=None, num_classes=1000, **options):
    """MobileNetV2 with torchvision's keys; options are MobileNetV2's.

    >>> import pyengine as pe
    >>> net = mobilenet_v2(num_classes=10, width_mult=0.25).eval()
    >>> with pe.no_grad():
    ...     net(pe.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    return with_weights(MobileNetV2(num_classes, **options), weights)
