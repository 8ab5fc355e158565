"""New images out of old ones."""

import pyengine as pe


def distort(images, shift=0.4, scale=0.1, generator=None):
    """Each image moved, stretched and squeezed a little, by amounts of its own: R X C^T.

    Along an axis of n pixels, row i of R reads the image at position c + (1 + s)(i - c) + t, where c is the
    centre, s ~ N(0, scale^2) and t ~ N(0, shift^2) pixels; between two pixels it takes the straight line. C
    does the same to the columns.

    Shape: (N, H, W) -> (N, H, W), float32.

    >>> image = pe.eye(8).reshape(1, 8, 8)
    >>> distort(image, shift=0.0, scale=0.0).tolist() == image.tolist()
    True
    """
    if images.ndim != 3:
        raise ValueError(f"distort: images (N, H, W) are needed, got shape {images.shape}")
    count, height, width = images.shape
    rows = _resampling(count, height, shift, scale, generator)
    columns = _resampling(count, width, shift, scale, generator)
    return rows @ images @ columns.transpose(1, 2)


def _resampling(count, size, shift, scale, generator):
    """(count, size, size): entry i, j is the weight max(0, 1 - |position_i - j|) of pixel j."""
    centre = (size - 1) / 2
    pixels = pe.arange(size).float()
    factor = pe.randn(count, 1, 1, generator=generator) * scale + 1.0
    offset = pe.randn(count, 1, 1, generator=generator) * shift + centre
    positions = factor * (pixels - centre).reshape(size, 1) + offset
    return pe.ops.relu(1.0 - (positions - pixels).abs())
