"""Batches changed on their way to a network: images, sound and tables, under torchvision's and torchaudio's names.

All work on whole batches of NumPy arrays or tensors, each sample by draws of its own, and draw from the generator that
they are given: `DataLoader(..., transform=...)` gives each batch one that follows from the loader's.
"""

from .audio import AmplitudeToDB, MelScale, MelSpectrogram, Spectrogram, hann_window, melscale_fbanks, stft
from .base import Compose, Transform
from .geometry import CenterCrop, RandomCrop, RandomHorizontalFlip, RandomRotation, RandomVerticalFlip
from .masking import FrequencyMasking, SpecAugment, TimeMasking
from .mixing import CutMix, MixUp
from .pixels import Cutout, Normalize, RandomErasing
from .tables import OneHot, Standardize

__all__ = [
    "AmplitudeToDB",
    "CenterCrop",
    "Compose",
    "CutMix",
    "Cutout",
    "FrequencyMasking",
    "MelScale",
    "MelSpectrogram",
    "MixUp",
    "Normalize",
    "OneHot",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomVerticalFlip",
    "SpecAugment",
    "Spectrogram",
    "Standardize",
    "TimeMasking",
    "Transform",
    "hann_window",
    "melscale_fbanks",
    "stft",
]
