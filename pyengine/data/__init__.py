"""Data sets, the order of their samples, and batches."""

from .augment import distort, shift_flip
from .dataset import ArrayDataset, Dataset, Subset, TensorDataset, default_collate, random_split
from .digits import Digits, load_digits
from .fashion_mnist import Pictures, load_fashion_mnist
from .idx import read_idx
from .king_james import Verse, load_king_james
from .loader import DataLoader, batches
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
from .table import open_npy, read_csv
from .tokens import load_tokenizer

__all__ = [
    "ArrayDataset",
    "BatchSampler",
    "DataLoader",
    "Dataset",
    "Digits",
    "DistributedSampler",
    "Pictures",
    "RandomSampler",
    "Sampler",
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
    "load_digits",
    "load_fashion_mnist",
    "load_king_james",
    "load_photo",
    "load_tokenizer",
    "open_npy",
    "random_split",
    "read_csv",
    "read_idx",
    "shift_flip",
]
