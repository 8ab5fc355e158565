"""EfficientNet-Lite."""

from pyengine import nn
from pyengine.nn import functional as F
from pyengine.nn.conv_norm import conv_norm_act

from .blocks import draw_weights, drop_path, with_weights

NORM = {"eps": 0.001, "momentum": 0.01}
STEM, LAST = 32, 1280
DROP_PATH = 0.2  # of the last block; the others less, in proportion to their depth

# blocks, kernel, stride of the first, expansion, channels
STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": ceil(size / stride) outputs, of an odd padding more at the end."""

    def convolved(self, input, weight, bias, finish=None):
        pads = []
        for size, kernel, stride in zip(input.shape[2:], self.kernel_size, self.stride, strict=True):
            pads.append(max((-(-size // stride) - 1) * stride + kernel - size, 0))
        if all(pad % 2 == 0 for pad in pads):
            return self._at(input, weight, bias, tuple(pad // 2 for pad in pads), finish)
        high, wide = pads
        padded = F.pad(input, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return self._at(padded, weight, bias, 0, finish)


class MBConvBlock(nn.Module):
    """1x1 to `expand` times the channels, one kernel in each, 1x1 back; plus x where the shape stays."""

    def __init__(self, inputs, outputs, kernel, stride, expand, drop):
        super().__init__()
        hidden = inputs * expand
        if expand != 1:
            self._expand_conv = SameConv2d(inputs, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, **NORM)
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = nn.BatchNorm2d(hidden, **NORM)
        self._project_conv = SameConv2d(hidden, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, **NORM)
        self.expands, self.adds, self.drop = expand != 1, stride == 1 and inputs == outputs, drop

    def forward(self, x):
        y = conv_norm_act(x, self._expand_conv, self._bn0, F.relu6) if self.expands else x
        y = conv_norm_act(y, self._depthwise_conv, self._bn1, F.relu6)
        if self.training and self.adds:
            return drop_path(self._bn2(self._project_conv(y)), self.drop, True) + x
        return conv_norm_act(y, self._project_conv, self._bn2, None, x if self.adds else None)


class EfficientNetLite(nn.Module):
    """EfficientNet without squeeze and excitation, and with ReLU6, for integer arithmetic. (Tan & Le 2019,
    "EfficientNet: rethinking model scaling for convolutional neural networks"; Lite: TensorFlow authors 2020)

    The state_dict's keys are those of the package efficientnet-lite-pytorch.
    Shape: (N, 3, H, W) -> (N, num_classes); pixels as data.load_photo makes them.
    """

    def __init__(self, num_classes=1000, dropout=0.2):
        super().__init__()
        self._conv_stem = SameConv2d(3, STEM, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(STEM, **NORM)
        blocks, channels, total = [], STEM, sum(stage[0] for stage in STAGES)
        for count, kernel, stride, expand, outputs in STAGES:
            for number in range(count):
                drop = DROP_PATH * len(blocks) / total
                blocks.append(MBConvBlock(channels, outputs, kernel, stride if number == 0 else 1, expand, drop))
                channels = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv2d(channels, LAST, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(LAST, **NORM)
        self._dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(LAST, num_classes)
        draw_weights(self)

    def forward(self, x):
        x = conv_norm_act(x, self._conv_stem, self._bn0, F.relu6)
        for block in self._blocks:
            x = block(x)
        x = conv_norm_act(x, self._conv_head, self._bn1, F.relu6)
        return self._fc(self._dropout(x.mean((2, 3))))


def efficientnet_lite0(weights=None, num_classes=1000, **options):
    """EfficientNet-Lite0, 4.65 million parameters; options are EfficientNetLite's.

    >>> import pyengine as pe
    >>> net = efficientnet_lite0(num_classes=10).eval()
    >>> with pe.no_grad():
    ...     net(pe.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    return with_weights(EfficientNetLite(num_classes, **options), weights)
