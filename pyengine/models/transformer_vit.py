"""Vision transformers."""

from collections import OrderedDict

import pyengine as pe
from pyengine import nn

from .blocks import with_weights

EPS = 1e-6


class EncoderBlock(nn.Module):
    """Attention, then two linear layers, each of the normalized input and added to it."""

    def __init__(self, heads, width, hidden, dropout, attention_dropout):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, EPS)
        self.self_attention = nn.MultiheadAttention(width, heads, attention_dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = nn.LayerNorm(width, EPS)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width),
                                 nn.Dropout(dropout))  # fmt: skip
        for layer in (self.mlp[0], self.mlp[3]):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, 0.0, 1e-6)

    def forward(self, x):
        inner = self.ln_1(x)
        x = x + self.dropout(self.self_attention(inner, inner, inner, need_weights=False)[0])
        return x + self.mlp(self.ln_2(x))


class VisionTransformer(nn.Module):
    """A picture as a sequence of patches. (Dosovitskiy et al. 2021, "An image is worth 16x16 words")

    Arguments: image_size, which patch_size divides; num_layers, num_heads, hidden_dim, mlp_dim; dropout,
    attention_dropout; num_classes. Shape: (N, 3, image_size, image_size) -> (N, num_classes).
    """

    def __init__(
        self, image_size=224, patch_size=16, num_layers=12, num_heads=12, hidden_dim=768, mlp_dim=3072, dropout=0.0,
        attention_dropout=0.0, num_classes=1000,
    ):  # fmt: skip
        super().__init__()
        if image_size % patch_size:
            raise ValueError(f"VisionTransformer: image_size {image_size} is no multiple of patch_size {patch_size}")
        self.image_size, self.patch_size = image_size, patch_size
        self.conv_proj = nn.Conv2d(3, hidden_dim, patch_size, patch_size)
        self.class_token = nn.Parameter(pe.zeros(1, 1, hidden_dim))
        self.encoder = nn.Module()
        places = (image_size // patch_size) ** 2 + 1
        self.encoder.pos_embedding = nn.Parameter(pe.empty(1, places, hidden_dim))
        nn.init.normal_(self.encoder.pos_embedding, 0.0, 0.02)
        self.encoder.dropout = nn.Dropout(dropout)
        blocks = [EncoderBlock(num_heads, hidden_dim, mlp_dim, dropout, attention_dropout) for _ in range(num_layers)]
        self.encoder.layers = nn.Sequential(
            OrderedDict((f"encoder_layer_{number}", block) for number, block in enumerate(blocks))
        )
        self.encoder.ln = nn.LayerNorm(hidden_dim, EPS)
        self.heads = nn.Sequential(OrderedDict(head=nn.Linear(hidden_dim, num_classes)))
        nn.init.trunc_normal_(self.conv_proj.weight, std=(1 / (3 * patch_size**2)) ** 0.5)
        for layer in (self.conv_proj, self.heads.head):
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.heads.head.weight)

    def forward(self, x):
        if x.ndim != 4 or x.shape[1:] != (3, self.image_size, self.image_size):
            size = self.image_size
            raise ValueError(f"VisionTransformer: pictures (N, 3, {size}, {size}) are needed, got shape {x.shape}")
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        first = self.class_token.expand(x.shape[0], -1, -1)
        encoder = self.encoder
        x = encoder.dropout(pe.cat([first, patches], 1) + encoder.pos_embedding)
        return self.heads(encoder.ln(encoder.layers(x)[:, 0]))


def vit_b_16(weights=None, num_classes=1000, **options):
    """VisionTransformer with torchvision's keys, 86.6 million parameters; options are VisionTransformer's.

    >>> import pyengine as pe
    >>> net = vit_b_16(num_classes=10, image_size=32, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32).eval()
    >>> net(pe.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    return with_weights(VisionTransformer(num_classes=num_classes, **options), weights)
