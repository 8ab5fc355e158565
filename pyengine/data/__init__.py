"""Data sets, the order of their samples, and batches."""

from .augment import distort, shift_flip
from .basic_motions import Motions, load_basic_motions
from .breast_cancer import Samples, load_breast_cancer
from .dataset import ArrayDataset, Dataset, IterableDataset, Subset, TensorDataset, default_collate, random_split
from .digits import Digits, load_digits
from .fashion_mnist import Pictures, load_fashion_mnist
from .idx import read_idx
from .king_james import Verse, load_king_james
from .loader import DataLoader, batches
from .movielens import Ratings, load_movielens
from .photo import load_photo
from .sampler import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    StratifiedSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from .sp500 import Days, load_sp500
from .speech import Sentence, load_speech
from .table import open_npy, read_csv
from .tokens import load_tokenizer
from .wav import read_wav


def __getattr__(name):
    if name == "transforms":  # read at its first use, with NumPy
        from importlib import import_module

        return import_module("pyengine.data.transforms")
    raise AttributeError(f"module 'pyengine.data' has no attribute {name!r}")


__all__ = [
    "ArrayDataset",
    "BatchSampler",
    "DataLoader",
    "Dataset",
    "Days",
    "Digits",
    "DistributedSampler",
    "IterableDataset",
    "Motions",
    "Pictures",
    "RandomSampler",
    "Ratings",
    "Sampler",
    "Samples",
    "Sentence",
    "SequentialSampler",
    "StratifiedSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "Verse",
    "WeightedRandomSampler",
    "batches",
    "default_collate",
    "distort",
    "load_basic_motions",
    "load_breast_cancer",
    "load_digits",
    "load_fashion_mnist",
    "load_king_james",
    "load_movielens",
    "load_photo",
    "load_sp500",
    "load_speech",
    "load_tokenizer",
    "open_npy",
    "random_split",
    "read_csv",
    "read_idx",
    "read_wav",
    "shift_flip",
    "transforms",
]
