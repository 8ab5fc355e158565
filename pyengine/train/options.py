"""Options with types: a dataclass says which there are, within which limits; the shell and TOML files give them."""

import dataclasses
import difflib
import json
import math
import os
import re
import types
import typing
from pathlib import Path

KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def option(default, told, *, least=None, above=None, below=None, choices=None, place=False, positional=False):
    """A field of a dataclass of options.

    Arguments: default (dataclasses.MISSING: it must be given); told, what it is, in a few words; least, above, below,
    limits of a number; choices; place: a file or folder, which is known by its whole path where it is there;
    positional: the shell takes it without its name.
    """
    limits = {"least": least, "above": above, "below": below, "choices": choices}
    told = {"told": told, "place": place, "positional": positional}
    return dataclasses.field(default=default, metadata={**told, **limits})


def options_of(cls):
    """name -> field of the options of a dataclass."""
    return {field.name: field for field in dataclasses.fields(cls) if "told" in field.metadata}


def kind_of(field):
    """The type of an option, without the None of what need not be given."""
    return next(kind for kind in typing.get_args(field.type) or (field.type,) if kind is not types.NoneType)


def expected(field):
    """What an option takes, in words.

    >>> @dataclasses.dataclass
    ... class Options:
    ...     steps: int = option(10, "how many", above=0)
    >>> expected(options_of(Options)["steps"])
    'a whole number above 0'
    """
    meta = field.metadata
    if meta["choices"]:
        return f"one of {', '.join(meta['choices'])}"
    limits = [("at least", meta["least"]), ("above", meta["above"]), ("below", meta["below"])]
    told = " and ".join(f"{word} {limit}" for word, limit in limits if limit is not None)
    return f"{KINDS[kind_of(field)]} {told}".strip()


def checked(field, value):
    """value, of the option's type. Errors: ValueError that says what was expected."""
    kind, meta = kind_of(field), field.metadata
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or not (
        (meta["choices"] is None or value in meta["choices"])
        and (kind is not float or math.isfinite(value))
        and (meta["least"] is None or value >= meta["least"])
        and (meta["above"] is None or value > meta["above"])
        and (meta["below"] is None or value < meta["below"])
    ):
        raise ValueError(f"{field.name} must be {expected(field)}, got {value!r}")
    return os.path.abspath(value) if meta["place"] and os.path.exists(value) else value


def parsed(field, text):
    """The value that a word of the shell stands for. Errors: as checked()'s."""
    try:
        value = kind_of(field)(text)
    except ValueError:
        value = text
    return checked(field, value)


def nearest(name, known):
    """What to say of a name that is not known.

    >>> nearest("epoch", ["epochs", "lr"]), nearest("x", ["epochs", "lr"])
    ("did you mean 'epochs'?", 'there are epochs, lr')
    """
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def build(cls, given, where):
    """An instance of a dataclass of options. Errors: ValueError that names what is missing."""
    for name, field in options_of(cls).items():
        if field.default is dataclasses.MISSING and name not in given:
            raise ValueError(f"{where}: {name} is missing: {field.metadata['told']}")
    return cls(**given)


class Config:
    """A TOML file of options, or the text of one: its content, and where each key stands.

    Errors: FileNotFoundError; ValueError for a file that is no TOML."""

    def __init__(self, path, text=None):
        import tomllib

        self.path = path
        try:
            self.text = Path(path).read_text(encoding="utf-8") if text is None else text
            self.content = tomllib.loads(self.text)
        except ValueError as error:  # no TOML, or no UTF-8
            raise ValueError(f"{path}: {error}") from None

    def where(self, name):
        """The file, and the line of the key."""
        for number, line in enumerate(self.text.splitlines(), 1):
            if re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*[=.]|\s*\[+\s*{re.escape(name)}\b", line):
                return f"{self.path}, line {number}"
        return str(self.path)

    def check(self, fields):
        """The content, each value checked. Errors: ValueError that names the file, the line, and what was expected,
        or for an unknown key the nearest one."""
        for name, value in self.content.items():
            if name not in fields:
                raise ValueError(f"{self.where(name)}: unknown key {name!r}; {nearest(name, fields)}")
            try:
                self.content[name] = checked(fields[name], value)
            except ValueError as error:
                raise ValueError(f"{self.where(name)}: {error}") from None
        return self.content


def written(options):
    """name = value lines of TOML for the options of a dataclass that are not None."""
    values = {name: getattr(options, name) for name in options_of(options)}
    return "".join(f"{name} = {_toml(value)}\n" for name, value in values.items() if value is not None)


def _toml(value):
    if isinstance(value, str):  # the strings of JSON are TOML's, but for one character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)
