"""A small network for small pictures."""

from pyengine import nn

from .blocks import draw_weights, with_weights

WIDTHS = (32, 64, 128)


class SmallCNN(nn.Module):
    """3x3 convolution, a maximum of 2x2, batch norm and ReLU, once for each width; then a linear layer.

    The maximum comes early, so that what follows works on a quarter of the numbers: a maximum of ReLUs is the ReLU of
    the maximum.
    Shape: (N, in_channels, 28, 28) -> (N, num_classes).
    """

    def __init__(self, num_classes=10, in_channels=1, widths=WIDTHS, size=28):
        super().__init__()
        layers = []
        for before, width in zip((in_channels, *widths), widths, strict=False):
            convolution = nn.Conv2d(before, width, 3, padding=1, bias=False)
            layers.append(nn.Sequential(convolution, nn.MaxPool2d(2), nn.BatchNorm2d(width), nn.ReLU()))
            size //= 2
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1] * size * size, num_classes)
        draw_weights(self)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def small_cnn(weights=None, num_classes=10, **options):
    """SmallCNN with 104,426 parameters; options are SmallCNN's.

    >>> import pyengine as pe
    >>> small_cnn().eval()(pe.zeros(2, 1, 28, 28)).shape
    (2, 10)
    """
    return with_weights(SmallCNN(num_classes, **options), weights)
