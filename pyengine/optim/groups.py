"""Parameter groups that optimizers take."""


def decay_groups(model, weight_decay=1e-2, lr=None, depth_factor=None):
    """Parameter groups for an optimizer: weights of two or more axes decay; biases, norms and other vectors do not.

    With lr and depth_factor < 1 the rates differ too (discriminative learning rates, Howard & Ruder 2018): the last of
    the model's children learns at lr, the one before it at lr * depth_factor, and so on. What does not require grad is
    left out.

    >>> import pyengine as pe
    >>> net = pe.nn.Sequential(pe.nn.Linear(4, 4), pe.nn.LayerNorm(4), pe.nn.Linear(4, 2))
    >>> groups = decay_groups(net, 0.1)
    >>> [(group["weight_decay"], group["param_names"]) for group in pe.optim.AdamW(groups).param_groups]
    [(0.1, ['0.weight', '2.weight']), (0.0, ['0.bias', '1.weight', '1.bias', '2.bias'])]
    """
    if (lr is None) != (depth_factor is None):
        raise ValueError("decay_groups: lr and depth_factor come together")
    children = [name for name, child in model.named_children() if any(p.requires_grad for p in child.parameters())]
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            depth = children[::-1].index(name.split(".")[0]) if name.split(".")[0] in children else 0
            key = depth if lr is not None else 0, parameter.ndim < 2
            found.setdefault(key, []).append((name, parameter))
    if not found:
        raise ValueError(f"decay_groups: no parameter of {type(model).__name__} requires grad")
    return [
        {"params": named, "weight_decay": 0.0 if plain else weight_decay,
         **({} if lr is None else {"lr": lr * depth_factor**depth})}
        for (depth, plain), named in sorted(found.items())
    ]  # fmt: skip
