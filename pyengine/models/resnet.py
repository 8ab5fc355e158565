"""Residual networks."""

from pyengine import nn
from pyengine.nn.conv_norm import conv_norm_act

from .blocks import draw_weights, with_weights


def _conv3x3(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


def _conv1x1(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """relu(x' + bn(conv(relu(bn(conv(x)))))), 3x3 both; x' is x, through 1x1 and norm where the shape changes."""

    expansion = 1

    def __init__(self, inputs, width, stride, downsample):
        super().__init__()
        self.conv1 = _conv3x3(inputs, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = _conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, x):
        y = conv_norm_act(x, self.conv1, self.bn1, self.relu)
        kept = x if self.downsample is None else self.downsample(x)
        return conv_norm_act(y, self.conv2, self.bn2, self.relu, kept)


class Bottleneck(nn.Module):
    """1x1 to `width` channels, 3x3 (with the stride, as in torchvision), 1x1 to 4 width; around it as BasicBlock."""

    expansion = 4

    def __init__(self, inputs, width, stride, downsample):
        super().__init__()
        self.conv1 = _conv1x1(inputs, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv1x1(width, width * self.expansion)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU()
        self.downsample = downsample

    def forward(self, x):
        y = conv_norm_act(x, self.conv1, self.bn1, self.relu)
        y = conv_norm_act(y, self.conv2, self.bn2, self.relu)
        kept = x if self.downsample is None else self.downsample(x)
        return conv_norm_act(y, self.conv3, self.bn3, self.relu, kept)


class ResNet(nn.Module):
    """Four stages of residual blocks. (He, Zhang, Ren & Sun 2015, "Deep residual learning for image recognition")

    Arguments: block, BasicBlock or Bottleneck; layers, blocks in each stage; num_classes; stem, "7x7" (stride 2, then
    max pooling: for images of 224 pixels) or "3x3" (stride 1, no pooling: for 32); in_channels.
    Shape: (N, in_channels, H, W) -> (N, num_classes).
    """

    def __init__(self, block, layers, num_classes=1000, stem="7x7", in_channels=3):
        super().__init__()
        if stem not in ("7x7", "3x3"):
            raise ValueError(f"ResNet: stem must be '7x7' or '3x3', got {stem!r}")
        small = stem == "3x3"
        self.conv1 = _conv3x3(in_channels, 64) if small else nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        channels = 64
        for number, (width, count) in enumerate(zip((64, 128, 256, 512), layers, strict=True), 1):
            setattr(self, f"layer{number}", _stage(block, channels, width, count, 1 if number == 1 else 2))
            channels = width * block.expansion
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        draw_weights(self)

    def forward(self, x):
        x = self.maxpool(conv_norm_act(x, self.conv1, self.bn1, self.relu))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(block, inputs, width, count, stride):
    outputs = width * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(_conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
    first = block(inputs, width, stride, downsample)
    return nn.Sequential(first, *(block(outputs, width, 1, None) for _ in range(count - 1)))


def resnet18(weights=None, num_classes=1000, **options):
    """ResNet of 2, 2, 2, 2 basic blocks; options are ResNet's.

    >>> import pyengine as pe
    >>> net = resnet18(num_classes=10, stem="3x3").eval()
    >>> with pe.no_grad():
    ...     net(pe.zeros(1, 3, 16, 16)).shape
    (1, 10)
    """
    return with_weights(ResNet(BasicBlock, (2, 2, 2, 2), num_classes, **options), weights)


def resnet34(weights=None, num_classes=1000, **options):
    """ResNet of 3, 4, 6, 3 basic blocks; otherwise as resnet18."""
    return with_weights(ResNet(BasicBlock, (3, 4, 6, 3), num_classes, **options), weights)


def resnet50(weights=None, num_classes=1000, **options):
    """ResNet of 3, 4, 6, 3 bottlenecks; otherwise as resnet18."""
    return with_weights(ResNet(Bottleneck, (3, 4, 6, 3), num_classes, **options), weights)
