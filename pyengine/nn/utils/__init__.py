"""Tools for modules and their tensors, under torch.nn.utils' names."""

from . import rnn as rnn
