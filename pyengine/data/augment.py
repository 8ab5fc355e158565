"""New images out of old ones."""

import pyengine as pe


def distort(images, shift=0.4, scale=0.1, rotation=0.1, shear=0.1, ink=0.3, generator=None):
    """Each image moved, stretched, turned, slanted and inked anew, by amounts of its own.

    The pixel at p reads the image at c + A (p - c) + t, where c is the centre; between pixels it takes straight
    lines, beyond the border 0. A turns by rotation z (radians), stretches both axes by 1 + scale z and slants
    columns by shear z; t is shift z pixels; last, every value v in 0 .. 1 becomes v^exp(ink z): a softer or a
    harder pen. Each z is drawn from N(0, 1).

    Shape: (N, H, W) -> (N, H, W), float32.

    >>> image = pe.eye(8).reshape(1, 8, 8)
    >>> distort(image, shift=0.0, scale=0.0, rotation=0.0, shear=0.0, ink=0.0).tolist() == image.tolist()
    True
    """
    if images.ndim != 3:
        raise ValueError(f"distort: images (N, H, W) are needed, got shape {images.shape}")
    count, height, width = images.shape

    def draw(size):
        return pe.randn(count, 1, generator=generator) * size

    y = pe.arange(height).float().reshape(height, 1).expand(height, width).reshape(1, -1) - (height - 1) / 2
    x = pe.arange(width).float().expand(height, width).reshape(1, -1) - (width - 1) / 2
    angle = draw(rotation)
    cos, sin = angle.cos(), angle.sin()
    from_y = (draw(scale) + 1.0) * (cos * y - sin * x) + draw(shift)
    from_x = (draw(scale) + 1.0) * (sin * y + cos * x) + draw(shear) * y + draw(shift)
    # (N, H W, H) and (N, H W, W): how much of each row and of each column a pixel takes
    rows, columns = _tents(from_y, height), _tents(from_x, width)
    moved = ((rows @ images) * columns).sum(2).reshape(count, height, width)
    return moved ** draw(ink).exp().reshape(count, 1, 1)


def _tents(positions, size):
    """The weight max(0, 1 - |position - j|) of line j, for positions counted from the centre of `size` lines."""
    lines = pe.arange(size).float() - (size - 1) / 2
    return pe.ops.relu(1.0 - (positions.reshape(*positions.shape, 1) - lines).abs())


def shift_flip(images, shift=1, value=0.0, generator=None):
    """Each image moved by up to `shift` pixels along both axes, and half of them mirrored left to right.

    Each move is as likely as any other; what comes in from outside is `value`.
    Shape: (N, C, H, W) -> (N, C, H, W).

    >>> shift_flip(pe.zeros(3, 1, 4, 4), value=1.0).shape
    (3, 1, 4, 4)
    """
    if images.ndim != 4 or shift < 0:
        raise ValueError(f"shift_flip: images (N, C, H, W) and shift >= 0 are needed, got {images.shape} and {shift}")
    from .transforms import RandomCrop, RandomHorizontalFlip

    moved = RandomCrop(images.shape[2:], padding=shift, fill=value)(images, generator=generator)
    return RandomHorizontalFlip()(moved, generator=generator)
