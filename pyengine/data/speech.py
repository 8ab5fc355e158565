"""Read aloud: five sentences of Austen's Sense and Sensibility (LibriVox), of Debian's pocketsphinx-testdata."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from .wav import read_wav

PLACE = "usr/share/pocketsphinx/test/data/librivox"
RATE = 16000
_LINE = re.compile(r"<s> (.*) </s> \(([\w-]+)\)")


class Sentence(NamedTuple):
    """name, of the recording; sound, (n) float32 from -1 to 1, RATE numbers a second; text, what is said."""

    name: str
    sound: object
    text: str


def load_speech(folder=None):
    """The five Sentences, 24.7 seconds.

    Arguments: folder, where pocketsphinx-testdata lies unpacked, or the folder of the recordings (None: it is
    installed).
    Errors: FileNotFoundError that says what to install; ValueError that names the file.
    """
    root = Path("/" if folder is None else folder)
    where = root / PLACE if folder is None or (root / PLACE).is_dir() else root
    said = where / "transcription"
    if not said.is_file():
        raise FileNotFoundError(f"{os.fspath(said)} is not there: apt install pocketsphinx-testdata; or apt-get "
                                "download it, unpack it by dpkg-deb -x and name that folder")  # fmt: skip
    found = []
    for line in said.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None or not line.isascii():
            raise ValueError(f"{os.fspath(said)}: no sentence with its recording: {line!r:.80}")
        sound, rate = read_wav(where / f"{match[2]}.wav")
        if rate != RATE or len(sound) != 1:
            raise ValueError(f"{match[2]}.wav: one channel at {RATE} Hz is needed, got {len(sound)} at {rate}")
        found.append(Sentence(match[2], sound[0], match[1]))
    return found
