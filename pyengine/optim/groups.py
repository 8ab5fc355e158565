"""Parameter groups that optimizers take."""


def layers_by_depth(model):
    """The layers of model that have parameters, (name, module) pairs, the one nearest to the inputs first.

    Layers are the model's children in the order in which they were made; a container (Sequential, ModuleList) is not
    one layer but as many as it holds.

    >>> import pyengine as pe
    >>> nn = pe.nn
    >>> blocks = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    >>> [name for name, _ in layers_by_depth(nn.Sequential(nn.Linear(2, 4), blocks, nn.Linear(4, 3)))]
    ['0', '1.0.0', '1.1.0', '2']
    """
    from pyengine.nn import ModuleList, Sequential

    found = []
    for name, child in model.named_children():
        if isinstance(child, (ModuleList, Sequential)):
            found += [(f"{name}.{inner}", module) for inner, module in layers_by_depth(child)]
        elif next(child.parameters(), None) is not None:
            found.append((name, child))
    return found


def decay_groups(model, weight_decay=1e-2, lr=None, depth_factor=None):
    """Parameter groups for an optimizer: weights of two or more axes decay; biases, norms and other vectors do not.

    With lr and depth_factor < 1 the rates differ too (discriminative learning rates, Howard & Ruder 2018, whose factor
    is 1 / 2.6): the last of the model's layers (layers_by_depth) learns at lr, the one before it at lr * depth_factor,
    and so on; what belongs to no layer learns with the first. What does not require grad is left out.

    >>> import pyengine as pe
    >>> net = pe.nn.Sequential(pe.nn.Linear(4, 4), pe.nn.LayerNorm(4), pe.nn.Linear(4, 2))
    >>> groups = decay_groups(net, 0.1)
    >>> [(group["weight_decay"], group["param_names"]) for group in pe.optim.AdamW(groups).param_groups]
    [(0.1, ['0.weight', '2.weight']), (0.0, ['0.bias', '1.weight', '1.bias', '2.bias'])]
    """
    if (lr is None) != (depth_factor is None):
        raise ValueError("decay_groups: lr and depth_factor come together")
    layers = layers_by_depth(model)
    learned = [layer for _, layer in layers if any(p.requires_grad for p in layer.parameters())]
    depths = {id(p): depth for depth, layer in enumerate(learned[::-1]) for p in layer.parameters()}
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            depth = depths.get(id(parameter), len(learned) - 1) if lr is not None else 0
            found.setdefault((depth, parameter.ndim < 2), []).append((name, parameter))
    if not found:
        raise ValueError(f"decay_groups: no parameter of {type(model).__name__} requires grad")
    return [
        {"params": named, "weight_decay": 0.0 if plain else weight_decay,
         **({} if lr is None else {"lr": lr * depth_factor**max(depth, 0)})}
        for (depth, plain), named in sorted(found.items(), key=lambda item: item[0])
    ]  # fmt: skip
