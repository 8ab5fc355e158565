"""Sound as pictures: Fourier transforms of windows, mel bands, decibels, masks; beside SciPy, by law and by hand."""

import numpy as np
import pytest
from scipy import signal

import pyengine as pe
from pyengine.data import transforms as T

SOUND = np.random.default_rng(0).normal(size=(2, 3000)).astype("float32")


def seeded(number):
    return pe.Generator(number)


# ---- Fourier transforms of windows -----------------------------------------------


def test_stft_is_scipys():
    window = T.hann_window(64)
    found = T.stft(SOUND, 64, 16, window=window, center=False)
    _, _, theirs = signal.stft(
        SOUND.astype("float64"), 1.0, window.astype("float64"), 64, 48, boundary=None, padded=False
    )
    assert found.shape == theirs.shape == (2, 33, 184)
    assert np.abs(found - theirs * window.sum()).max() < 2e-5  # SciPy divides by the window's sum


def test_energy_is_kept():
    """Parseval: windows of ones side by side hold each sample once, and frequencies between the ends come twice."""
    found = np.abs(T.stft(SOUND[:, :2048], 128, 128, center=False).astype("complex128")) ** 2
    twice = np.r_[1, np.full(63, 2), 1][:, None]
    energy = (SOUND[:, :2048].astype("float64") ** 2).sum(1)
    assert np.allclose((found * twice).sum((1, 2)) / 128, energy, rtol=1e-6)


def test_a_tone_is_a_line():
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000).astype("float32")
    found = T.Spectrogram(n_fft=256, power=1.0)(tone)
    assert found.shape == (129, 63) and set(found[:, 2:-2].argmax(0)) == {32}  # 1000 Hz of 31.25 Hz a line
    assert np.allclose(found[32, 2:-2], T.hann_window(256).sum() / 2, rtol=1e-4)
    by_hand = [4, -2j, 0]  # 1 + 2 + 1, 1 - 2i - 1, 1 - 2 + 1
    assert np.allclose(T.stft(np.float32([1, 2, 1, 0]), 4, center=False)[:, 0], by_hand, atol=1e-6)


def test_where_windows_stand():
    x = np.zeros((1, 100), "float32")
    x[0, 40] = 1.0
    found = T.Spectrogram(n_fft=16, hop_length=8)(x)
    assert found.shape == (1, 9, 13) and np.allclose(found[0, :, 5], 1)  # the middle of frame 5 is sample 40
    assert not found[0, :, [0, 1, 2, 3, 7, 8, 9]].any()
    padded = T.Spectrogram(n_fft=16, win_length=8, hop_length=8, pad=8)(x)
    assert padded.shape == (1, 9, 15) and np.allclose(padded[0, :, 6], 1)
    whole = T.Spectrogram(n_fft=16, power=None)(x)
    assert whole.dtype == np.complex64 and np.allclose(np.abs(whole) ** 2, T.Spectrogram(n_fft=16)(x), atol=1e-6)
    share = T.Spectrogram(n_fft=16, normalized=True)(x) * (T.hann_window(16) ** 2).sum()
    assert np.allclose(share, T.Spectrogram(n_fft=16)(x), rtol=1e-5, atol=1e-7)


# ---- mel bands, decibels ---------------------------------------------------------


def librosa_mel(hertz):
    hertz = np.asarray(hertz, "float64")
    return np.where(hertz < 1000, hertz / (200 / 3), 15 + np.log(np.maximum(hertz, 1e-9) / 1000) / (np.log(6.4) / 27))


