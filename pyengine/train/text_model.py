"""What reads and writes text in `pyengine train text`: sizes, a recurrent net beside GPT-2, and alphabets."""

import json
import zlib

import pyengine as pe
from pyengine.models.transformer_gpt2 import GPT2
from pyengine.nn import LSTM, Dropout, Embedding, Linear, Module

# context and batch of a training step, and the sizes of both nets; small is what one waits minutes for
PRESETS = {
    "tiny": {"context": 64, "batch_size": 32, "steps": 1000, "lr": 2e-3, "layers": 4, "width": 128, "heads": 4,
             "lstm_layers": 1, "lstm_width": 256},
    "small": {"context": 256, "batch_size": 8, "steps": 1500, "lr": 1e-3, "layers": 6, "width": 384, "heads": 6,
              "lstm_layers": 2, "lstm_width": 512},
}  # fmt: skip


class RecurrentText(Module):
    """Embedding, LSTM, and the logits of the next token: (B, T) -> (B, T, vocab_size). With a cache it goes on from the
    state that is in it."""

    def __init__(self, vocab_size, width, layers, dropout):
        super().__init__()
        self.embedding, self.drop = Embedding(vocab_size, width), Dropout(dropout)
        self.lstm = LSTM(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.head = Linear(width, vocab_size)

    def new_cache(self, batch=1, capacity=None):
        """A state that has read nothing; any number of tokens fit."""
        return _State()

    def forward(self, input_ids, cache=None, last=False):
        hidden, state = self.lstm(self.drop(self.embedding(input_ids)), None if cache is None else cache.state)
        if cache is not None:
            cache.state = state
        return self.head(self.drop(hidden[:, -1:] if last else hidden))


class _State:
    state = None

    def reserve(self, tokens):
        """Nothing: a state does not grow."""


def text_net(model, vocab_size, sizes, dropout):
    """The net of this name, "gpt" or "lstm", of the sizes of a preset."""
    if model == "lstm":
        return RecurrentText(vocab_size, sizes["lstm_width"], sizes["lstm_layers"], dropout)
    if model != "gpt":
        raise ValueError(f"train text: the model must be 'gpt' or 'lstm', got {model!r}")
    return GPT2(vocab_size=vocab_size, n_positions=sizes["context"], n_embd=sizes["width"], n_layer=sizes["layers"],
                n_head=sizes["heads"], dropout=dropout)  # fmt: skip


class Characters:
    """Every character that a text has is a token."""

    def __init__(self, text):
        self.alphabet = "".join(sorted(set(text)))
        self.numbers = {character: number for number, character in enumerate(self.alphabet)}

    def __len__(self):
        return len(self.alphabet)

    def encode(self, text):
        """The numbers of the characters; those that are not in the alphabet are left out."""
        return [self.numbers[character] for character in text if character in self.numbers]

    def decode(self, ids):
        """The text that these numbers stand for."""
        return "".join(self.alphabet[number] for number in ids)

    def written(self):
        """What a file keeps of it."""
        return json.dumps(self.alphabet)

    @classmethod
    def read(cls, text):
        """The one that `written` tells of."""
        return cls(json.loads(text))


class Pieces:
    """Byte-pair pieces learned from a text, by the tokenizers library. (Sennrich, Haddow & Birch 2016)"""

    def __init__(self, text, vocab_size=1024):
        from pyengine.data.tokens import tokenizers_library

        library = tokenizers_library()
        self.own = library.Tokenizer(library.models.BPE())
        self.own.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        self.own.decoder = library.decoders.ByteLevel()
        bytes_ = library.pre_tokenizers.ByteLevel.alphabet()
        trainer = library.trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=bytes_, show_progress=False)
        self.own.train_from_iterator(text.splitlines(keepends=True), trainer)

    def __len__(self):
        return self.own.get_vocab_size()

    def encode(self, text):
        """The numbers of the pieces."""
        return self.own.encode(text).ids

    def decode(self, ids):
        """The text that these numbers stand for."""
        return self.own.decode(ids)

    def written(self):
        """What a file keeps of it: a tokenizer.json."""
        return self.own.to_str()

    @classmethod
    def read(cls, text):
        """The one that `written` tells of."""
        from pyengine.data.tokens import tokenizers_library

        found = cls.__new__(cls)
        found.own = tokenizers_library().Tokenizer.from_str(text)
        return found


SPELLINGS = {"char": Characters, "bpe": Pieces}


def windows(ids, starts, length):
    """(inputs, targets) of the windows of ids (an array) from these starts on: targets are one further."""
    import numpy

    taken = ids[numpy.asarray(starts)[:, None] + numpy.arange(length + 1)]
    return pe.from_numpy(taken[:, :-1].copy()), pe.from_numpy(taken[:, 1:].copy())


class RandomWindows:
    """Batches of windows that begin anywhere in ids, `every` of them a pass, until `steps` are taken. Where they begin
    follows from the seed and their number, so state_dict() is little: the place, and what the text was."""

    def __init__(self, ids, length, batch_size, steps, every, seed):
        self.ids, self.length, self.batch_size = ids, length, batch_size
        self.steps, self.every, self.seed = steps, every, seed
        self.taken = self.position = 0  # before this pass, and in it

    def __len__(self):
        return min(self.every, self.steps - self.taken)

    def __iter__(self):
        import numpy

        while self.position < len(self):
            dice = numpy.random.default_rng([self.seed, self.taken + self.position])
            self.position += 1
            yield windows(self.ids, dice.integers(0, len(self.ids) - self.length, self.batch_size), self.length)
        self.taken, self.position = self.taken + self.position, 0

    def state_dict(self):
        text = f"{len(self.ids)} tokens of checksum {zlib.crc32(self.ids.tobytes())}"
        return {"text": text, "taken": self.taken, "position": self.position}

    def load_state_dict(self, state_dict):
        if state_dict["text"] != self.state_dict()["text"]:
            raise ValueError(f"RandomWindows: the state is of {state_dict['text']}, these are "
                             f"{self.state_dict()['text']}")  # fmt: skip
        self.taken, self.position = state_dict["taken"], state_dict["position"]
