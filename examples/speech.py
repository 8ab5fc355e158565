"""Speech: which of ten words was said? Synthesised by espeak-ng, by voices that were never heard before.

    apt install espeak-ng && python examples/speech.py

Twenty voices say each word at six speeds and heights; sixteen of them are learned from, four tell how well. Log-mel
spectrograms; while learning each is moved in time and in frequency (as voices differ), and stretches of both are masked
(SpecAugment, Park et al. 2019). Convolutions and a recurrent layer, beside scikit-learn's logistic regression of the
same spectrograms. What was to be chosen was chosen by voices held out from the sixteen, or by four other ones.
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


def changed(pictures):
    """Each moved by up to 4 frames and 3 bands (higher and lower voices), then masked."""
    moved = pictures.numpy().copy()
    places = pe.randint(-4, 5, (len(moved),)).tolist(), pe.randint(-3, 4, (len(moved),)).tolist()
    for picture, later, higher in zip(moved, *places, strict=True):
        picture[:] = np.roll(picture, later, 1)[np.clip(np.arange(40) - higher, 0, 39)]
    return MASKS(pe.from_numpy(moved))


class Listener(nn.Module):
    """(N, 40, frames) -> (N, 10)"""

    def __init__(self):
        super().__init__()
        self.ears = nn.Sequential(
            nn.Conv1d(40, 64, 5, stride=2, padding=2), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2),
            nn.Conv1d(64, 64, 3, padding=1), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2),
        )  # fmt: skip
        self.memory, self.head = nn.GRU(64, 64, batch_first=True, bidirectional=True), nn.Linear(128, len(WORDS))

    def forward(self, pictures):
        return self.head(self.memory(self.ears(pictures).transpose(1, 2))[0].mean(1))


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
    print(f"convolutions and GRU {np.mean(found):.1%} ({each}), logistic regression {linear:.1%}")
    return {
        "task": "speech: ten words by unheard voices",
        "data": f"espeak-ng, {len(train[1])} words of 16 voices learned from, {len(test[1])} of 4 others to test",
        "model": "two convolutions and a bidirectional GRU",
        "figure": f"accuracy {np.mean(found):.1%} (mean of {len(found)} seeds)",
        "baseline": f"scikit-learn's logistic regression: {linear:.1%}",
    }


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
