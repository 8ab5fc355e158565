"""A class for every pixel."""

import pyengine as pe
from pyengine import nn
from pyengine.nn import functional as F

from .blocks import conv_norm, with_weights


class UNet(nn.Module):
    """Down to small maps and up again, with the large maps handed across. (Ronneberger, Fischer & Brox 2015, "U-Net:
    convolutional networks for biomedical image segmentation"; here with batch norm and padding, so that sizes stay)

    Arguments: num_classes; in_channels; width, channels of the first level, twice as many at each further one; depth,
    how often the size is halved.
    Shape: (N, in_channels, H, W) -> (N, num_classes, H, W), H and W at least 2^depth.
    """

    def __init__(self, num_classes=2, in_channels=3, width=64, depth=4):
        super().__init__()
        sizes = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            [_twice(before, size) for before, size in zip([in_channels, *sizes], sizes, strict=False)]
        )
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * size, size, 2, 2) for size in sizes[-2::-1]])
        self.join = nn.ModuleList([_twice(2 * size, size) for size in sizes[-2::-1]])
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, x):
        if min(x.shape[2:]) < 1 << len(self.up):
            raise ValueError(f"UNet: images must have {1 << len(self.up)} pixels or more a side, got shape {x.shape}")
        maps = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            maps.append(x)
        maps.pop()
        for up, join in zip(self.up, self.join, strict=True):
            across = maps.pop()
            x = up(x)
            high, wide = (a - b for a, b in zip(across.shape[2:], x.shape[2:], strict=True))
            x = join(pe.cat([across, F.pad(x, (0, wide, 0, high)) if high or wide else x], 1))
        return self.head(x)


def _twice(inputs, outputs):
    return nn.Sequential(conv_norm(inputs, outputs, 3), conv_norm(outputs, outputs, 3))


def unet(weights=None, num_classes=2, **options):
    """UNet, 31 million parameters; options are UNet's.

    >>> net = unet(num_classes=3, width=4, depth=2).eval()
    >>> with pe.no_grad():
    ...     net(pe.zeros(1, 3, 10, 13)).shape
    (1, 3, 10, 13)
    """
    return with_weights(UNet(num_classes, **options), weights)
