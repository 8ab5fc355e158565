"""Language: which piece of a word comes next? The King James Bible, 4.1 million characters.

    python examples/language.py

is `pyengine train text king-james --tokenizer bpe` from Python: a small GPT learns from the first nine tenths and is
judged by the last: in bits a character, as compressors are. Beside it: xz and bzip2, the bits that they add for the
last tenth once they have read the rest. They remember all of it; the net sees 64 pieces at a time.
"""

import bz2
import lzma
import sys
import tempfile

from pyengine.train.jobs.text import VALIDATION, Text, read_text
from pyengine.train.run import evaluate_job, train_job


def bits(compress, text):
    """Bits a character that a compressor adds for the end of the text."""
    cut = round(len(text) * (1 - VALIDATION))
    return 8 * (len(compress(text.encode())) - len(compress(text[:cut].encode()))) / (len(text) - cut)


def main(quick=False, data=None):
    text = read_text(data or "king-james")
    with tempfile.TemporaryDirectory() as folder:
        job = Text(file=data or "king-james", tokenizer="char" if quick else "bpe", steps=4 if quick else 1000)
        train_job(job, folder, progress=False)
        found = evaluate_job(folder)[1]["bits_a_character"]
    preset = 0 if quick else 9
    others = {"xz": bits(lambda part: lzma.compress(part, preset=preset), text), "bzip2": bits(bz2.compress, text)}
    told = ", ".join(f"{name} {value:.3f}" for name, value in others.items())
    print(f"bits a character: the net {found:.3f}, {told}")
    return {
        "task": "language: the next piece of a word",
        "data": f"King James Bible, {len(text):,} characters, the last tenth to test",
        "model": "a GPT of 4 layers, 128 wide, 1000 steps",
        "figure": f"{found:.3f} bits a character",
        "baseline": f"compressors that have read the rest: {told}",
    }


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
