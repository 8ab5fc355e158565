"""Tools for modules and their tensors, under torch.nn.utils' names."""

from . import parametrizations, parametrize
from . import rnn as rnn
from .init import skip_init
from .stateless import functional_call
