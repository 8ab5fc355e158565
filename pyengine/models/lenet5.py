"""The first convolutional network in service."""

from pyengine import nn
from pyengine.nn import functional as F

from .blocks import with_weights


class LeNet(nn.Module):
    """LeNet-5 with ReLU and maxima. (LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document
    recognition")

    Shape: (N, in_channels, 28, 28) -> (N, num_classes).
    """

    def __init__(self, num_classes=10, in_channels=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


def lenet(weights=None, num_classes=10, **options):
    """LeNet with 61,706 parameters; options are LeNet's.

    >>> import pyengine as pe
    >>> lenet()(pe.zeros(2, 1, 28, 28)).shape
    (2, 10)
    """
    return with_weights(LeNet(num_classes, **options), weights)
