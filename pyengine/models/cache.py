"""Keys and values of the tokens that a decoder has seen."""

import pyengine as pe


class KVCache:
    """Preallocated keys and values of every layer, written in place as tokens come.

    Arguments: layers; batch; heads, of keys and values; capacity, tokens that fit; head_dim; window, how many of the
    last tokens a sliding window sees: then min(capacity, window) places are a ring, and it is never full.
    Errors: ValueError that says how full it is when tokens do not fit; then nothing has been written.

    >>> cache = KVCache(layers=1, batch=1, heads=2, capacity=4, head_dim=8)
    >>> k, v = cache.append(0, pe.ones(1, 2, 3, 8), pe.ones(1, 2, 3, 8))
    >>> cache.advance(3)
    >>> cache, k.shape
    (KVCache(3 of 4 tokens, 1 layers, 512 bytes), (1, 2, 3, 8))
    """

    def __init__(self, layers, batch, heads, capacity, head_dim, window=None):
        sizes = {"layers": layers, "batch": batch, "heads": heads, "capacity": capacity, "head_dim": head_dim}
        sizes |= {} if window is None else {"window": window}
        for name, size in sizes.items():
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"KVCache: {name} must be a positive integer, got {size!r}")
        self.window = window
        self.ring = window is not None and window <= capacity
        self.capacity = window if self.ring else capacity
        shape = (batch, heads, self.capacity, head_dim)
        self.keys, self.values = ([pe.empty(*shape) for _ in range(layers)] for _ in range(2))
        self.length = 0

    def reserve(self, count):
        """Says before a step of count tokens whether they fit."""
        if not self.ring and self.length + count > self.capacity:
            raise ValueError(
                f"KVCache: full: {self.length} of {self.capacity} tokens are used, {count} more do not fit"
            )

    def append(self, layer, key, value):
        """Writes the keys and values (B, H, T, D) of the next T tokens of a layer; all that these tokens may see, in
        order, or for a single token in a ring in the ring's order: views of the cache where that is possible. Nothing
        of it is recorded."""
        keys, values, steps = self.keys[layer], self.values[layer], key.shape[2]
        expected = (*keys.shape[:2], steps, keys.shape[3])
        if key.shape != expected or value.shape != expected:
            raise ValueError(f"KVCache: keys {key.shape} and values {value.shape} do not fit a cache of {keys.shape}")
        if pe.is_grad_enabled():
            key, value = key.detach(), value.detach()
        start, end = self.length, self.length + steps
        if end <= self.capacity:
            keys[:, :, start:end] = key
            values[:, :, start:end] = value
            return keys[:, :, :end], values[:, :, :end]
        self.reserve(steps)
        if steps > 1:
            return self._around(keys, key), self._around(values, value)
        place = start % self.capacity
        keys[:, :, place : place + 1] = key
        values[:, :, place : place + 1] = value
        return keys, values

    def _around(self, memory, new):
        """Several tokens beyond the ring's end: the window before them and they themselves, in order."""
        size, steps = self.capacity, new.shape[2]
        begin = self.length % size if self.length > size else 0
        old = pe.cat([memory[:, :, begin:], memory[:, :, :begin]], 2)[:, :, : min(self.length, size)]
        seen = pe.cat([old, new], 2)
        for place in range(max(self.length, self.length + steps - size), self.length + steps):
            memory[:, :, place % size] = new[:, :, place - self.length]
        return seen

    def advance(self, count):
        """Counts tokens that every layer has appended."""
        self.length += count

    def truncate(self, length):
        """Forgets all tokens from this one on. ValueError: there are not so many, or a ring has overwritten some."""
        if not 0 <= length <= self.length or (self.ring and self.length > self.capacity):
            raise ValueError(f"KVCache: {self!r} cannot be cut to {length} tokens")
        self.length = length

    @property
    def nbytes(self):
        """Memory of all layers, used or not."""
        return sum(4 * memory.numel() for memory in (*self.keys, *self.values))

    def __repr__(self):
        kind = f"a ring of {self.capacity}" if self.ring else f"{self.capacity}"
        return f"KVCache({self.length} of {kind} tokens, {len(self.keys)} layers, {self.nbytes} bytes)"
