"""Networks under PyTorch's names, for every engine that has them: `engine` is pyengine or torch."""


def train(engine, p, make):
    """One call is one training step of a multilayer perceptron with ReLU, on the same images each time."""
    nn, optim = engine.nn, engine.optim
    model = perceptron(engine, p, make)
    loss_of = nn.CrossEntropyLoss()
    x, y = engine.from_numpy(make.images(p)), engine.from_numpy(make.labels(p))
    parameters = list(model.parameters())
    optimizer = optim.SGD(parameters, lr=1e-3) if p["optimizer"] == "sgd" else optim.Adam(parameters, lr=1e-5)

    def step():
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


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
