"""Networks and layers under PyTorch's names, for every engine that has them: `engine` is pyengine or torch."""


def step_of(engine, model, optimizer, x, y, watched):
    """One call is one training step on the same data each time. Returned: the loss, and the gradient of `watched`."""
    loss_of = engine.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return [loss.detach(), watched.grad]

    return step


def train(engine, p, make):
    """A multilayer perceptron with ReLU."""
    model = perceptron(engine, p, make)
    x, y = engine.from_numpy(make.images(p)), engine.from_numpy(make.labels(p))
    parameters, optim = list(model.parameters()), engine.optim
    optimizer = optim.SGD(parameters, lr=1e-3) if p["optimizer"] == "sgd" else optim.Adam(parameters, lr=1e-5)
    return step_of(engine, model, optimizer, x, y, parameters[0])


def perceptron(engine, p, make):
    nn, parts = engine.nn, []
    for weight, bias in make.layers(p):
        parts += [linear(engine, weight, bias), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def linear(engine, weight, bias):
    """A layer that owns its weights: memory shared with NumPy could change unseen, and would not be packed."""
    layer = engine.nn.Linear(weight.shape[1], weight.shape[0])
    with engine.no_grad():
        layer.weight.copy_(engine.from_numpy(weight))
        layer.bias.copy_(engine.from_numpy(bias))
    return layer


def filled(engine, model, make):
    """The model with weights that are the same in every engine; norms are near 1 and 0."""
    drawn = {}
    for seed, (name, value) in enumerate(model.state_dict().items()):
        shape = tuple(value.shape)
        if len(shape) > 1:
            drawn[name] = make.weight(*shape, seed=seed)
        elif shape:
            near = 1 if name.endswith(("weight", "running_var")) else 0
            drawn[name] = near + make.array(*shape, seed=seed) / 4
    model.load_state_dict({name: engine.from_numpy(array) for name, array in drawn.items()}, strict=False)
    return model


def network(engine, models, p, make):
    """A model of pyengine.models, in evaluation mode, and a batch for it."""
    model = filled(engine, getattr(models, p["network"])(**p["options"]), make).eval()
    return model, engine.from_numpy(make.array(*p["shape"], seed=1))


def train_network(engine, models, p, make, ready=lambda model, x: (model, x)):
    """A step of SGD with momentum; `ready` may change layouts, or compile."""
    model, x = network(engine, models, p, make)
    model, x = ready(model.train(), x)
    labels = make.np.random.default_rng(7).integers(0, p["classes"], p["shape"][0])
    optimizer = engine.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    return step_of(engine, model, optimizer, x, engine.from_numpy(labels), next(model.parameters()))


def text_network(engine, models, p, make):
    """A model of token ids, in evaluation mode, and ids for it: shape (B, T)."""
    model = filled(engine, getattr(models, p["network"])(**p["options"]), make).eval()
    ids = make.np.random.default_rng(1).integers(0, p["options"]["vocab_size"], p["shape"])
    return model, engine.from_numpy(ids)


def train_text_network(engine, models, p, make, ready=lambda model: model):
    """A step of AdamW towards other tokens; `ready` may compile."""
    model, ids = text_network(engine, models, p, make)
    model = ready(model.train())
    optimizer = engine.optim.AdamW(model.parameters(), lr=1e-5)
    return step_of(engine, lambda x: model(x).flatten(0, 1), optimizer, ids, ids.flip(0, 1).flatten(),
                   next(model.parameters()))  # fmt: skip


def last(x):
    """x laid out channels-last."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def convolution(engine, p, make, bias=True):
    """A layer, and its input."""
    kind = f"Conv{'Transpose' if p['transposed'] else ''}{len(p['size'])}d"
    sizes = (tuple(p[name]) for name in ("kernel", "stride", "padding"))
    layer = getattr(engine.nn, kind)(p["in"], p["out"], *sizes, groups=p["groups"], bias=bias)
    return filled(engine, layer, make).eval(), engine.from_numpy(make.array(p["batch"], p["in"], *p["size"], seed=1))


def convolution_backward(engine, p, make, ready=lambda x: x):
    """The gradient to the weight, and to the input unless that is the image itself."""
    layer, x = convolution(engine, p, make, bias=False)
    x = ready(x).requires_grad_(p["dx"])
    y = layer(x)
    given = ready(engine.from_numpy(make.array(*y.shape, seed=2)))
    asked = [layer.weight, x] if p["dx"] else [layer.weight]
    return lambda: list(engine.autograd.grad(y, asked, given, retain_graph=True))


def recurrence(engine, p, make):
    """An LSTM or GRU, and its input."""
    layer = filled(engine, getattr(engine.nn, p["layer"])(p["in"], p["hidden"]), make)
    return layer, engine.from_numpy(make.array(p["steps"], p["batch"], p["in"], seed=1))


def recurrence_forward(engine, p, make):
    layer, x = recurrence(engine, p, make)
    layer.eval()
    return lambda: layer(x)[0]


def recurrence_train(engine, p, make):
    """Forward, and the gradients to input and parameters."""
    layer, x = recurrence(engine, p, make)
    x.requires_grad_()
    given = engine.from_numpy(make.array(p["steps"], p["batch"], p["hidden"], seed=2))
    asked = [x, *layer.parameters()]

    def call():
        y = layer(x)[0]
        return [y, *engine.autograd.grad(y, asked, given)]

    return call
