"""Photographs as networks learned to see them."""


def load_photo(source, size=224, crop=0.875, mean=127.0, scale=128.0):
    """A photograph as the tensor (1, 3, size, size): its centre square, `crop` of the shorter side, resized by cubic
    interpolation, each pixel (x - mean) / scale. The defaults are EfficientNet-Lite's.

    Arguments: source, a path, or an image of Pillow's, which reads it (pip install pillow); mean and scale, numbers or
    one a colour.
    Errors: ImportError that says what to install; FileNotFoundError; ValueError for what is no picture.
    """
    import numpy

    from pyengine import from_numpy

    try:
        from PIL import Image
    except ImportError:
        raise ImportError('load_photo: photographs are read by Pillow: pip install "pyengine[photo]"') from None
    try:
        image = source if isinstance(source, Image.Image) else Image.open(source)
        image = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if getattr(error, "errno", None):  # the file, not what is in it
            raise
        raise ValueError(f"load_photo: {source}: {error}") from None
    side = int(crop * min(image.size))
    left, top = ((length - side) // 2 for length in image.size)
    square = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
    pixels = (numpy.asarray(square, "float32") - numpy.float32(mean)) / numpy.float32(scale)
    return from_numpy(numpy.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