@pytest.mark.parametrize("scale, to_mel", [("slaney", librosa_mel), ("htk", lambda f: 2595 * np.log10(1 + f / 700))])
def test_bands_are_triangles_between_mels(scale, to_mel):
    banks = T.melscale_fbanks(2001, 0.0, 8000.0, 10, 16000, mel_scale=scale)
    frequencies = np.linspace(0, 8000, 2001)
    mels = np.linspace(to_mel(0.0), to_mel(8000.0), 12)
    grid = np.linspace(0, 8000, 800_001)
    corners = np.interp(mels, to_mel(grid), grid)
    expected = [np.interp(frequencies, corners[i : i + 3], [0, 1, 0]) for i in range(10)]
    assert np.abs(banks - np.transpose(expected)).max() < 1e-4
    assert np.allclose(banks.sum(1)[(frequencies > corners[1]) & (frequencies < corners[10])], 1, atol=1e-5)
    areas = T.melscale_fbanks(2001, 0.0, 8000.0, 10, 16000, "slaney", scale).sum(0) * 4
    assert np.allclose(areas, 1, atol=0.01)


# bands 0, 9 and 19 of SOUND[0] in frames 0, 7 and 14, by torchaudio 2.11.1's MelSpectrogram
TORCHAUDIO = {
    "htk": [[436.827, 297.56, 292.209], [252.954, 1693.07, 832.944], [2363.48, 3387.75, 4189.5]],
    "slaney": [[5.24269, 1.11483, 2.11039], [1.21764, 6.42654, 3.47248], [2.80131, 4.12499, 3.70507]],
}


@pytest.mark.parametrize("scale", TORCHAUDIO)
def test_mel_spectrograms_are_torchaudios(scale):
    x = SOUND[0]
    options = {"norm": "slaney", "mel_scale": "slaney", "f_min": 50.0, "f_max": 7000.0} if scale == "slaney" else {}
    found = T.MelSpectrogram(n_mels=20, **options)(x)
    assert found.shape == (20, 16) and found.dtype == np.float32
    assert np.allclose(found[[0, 9, 19]][:, [0, 7, 14]], TORCHAUDIO[scale], rtol=2e-4, atol=1e-6)
    batch = T.MelSpectrogram(n_mels=20, **options)(np.stack([x, 0 * x])[:, None])
    assert np.array_equal(batch[0, 0], found) and not batch[1].any()


def test_bands_are_summed_by_our_product():
    x = np.abs(SOUND[:, :201].reshape(2, 201, 1)) * np.ones((1, 1, 9), "float32")
    mel = T.MelScale(n_mels=30)
    assert np.allclose(mel(x), np.einsum("fm,nft->nmt", mel.banks, x), rtol=1e-5)
    assert isinstance(mel(pe.from_numpy(x)), pe.Tensor)


def test_decibels():
    x = np.float32([[[1.0, 1e-3], [1e-12, 0.0]], [[100.0, 10.0], [1.0, 0.1]]])
    assert np.allclose(T.AmplitudeToDB()(x), [[[0, -30], [-100, -100]], [[20, 10], [0, -10]]], atol=1e-4)
    assert np.allclose(T.AmplitudeToDB("magnitude")(x)[1], [[40, 20], [0, -20]], atol=1e-4)
    assert np.allclose(T.AmplitudeToDB(top_db=25)(x), [[[0, -25], [-25, -25]], [[20, 10], [0, -5]]], atol=1e-4)


# ---- masks -----------------------------------------------------------------------


def stretches(masked):
    """(begin, length) of the zeros in each row, which must stand together."""
    found = []
    for row in masked:
        at = np.nonzero(row == 0)[0]
        assert len(at) == 0 or len(at) == at[-1] - at[0] + 1
        found.append((int(at[0]) if len(at) else -1, len(at)))
    return np.array(found)


