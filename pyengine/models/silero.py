"""Where in a sound somebody speaks."""

import pyengine as pe
from pyengine import nn
from pyengine.nn import functional as F

from .blocks import with_weights

RATE, STEP, CONTEXT = 16_000, 512, 64
BINS, TAPS, HOP = 129, 256, 128
WIDTH = 128


class SileroVAD(nn.Module):
    """Magnitudes of a short-time Fourier transform, four convolutions and an LSTM, step by step. (Silero team 2024,
    "Silero VAD: pre-trained enterprise-grade voice activity detector")

    The state_dict's keys are those of silero_vad_16k.safetensors in the package silero-vad.
    Shape: x (N, 64 + 512), the last samples of the step before and 512 new ones of 16,000 a second, and the state of
    that step, a pair of (N, 128) or None -> how likely somebody speaks (N), and the state.
    """

    def __init__(self):
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 2 * BINS, TAPS, HOP, bias=False)
        self.conv1 = nn.Conv1d(BINS, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, 2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, 2, padding=1)
        self.conv4 = nn.Conv1d(64, WIDTH, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(WIDTH, WIDTH)
        self.final_conv = nn.Conv1d(WIDTH, 1, 1)

    def features(self, x):
        """What the convolutions make of each step: (N, 576) -> (N, 128)."""
        if x.ndim != 2 or x.shape[1] != CONTEXT + STEP:
            raise ValueError(f"SileroVAD: steps (N, {CONTEXT + STEP}) are needed, got shape {x.shape}")
        x = self.stft_conv(F.pad(x[:, None], (0, CONTEXT), "reflect"))
        x = (x[:, :BINS].square() + x[:, BINS:].square()).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = F.relu(layer(x))
        return x[:, :, 0]

    def step(self, features, state=None):
        """(how likely (N), state) from the features of one step and the state before."""
        h, c = self.lstm_cell(features, state)
        return self.final_conv(F.relu(h)[:, :, None]).sigmoid().reshape(-1), (h, c)

    def forward(self, x, state=None):
        return self.step(self.features(x), state)


def silero_vad(weights=None):
    """SileroVAD for 16,000 samples a second.

    >>> net = silero_vad().eval()
    >>> with pe.no_grad():
    ...     speech_probabilities(net, pe.zeros(2000)).shape
    (4,)
    """
    return with_weights(SileroVAD(), weights)


def speech_probabilities(net, sound):
    """How likely somebody speaks in each 512 samples of sound (samples), 16,000 a second; the end is filled with zeros.

    The convolutions of all steps are one call; the LSTM walks over them.
    """
    sound = pe.as_tensor(sound)
    if sound.ndim != 1 or sound.shape[0] == 0:
        raise ValueError(f"speech_probabilities: sound (samples) is needed, got shape {sound.shape}")
    with pe.no_grad():
        padded = F.pad(sound.float(), (CONTEXT, -sound.shape[0] % STEP))
        features, state, likely = net.features(padded.unfold(0, CONTEXT + STEP, STEP)), None, []
        for number in range(features.shape[0]):
            one, state = net.step(features[number : number + 1], state)
            likely.append(one)
        return pe.cat(likely)
