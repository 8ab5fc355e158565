"""Sound as pictures: short-time Fourier transforms and mel spectrograms, under torchaudio's names."""

import math

import numpy
from numpy.lib.stride_tricks import sliding_window_view

from pyengine import from_numpy

from .base import Transform


def hann_window(length):
    """The periodic window 0.5 - 0.5 cos(2 pi n / length) in float32, as torch.hann_window.

    >>> hann_window(4).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    return (0.5 - 0.5 * numpy.cos(2 * numpy.pi * numpy.arange(length) / length)).astype("float32")


def stft(x, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect"):
    """The Fourier transforms of the windows along the last axis, as torch.stft(onesided=True).

        S[k, m] = sum_n w[n] x[m hop_length + n] exp(-2 pi i k n / n_fft)

    Arguments: x, an array; hop_length, n_fft // 4 unless given; window, of win_length (n_fft unless given) numbers
    (ones unless given), which stands in the middle of n_fft; center, the window of frame m has its middle at
    m hop_length, and x is continued on both sides by pad_mode, one of numpy.pad's.
    Shape: (..., time) float32 -> (..., n_fft // 2 + 1, frames) complex64.
    Errors: ValueError for a signal shorter than a window.

    >>> numpy.abs(stft(numpy.ones(8, "float32"), 4, center=False))[:, 0].tolist()
    [4.0, 0.0, 0.0]
    """
    win_length = n_fft if win_length is None else win_length
    hop_length = n_fft // 4 if hop_length is None else hop_length
    window = numpy.ones(win_length, "float32") if window is None else numpy.asarray(window, "float32")
    if not 0 < win_length <= n_fft or hop_length < 1 or window.shape != (win_length,):
        raise ValueError(f"stft: hop_length {hop_length}, win_length {win_length} and a window of shape {window.shape} "
                         f"do not fit n_fft {n_fft}")  # fmt: skip
    x = signal_only(x, "stft")
    if center:
        if pad_mode == "reflect" and x.shape[-1] <= n_fft // 2:
            raise ValueError(f"stft: more than n_fft // 2 = {n_fft // 2} samples are needed, got shape {x.shape}")
        x = numpy.pad(x, [(0, 0)] * (x.ndim - 1) + [(n_fft // 2,) * 2], pad_mode)
    if x.shape[-1] < n_fft:
        raise ValueError(f"stft: at least n_fft = {n_fft} samples are needed, got shape {x.shape}")
    left = (n_fft - win_length) // 2
    window = numpy.pad(window, (left, n_fft - win_length - left))
    frames = sliding_window_view(x, n_fft, -1)[..., ::hop_length, :] * window
    return numpy.fft.rfft(frames).astype("complex64").swapaxes(-1, -2)


class Spectrogram(Transform):
    """|stft|^power of each signal, with a Hann window; power=None gives the complex numbers.

    Arguments: torchaudio's: n_fft; win_length, n_fft unless given; hop_length, win_length // 2 unless given; pad,
    zeros on both sides; power; normalized divides by sqrt(sum w^2); center and pad_mode, as `stft`'s.
    Shape: (..., time) float32 -> (..., n_fft // 2 + 1, frames) float32.

    >>> Spectrogram(n_fft=8)(numpy.zeros((2, 16), "float32")).shape
    (2, 5, 5)
    """

    def __init__(
        self, n_fft=400, win_length=None, hop_length=None, pad=0, *, power=2.0, normalized=False, center=True,
        pad_mode="reflect",
    ):  # fmt: skip
        self.n_fft, self.win_length = n_fft, n_fft if win_length is None else win_length
        self.hop_length = self.win_length // 2 if hop_length is None else hop_length
        self.pad, self.power, self.normalized, self.center, self.pad_mode = pad, power, normalized, center, pad_mode
        if power is not None and not power > 0:
            raise ValueError(f"Spectrogram: power must be positive or None, got {power}")

    def apply(self, x, generator):
        window = hann_window(self.win_length)
        x = numpy.pad(x, [(0, 0)] * (x.ndim - 1) + [(self.pad,) * 2]) if self.pad and x.ndim else x
        found = stft(x, self.n_fft, self.hop_length, self.win_length, window, self.center, self.pad_mode)
        if self.normalized:
            found = found / numpy.sqrt(numpy.sum(window**2))
        if self.power == 2:
            return found.real**2 + found.imag**2
        return found if self.power is None else numpy.abs(found) ** numpy.float32(self.power)


def melscale_fbanks(n_freqs, f_min, f_max, n_mels, sample_rate, norm=None, mel_scale="htk"):
    """The triangles of n_mels bands that are equally wide in mel, over n_freqs frequencies from 0 to sample_rate / 2.

    htk: mel = 2595 log10(1 + f / 700); slaney: 3 f / 200 below 1000 Hz, 15 + 27 ln(f / 1000) / ln 6.4 above.
    Arguments: norm, "slaney" divides each triangle by half its width in Hz.
    Shape: -> (n_freqs, n_mels) float32, as torchaudio.functional.melscale_fbanks.

    >>> melscale_fbanks(201, 0.0, 8000.0, 80, 16000).shape
    (201, 80)
    """
    if mel_scale not in ("htk", "slaney") or norm not in (None, "slaney"):
        raise ValueError(f"melscale_fbanks: no norm {norm!r} with mel_scale {mel_scale!r}")
    if n_mels < 1 or not 0 <= f_min < f_max:
        raise ValueError(f"melscale_fbanks: no {n_mels} bands from {f_min} to {f_max} Hz")
    to_mel, to_hertz = (_htk, _htk_hertz) if mel_scale == "htk" else (_slaney, _slaney_hertz)
    corners = to_hertz(numpy.linspace(to_mel(f_min), to_mel(f_max), n_mels + 2))
    away = corners - numpy.linspace(0, sample_rate // 2, n_freqs)[:, None]
    widths = numpy.diff(corners)
    banks = numpy.minimum(-away[:, :-2] / widths[:-1], away[:, 2:] / widths[1:]).clip(0.0)
    if norm == "slaney":
        banks *= 2.0 / (corners[2:] - corners[:-2])
    return banks.astype("float32")


def _htk(hertz):
    return 2595.0 * math.log10(1.0 + hertz / 700.0)


def _htk_hertz(mel):
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


_STEP = math.log(6.4) / 27.0  # of slaney's scale above 1000 Hz, which is mel 15


def _slaney(hertz):
    return 15.0 + math.log(hertz / 1000.0) / _STEP if hertz >= 1000.0 else hertz * 3.0 / 200.0


def _slaney_hertz(mel):
    return numpy.where(mel >= 15.0, 1000.0 * numpy.exp(_STEP * (mel - 15.0)), mel * 200.0 / 3.0)


class MelScale(Transform):
    """Spectrograms with their frequencies summed in mel bands, by `melscale_fbanks`.

    Arguments: torchaudio's: n_mels; sample_rate; f_min; f_max, half the rate unless given; n_stft, how many
    frequencies come in; norm; mel_scale.
    Shape: (..., n_stft, frames) float32 -> (..., n_mels, frames) float32.

    >>> MelScale(n_mels=4, n_stft=33)(numpy.ones((2, 33, 7), "float32")).shape
    (2, 4, 7)
    """

    def __init__(
        self, n_mels=128, sample_rate=16000, f_min=0.0, f_max=None, n_stft=201, norm=None, mel_scale="htk"
    ):  # fmt: skip
        f_max = float(sample_rate // 2) if f_max is None else f_max
        self.banks = melscale_fbanks(n_stft, f_min, f_max, n_mels, sample_rate, norm, mel_scale)

    def apply(self, x, generator):
        if x.ndim < 2 or x.shape[-2] != len(self.banks) or x.dtype != "float32":
            raise ValueError(f"MelScale: float32 of shape (..., {len(self.banks)}, frames) is needed, got {x.dtype} of "
                             f"shape {x.shape}")  # fmt: skip
        bands = from_numpy(numpy.ascontiguousarray(self.banks.T))
        parts = numpy.ascontiguousarray(x).reshape(-1, *x.shape[-2:])
        return (bands @ from_numpy(parts)).numpy().reshape(*x.shape[:-2], -1, x.shape[-1])


class MelSpectrogram(Transform):
    """`MelScale` of the `Spectrogram`, whose arguments and torchaudio's defaults it has; `AmplitudeToDB` after it
    makes log-mel.

    Shape: (..., time) float32 -> (..., n_mels, frames) float32.

    >>> MelSpectrogram(n_mels=40)(numpy.zeros((2, 16000), "float32")).shape
    (2, 40, 81)
    """

    def __init__(
        self, sample_rate=16000, n_fft=400, win_length=None, hop_length=None, f_min=0.0, f_max=None, pad=0, n_mels=128,
        *, power=2.0, normalized=False, center=True, pad_mode="reflect", norm=None, mel_scale="htk",
    ):  # fmt: skip
        if power is None:
            raise ValueError("MelSpectrogram: power must be a number")
        self.spectrogram = Spectrogram(
            n_fft, win_length, hop_length, pad, power=power, normalized=normalized, center=center, pad_mode=pad_mode
        )
        self.mel_scale = MelScale(n_mels, sample_rate, f_min, f_max, n_fft // 2 + 1, norm, mel_scale)

    def apply(self, x, generator):
        return self.mel_scale.apply(self.spectrogram.apply(x, generator), generator)


class AmplitudeToDB(Transform):
    """Decibels: 10 log10(max(x, 1e-10)) of powers, twice that of magnitudes.

    Arguments: stype, "power" or "magnitude"; top_db, how far below its maximum each sample of the batch may go.
    Shape: (N, ...) float32 -> (N, ...) float32.

    >>> AmplitudeToDB(top_db=80.0)(numpy.float32([[1.0, 100.0, 0.0]])).round(3).tolist()
    [[0.0, 20.0, -60.0]]
    """

    def __init__(self, stype="power", top_db=None):
        if stype not in ("power", "magnitude") or (top_db is not None and top_db < 0):
            raise ValueError(f"AmplitudeToDB: no stype {stype!r} ('power', 'magnitude') with top_db {top_db}")
        self.factor, self.top_db = numpy.float32(10 if stype == "power" else 20), top_db

    def apply(self, x, generator):
        if x.ndim == 0 or x.dtype != "float32":
            raise ValueError(f"AmplitudeToDB: a batch of float32 is needed, got {x.dtype} of shape {x.shape}")
        decibels = self.factor * numpy.log10(numpy.maximum(x, numpy.float32(1e-10)))
        if self.top_db is None or not x.size:
            return decibels
        most = decibels.max(axis=tuple(range(1, x.ndim)), keepdims=True)
        return numpy.maximum(decibels, most - numpy.float32(self.top_db))


def signal_only(x, what):
    """x as an array, or an error where it is no float32 with a time axis."""
    x = numpy.asarray(x)
    if x.ndim == 0 or x.dtype != "float32":
        raise TypeError(f"{what}: float32 of shape (..., time) is needed, got {x.dtype} of shape {x.shape}")
    return x
