"""Speech: which of ten words was said? Synthesised by espeak-ng, by voices that were never heard before.

    apt install espeak-ng && python examples/speech.py

Twenty voices say each word at six speeds and heights; sixteen of them are learned from, four tell how well. Log-mel
spectrograms; while learning each is moved and stretched in time and in frequency, as voices differ (vocal tract length
perturbation, Jaitly and Hinton 2013), and stretches of both are masked (SpecAugment, Park et al. 2019). Convolutions,
beside scikit-learn's logistic regression of the same spectrograms. What was to be chosen was chosen by the sixteen
voices, with the accents held out in turn.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

import pyengine as pe
from pyengine import nn, optim
from pyengine.data import read_wav
from pyengine.data.transforms import AmplitudeToDB, Compose, MelSpectrogram, SpecAugment
from pyengine.train import Trainer, metrics

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
HEARD = ("en-us+m1", "en-gb+m3", "en-gb-scotland+m2", "en-029+m7", "en-gb-x-rp+f4", "en-us+f1", "en-gb+f2",
         "en-us-nyc+m5", "en-us+Mike", "en-gb+Alicia", "en-gb-scotland+Andy", "en-029+Gene", "en-gb-x-rp+linda",
         "en-us+steph", "en-gb+paul", "en-us-nyc+robert")  # fmt: skip
UNHEARD = ("en-gb+m6", "en-us+f3", "en-gb-x-gbclan+m4", "en-gb-x-gbcwmd+f5")
MANNERS = ((120, 40), (150, 60), (150, 35), (180, 50), (200, 65), (170, 30))  # words a minute, pitch
RATE, LENGTH = 22050, 22050
MASKS = SpecAugment(2, 12, 2, 6)


def say(word, voice, speed, pitch, folder):
    """A second of sound, as an array."""
    path = Path(folder, "word.wav")
    subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", path, word], check=True)
    sound = read_wav(path)[0][0][:LENGTH]
    return np.pad(sound, (0, LENGTH - len(sound)))


def spoken(voices, manners):
    """(log-mel spectrograms (N, 40, frames), the words' numbers)."""
    mel = Compose([MelSpectrogram(RATE, n_fft=512, hop_length=441, n_mels=40), AmplitudeToDB(top_db=60.0)])
    with tempfile.TemporaryDirectory() as folder:
        sounds = [say(word, voice, *manner, folder) for voice in voices for manner in manners for word in WORDS]
    pictures = np.stack([mel(sound) for sound in sounds])
    pictures -= pictures.mean((1, 2), keepdims=True)
    return (pictures / 20).astype("float32"), np.tile(np.arange(len(WORDS)), len(voices) * len(manners))


def stretched(count, size, by, moved):
    """Where to read `size` places of `count` pictures: the places before, those after, and the share of the latter."""
    factor, shift = (amount * (2 * pe.rand(count, 1).numpy() - 1) for amount in (by, moved))
    places = np.clip((np.arange(size) - shift) * np.exp(factor), 0, size - 1)
    before = places.astype(int)
    return before, np.minimum(before + 1, size - 1), (places - before).astype("float32")


def changed(pictures):
    """Each moved by up to 4 frames and 2 bands, stretched by up to 15 % in time and 12 % in frequency, and masked."""
    sounds = pictures.numpy()
    for axis, by, moved in ((1, 0.12, 2.0), (2, 0.15, 4.0)):
        before, after, share = (
            np.expand_dims(part, 3 - axis) for part in stretched(len(sounds), sounds.shape[axis], by, moved)
        )
        read = (np.take_along_axis(sounds, places, axis) for places in (before, after))
        sounds = next(read) * (1 - share) + next(read) * share
    return MASKS(pe.from_numpy(sounds))


class Listener(nn.Module):
    """(N, 40, frames) -> (N, 10). The head hears what there was in each band in each sixth of the time."""

    def __init__(self, width=24, parts=6):
        super().__init__()
        self.ears = nn.Sequential(*heard(1, width, 2), *heard(width, 2 * width, 2), *heard(2 * width, 2 * width, 1),
                                  *heard(2 * width, 3 * width, 2), nn.AdaptiveAvgPool2d((5, parts)))  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(3 * width * 5 * parts, len(WORDS)))

    def forward(self, pictures):
        return self.head(self.ears(pictures.unsqueeze(1)))


def heard(before, after, stride):
    return nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.BatchNorm2d(after), nn.ReLU()


def accuracy(train, test, epochs, seed):
    pe.manual_seed(seed)
    model = Listener()
    trainer = Trainer(model, nn.CrossEntropyLoss(label_smoothing=0.1), optim.AdamW(model.parameters(), lr=2e-3),
                      augment=changed, progress=False)  # fmt: skip
    trainer.fit(train, epochs=epochs, batch_size=32)
    return trainer.evaluate(test, [metrics.Accuracy()])["accuracy"]


def main(quick=False, data=None):
    if shutil.which("espeak-ng") is None:
        raise FileNotFoundError("espeak-ng is not here: apt install espeak-ng")
    manners = MANNERS[:2] if quick else MANNERS
    train, test = spoken(HEARD[:2] if quick else HEARD, manners), spoken(UNHEARD[:1] if quick else UNHEARD, manners)
    found = [accuracy(train, test, 1 if quick else 30, seed) for seed in range(1 if quick else 3)]
    flat = [(pictures.reshape(len(pictures), -1), labels) for pictures, labels in (train, test)]
    linear = LogisticRegression(C=0.01, max_iter=300).fit(*flat[0]).score(*flat[1])
    each = ", ".join(f"{share:.1%}" for share in found)
    print(f"convolutions {np.mean(found):.1%} ({each}), logistic regression {linear:.1%}")
    return {
        "task": "speech: ten words by unheard voices",
        "data": f"espeak-ng, {len(train[1])} words of 16 voices learned from, {len(test[1])} of 4 others to test",
        "model": "four convolutions",
        "figure": f"accuracy {np.mean(found):.1%} (mean of {len(found)} seeds)",
        "baseline": f"scikit-learn's logistic regression: {linear:.1%}",
    }


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
