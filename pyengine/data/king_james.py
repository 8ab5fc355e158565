"""The King James text, of Debian's bible-kjv: 31,102 verses in the public domain."""

import os
import re
import shutil
import subprocess
from typing import NamedTuple

ALL = "Ge1:1-Re22:21"
_TITLE = re.compile(r"(\S.*) (\d+)")
_VERSE = re.compile(r" +(\d+) (.*)")


class Verse(NamedTuple):
    """Where a verse stands, and what it says."""

    book: str
    chapter: int
    number: int
    text: str


def load_king_james(folder=None, passage=ALL):
    """The verses of a passage, as the program `bible` of Debian's bible-kjv prints them.

    Arguments: folder, where the packages bible-kjv and bible-kjv-text lie unpacked (None: they are installed).
    Errors: FileNotFoundError that says what to install; ValueError for a passage without verses.
    """
    program, where = shutil.which("bible"), []
    if folder is not None:
        program, where = os.path.join(folder, "usr/bin/bible"), ["-p", os.path.join(folder, "usr/lib")]
    if program is None or not os.path.exists(program):
        raise FileNotFoundError(f"{program or 'the program bible'} is not there: apt install bible-kjv, or name the "
                                "folder that has bible-kjv and bible-kjv-text unpacked")  # fmt: skip
    done = subprocess.run([program, *where, passage], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    verses = list(_verses(done.stdout.splitlines()))
    if done.returncode or not verses:
        raise ValueError(f"bible {passage}: {done.stderr.strip()[:200] or 'no verses'}")
    return verses


def _verses(lines):
    """A chapter's title stands between empty lines; verses are indented, with their number, and go on over lines."""
    place, number, parts, after_gap = ("", 0), 0, [], True
    for line in [*lines, ""]:
        begun = _VERSE.fullmatch(line)
        if parts and (begun or not line):
            yield Verse(*place, number, " ".join(parts))
            parts = []
        if begun:
            number, parts = int(begun[1]), [begun[2]]
        elif line and after_gap and (title := _TITLE.fullmatch(line)):
            place = (title[1], int(title[2]))
        elif line and parts:
            parts.append(line)
        after_gap = not line
