"""Sound in WAV files, by the standard library."""

import os
import wave


def read_wav(filename):
    """(sound, rate): sound (channels, n) float32 from -1 to 1 of whole numbers of 8, 16, 24 or 32 bits, as
    torchaudio.load; rate, how many numbers a second.

    Errors: FileNotFoundError; ValueError that names the file, for other codings too.

    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "two.wav")
    ...     with wave.open(path, "wb") as file:
    ...         file.setparams((1, 2, 8000, 0, "NONE", None))
    ...         file.writeframes(b"\\0\\x40\\0\\x80")
    ...     read_wav(path)
    (array([[ 0.5, -1. ]], dtype=float32), 8000)
    """
    import numpy

    try:
        with wave.open(os.fspath(filename), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            content = file.readframes(file.getnframes())
    except (wave.Error, EOFError, RuntimeError) as error:
        raise ValueError(f"{os.fspath(filename)}: no WAV file of whole numbers: {error}") from None
    if width not in (1, 2, 3, 4) or len(content) % (width * channels) or rate < 1:
        raise ValueError(f"{os.fspath(filename)}: {len(content)} bytes of {channels} channels, {width} bytes a number")
    if width == 1:  # without a sign, 128 is silence
        numbers = numpy.frombuffer(content, "u1").astype("float32") - 128
    else:  # widened to 32 bits from the left
        wide = numpy.zeros((len(content) // width, 4), "u1")
        wide[:, 4 - width :] = numpy.frombuffer(content, "u1").reshape(-1, width)
        numbers = wide.view("<i4")[:, 0].astype("float32")
    sound = numbers / numpy.float32(2.0**7 if width == 1 else 2.0**31)
    return numpy.ascontiguousarray(sound.reshape(-1, channels).T), rate