def test_masks_stand_anywhere_and_are_shorter_than_their_limit():
    x = np.ones((4000, 1, 12, 40), "float32")
    masked = T.TimeMasking(10)(x, generator=seeded(0))
    assert (masked == masked[:, :, :1]).all()  # all frequencies alike
    begin, length = stretches(masked[:, 0, 0]).T
    counts = np.bincount(length, minlength=10)
    assert len(counts) == 10 and counts.min() > 300 and begin.max() > 35 and (begin == 0).any()
    masked = T.FrequencyMasking(4)(x, generator=seeded(1))
    assert (masked == masked[..., :1]).all() and set(stretches(masked[:, 0, :, 0])[:, 1]) == {0, 1, 2, 3}
    assert stretches(T.TimeMasking(30, p=0.25)(x, generator=seeded(2))[:, 0, 0])[:, 1].max() == 9  # below 10 of 40
    assert stretches(T.TimeMasking(100)(x, generator=seeded(2))[:, 0, 0])[:, 1].max() == 39
    assert np.array_equal(T.TimeMasking(0)(x), x)
    assert (T.FrequencyMasking(12, mask_value=5.0)(x) == 5).any()


def test_spectrograms_augmented():
    x = np.random.default_rng(0).random((50, 20, 60)).astype("float32") + 1
    found = T.SpecAugment(2, 10, 2, 6)(x, generator=seeded(0))
    assert np.array_equal(found, T.SpecAugment(2, 10, 2, 6)(x, generator=seeded(0)))
    for given, made in zip(x, found, strict=True):
        new = made[made != given]
        assert np.allclose(new, given.mean(), atol=1e-5)
        assert (made == given).mean() > 0.3
    assert (T.SpecAugment(2, 10, 2, 6, zero_masking=True)(x) == 0).any()
    assert np.array_equal(T.SpecAugment(0, 10, 0, 6)(x), x)


# ---- refusals --------------------------------------------------------------------


@pytest.mark.parametrize("call, error, text", [
    (lambda: T.Spectrogram()(SOUND[:, :200]), ValueError, r"more than n_fft // 2 = 200 samples.*\(2, 200\)"),
    (lambda: T.Spectrogram(center=False)(SOUND[:, :399]), ValueError, "at least n_fft = 400 samples"),
    (lambda: T.Spectrogram(win_length=500)(SOUND), ValueError, "win_length 500"),
    (lambda: T.Spectrogram(hop_length=0)(SOUND), ValueError, "hop_length 0"),
    (lambda: T.Spectrogram()(SOUND.astype("float64")), TypeError, r"stft: float32.*got float64 of shape \(2, 3000\)"),
    (lambda: T.Spectrogram()(np.float32(3)), TypeError, r"got float32 of shape \(\)"),
    (lambda: T.Spectrogram(power=0), ValueError, "power must be positive"),
    (lambda: T.MelSpectrogram(power=None), ValueError, "power must be a number"),
    (lambda: T.stft(SOUND, 8, window=np.ones(7)), ValueError, r"window of shape \(7,\)"),
    (lambda: T.MelScale()(np.ones((2, 200, 4), "float32")), ValueError, r"\(..., 201, frames\).*\(2, 200, 4\)"),
    (lambda: T.MelScale(f_min=9000.0), ValueError, "no 128 bands from 9000.0 to 8000.0 Hz"),
    (lambda: T.MelScale(n_mels=0), ValueError, "no 0 bands"),
    (lambda: T.MelScale(mel_scale="bark"), ValueError, "mel_scale 'bark'"),
    (lambda: T.AmplitudeToDB("energy"), ValueError, "no stype 'energy'"),
    (lambda: T.AmplitudeToDB()(SOUND.astype("float64")), ValueError, "AmplitudeToDB: a batch of float32"),
    (lambda: T.TimeMasking(-1), ValueError, "TimeMasking: whole numbers"),
    (lambda: T.TimeMasking(3, p=2.0), ValueError, "TimeMasking: p"),
    (lambda: T.FrequencyMasking(2)(SOUND), ValueError, r"FrequencyMasking: float32.*\(2, 3000\)"),
    (lambda: T.SpecAugment(1.5, 2, 1, 2), ValueError, "SpecAugment: whole numbers"),
])  # fmt: skip
def test_sound_that_cannot_be(call, error, text):
    with pytest.raises(error, match=text):
        call()
