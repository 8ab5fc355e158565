"""LoRA: small products of two narrow matrices that learn beside frozen weights. (Hu et al. 2022)"""

from pyengine import no_grad
from pyengine.nn import Linear, Module, Parameter, init
from pyengine.nn.functional import dropout, linear
from pyengine.ops import zeros


class LoRALinear(Module):
    """y = x W^T + b + (alpha / rank) drop(x) A^T B^T, where W and b, the Linear `base`, are frozen and A (rank, in),
    B (out, rank) learn; B begins at 0, so nothing changes at first.

    Shape: as base's.
    """

    def __init__(self, base, rank=8, alpha=16.0, dropout=0.0):
        super().__init__()
        if not 1 <= rank <= min(base.in_features, base.out_features):
            raise ValueError(f"LoRALinear: rank {rank} for a weight of shape {base.weight.shape}")
        self.base, self.scale, self.dropout = base, alpha / rank, dropout
        self.lora_a = Parameter(zeros(rank, base.in_features))
        self.lora_b = Parameter(zeros(base.out_features, rank))
        init.kaiming_uniform_(self.lora_a, a=5**0.5)
        self._kept = None  # the weight as it was before merge()
        for parameter in base.parameters():
            parameter.requires_grad_(False)

    def forward(self, x):
        y = self.base(x)
        if self._kept is not None:
            return y
        narrow = linear(dropout(x, self.dropout, self.training), self.lora_a)
        return y + linear(narrow, self.lora_b) * self.scale

    @no_grad()
    def merge(self):
        """Adds the product to the weight: inference then costs what it did without the adapter."""
        if self._kept is None:
            self._kept = self.base.weight.detach().clone()
            self.base.weight.add_(self.lora_b @ self.lora_a * self.scale)
        return self

    @no_grad()
    def unmerge(self):
        """Brings the weight back, bit for bit."""
        if self._kept is not None:
            self.base.weight.copy_(self._kept)
            self._kept = None
        return self

    def extra_repr(self):
        return f"rank={self.lora_a.shape[0]}, scale={self.scale}, merged={self._kept is not None}"


def add_lora(model, rank=8, alpha=16.0, dropout=0.0, targets=None):
    """Freezes model and puts a LoRALinear in the place of each Linear, or of those for whose name targets(name) is
    true; the model.

    >>> import pyengine as pe
    >>> net = add_lora(pe.nn.Sequential(pe.nn.Linear(8, 8), pe.nn.ReLU(), pe.nn.Linear(8, 4)), rank=2)
    >>> [name for name, parameter in net.named_parameters() if parameter.requires_grad]
    ['0.lora_a', '0.lora_b', '2.lora_a', '2.lora_b']
    >>> sorted(lora_state_dict(net))
    ['0.lora_a', '0.lora_b', '2.lora_a', '2.lora_b']
    """
    found = [name for name, module in model.named_modules()
             if type(module) is Linear and name and (targets is None or targets(name))]  # fmt: skip
    if not found:
        raise ValueError(f"add_lora: no Linear of {type(model).__name__} was chosen")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for name in found:
        parent, _, own = name.rpartition(".")
        place = model.get_submodule(parent)
        setattr(place, own, LoRALinear(getattr(place, own), rank, alpha, dropout))
    return model


def merge_lora(model):
    """Merges all adapters of model into their weights; the model."""
    return _each(model, LoRALinear.merge)


def unmerge_lora(model):
    """Takes all adapters of model out of their weights again, which have the bits of before; the model."""
    return _each(model, LoRALinear.unmerge)


def _each(model, action):
    for module in list(model.modules()):
        if isinstance(module, LoRALinear):
            action(module)
    return model


def lora_state_dict(model):
    """The adapters alone, name -> tensor: load_state_dict(..., strict=False) takes them."""
    return {name: tensor for name, tensor in model.state_dict().items() if ".lora_" in f".{name}"}
