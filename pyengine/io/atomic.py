"""Files that are written whole or not at all."""

import contextlib
import os
import re
import time

_ABANDONED = 60  # seconds without a write
_LARGE = 1 << 20  # bytes


def replace_file(path, *parts):
    """Puts a file with the bytes of parts at path; until it is complete and on the disk, the old one stays.

    The new file is written beside the old one, synchronized, and renamed over it. Errors: OSError (a full disk,
    a missing folder, ...); then the old file is as it was and nothing is left beside it. What a killed process left
    beside it goes with the next write, a minute later or more.
    """
    target = os.path.realpath(path)  # a link keeps pointing where it did
    beside = f"{target}.{os.getpid()}-{os.urandom(4).hex()}.part"
    _sweep(target)
    try:
        with open(beside, "xb") as file:
            _reserve(file, sum(map(len, parts)))
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException as error:
        if os.path.exists(beside):
            os.unlink(beside)
        if isinstance(error, OSError) and error.errno:  # write() and fsync() do not say which file it was
            error.filename = os.fspath(path)
        raise
    _synchronize_folder(os.path.dirname(target))


def _reserve(file, size):
    """Asks for the space at once: on ext4 the writing then takes two thirds of the time."""
    if size > _LARGE and hasattr(os, "posix_fallocate"):
        with contextlib.suppress(OSError):  # if there is no space, the write itself will say so
            os.posix_fallocate(file.fileno(), 0, size)


def _sweep(target):
    """Removes the unfinished files of this target whose process is dead."""
    folder, name = os.path.split(target)
    try:
        for entry in os.listdir(folder):
            left = re.fullmatch(re.escape(name) + r"\.(\d+)-[0-9a-f]{8}\.part", entry)
            if left and not os.path.exists(f"/proc/{left[1]}"):
                path = os.path.join(folder, entry)
                if time.time() - os.stat(path).st_mtime > _ABANDONED:  # a process of another machine may still write
                    os.unlink(path)
    except OSError:
        pass  # what is wrong with the folder, if anything, the write itself will say


def _synchronize_folder(folder):
    """Makes the new name last through a power failure, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse; the rename itself has happened
    finally:
        os.close(descriptor)
