"""A small language model in the style of an MLP mixer, as one writes it for torch: only the imports are pyengine's.

    python examples/mixer.py

learns to continue a periodic text; `tests/versus_torch/test_ported_model.py` trains the same file under both engines.
"""

import pyengine as torch
from pyengine import nn
from pyengine.nn import functional as F

LETTERS, WIDTH, LENGTH = 12, 32, 16


class Block(nn.Module):
    """Letters mix along the text, then within each place."""

    def __init__(self, width, length):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.along = nn.Linear(length, length)
        self.norm2 = nn.LayerNorm(width)
        self.within = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.along(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.within(self.norm2(x))


class Mixer(nn.Module):
    """(N, LENGTH) letters -> (N, LETTERS) scores of the letter that follows."""

    def __init__(self, depth=2):
        super().__init__()
        self.embedding = nn.Embedding(LETTERS, WIDTH)
        self.blocks = nn.ModuleList([Block(WIDTH, LENGTH) for _ in range(depth)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, LETTERS)
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, letters):
        x = self.embedding(letters)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(dim=1))


def batch(step, size=24):
    """Texts of the letters a, a + d, a + 2 d, ... modulo LETTERS, and the letter that follows each."""
    start = torch.arange(size) * 7 + step
    stride = (torch.arange(size) + 3 * step) % 5 + 1
    text = (start.unsqueeze(1) + stride.unsqueeze(1) * torch.arange(LENGTH + 1)) % LETTERS
    return text[:, :LENGTH], text[:, LENGTH]


def train(model, steps):
    """The losses of so many steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    losses = []
    for step in range(steps):
        letters, following = batch(step)
        loss = F.cross_entropy(model(letters), following)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    torch.manual_seed(0)
    losses = train(Mixer(), 300)
    print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} after {len(losses)} steps")
