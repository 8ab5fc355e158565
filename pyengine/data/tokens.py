"""Tokenizers of text models, by the tokenizers library: pip install "pyengine[text]"."""

import os

# what splits a text before byte-pair merges, by the name that GGUF files give it
_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    "llama-bpe": _LETTERS + r"|\p{N}{1,3}" + _REST,
    "qwen2": _LETTERS + r"|\p{N}" + _REST,
}
_WITH_DIGITS_APART, _BYTES_ALONE = ("smollm",), ("gpt-2", "default")
_CONTROL = 3  # the type of tokens that no text spells


def tokenizers_library():
    """The module tokenizers; ModuleNotFoundError that says what to install."""
    try:
        import tokenizers
    except ImportError:
        raise ModuleNotFoundError('the tokenizers library is not installed: pip install "pyengine[text]"') from None
    return tokenizers


def load_tokenizer(filename):
    """The tokenizer in a tokenizer.json, in a folder that has one, or in the metadata of a GGUF file: an object of the
    tokenizers library, with encode(text).ids and decode(ids), that neither cuts nor pads.

    Errors: ModuleNotFoundError that says what to install; FileNotFoundError; ValueError that names the file.
    """
    path = os.fspath(filename)
    if os.path.isdir(path):
        path = os.path.join(path, "tokenizer.json")
    if not os.path.exists(path):
        raise FileNotFoundError(f"no tokenizer at {path}")
    if path.endswith(".gguf"):
        from pyengine.io.gguf import GGUF

        return tokenizer_of(GGUF(path).metadata, path)
    try:
        found = tokenizers_library().Tokenizer.from_file(path)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # the library raises Exception itself
        raise ValueError(f"{path}: no tokenizer.json: {error}") from None
    found.no_truncation()
    found.no_padding()
    return found


def tokenizer_of(metadata, name="metadata"):
    """The byte-pair tokenizer that the metadata of a GGUF file describe. ValueError: another kind, or not whole."""
    tokenizers = tokenizers_library()
    tokens, merges = (metadata.get(f"tokenizer.ggml.{key}") for key in ("tokens", "merges"))
    kind, split = (metadata.get(f"tokenizer.ggml.{key}", "default") for key in ("model", "pre"))
    if kind != "gpt2" or not _texts(tokens) or not _texts(merges):
        raise ValueError(f"{name}: a tokenizer of kind 'gpt2' with tokens and merges is read, got {kind!r:.60}")
    pairs = [tuple(merge.split(" ")) for merge in merges]
    try:
        model = tokenizers.models.BPE({token: number for number, token in enumerate(tokens)}, pairs)
    except Exception as error:  # the library raises Exception itself
        raise ValueError(f"{name}: no byte-pair tokenizer: {error}") from None
    found = tokenizers.Tokenizer(model)
    found.pre_tokenizer = _splitter(tokenizers, split, name)
    found.decoder = tokenizers.decoders.ByteLevel()
    types = metadata.get("tokenizer.ggml.token_type", [])
    found.add_special_tokens([token for token, what in zip(tokens, types, strict=False) if what == _CONTROL])
    return found


def _texts(values):
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _splitter(tokenizers, split, name):
    parts = tokenizers.pre_tokenizers
    if split in _BYTES_ALONE:
        return parts.ByteLevel(add_prefix_space=False)
    if split in _WITH_DIGITS_APART:
        return parts.Sequence([parts.Digits(individual_digits=True), parts.ByteLevel(add_prefix_space=False)])
    if split in _SPLITS:
        apart = parts.Split(tokenizers.Regex(_SPLITS[split]), "isolated")
        return parts.Sequence([apart, parts.ByteLevel(add_prefix_space=False, use_regex=False)])
    known = ", ".join([*_BYTES_ALONE, *_WITH_DIGITS_APART, *_SPLITS])
    raise ValueError(f"{name}: texts split as {split!r:.60}; {known} are known")
