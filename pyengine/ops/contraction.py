"""einsum: every pair of operands becomes one batched product."""

from math import prod as _size

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import tensor_only
from pyengine.ops.diagonals import diagonal
from pyengine.ops.products import _product

__all__ = ["einsum"]

# subscripts within are integers: letters, and -1, -2, ... for the axes of "...", counted from the right


def _letters(term: str, equation: str) -> list:
    """A term as letters, and Ellipsis for '...'."""
    out: list = []
    i = 0
    while i < len(term):
        if term[i].isspace():
            i += 1
        elif term[i : i + 3] == "...":
            if Ellipsis in out:
                raise RuntimeError(f"einsum: '...' comes twice in {term!r} of {equation!r}")
            out.append(Ellipsis)
            i += 3
        elif term[i].isascii() and term[i].isalpha():
            out.append(term[i])
            i += 1
        else:
            raise RuntimeError(f"einsum: {term[i]!r} in {equation!r} is no subscript")
    return out


def _spread(letters: list, axes: int, what: str) -> list:
    """The letters with '...' written out as so many axes."""
    if Ellipsis not in letters:
        return letters
    at = letters.index(Ellipsis)
    if axes < 0:
        raise RuntimeError(f"einsum: {what} has fewer axes than subscripts")
    return [*letters[:at], *range(-axes, 0), *letters[at + 1 :]]


def _parse(equation: str, operands: list[Tensor]) -> tuple[list[list], list]:
    """The subscripts of every operand and of the result."""
    left, arrow, right = equation.partition("->")
    terms = [_letters(term, equation) for term in left.split(",")]
    if len(terms) != len(operands):
        raise RuntimeError(f"einsum: {len(terms)} terms in {equation!r} for {len(operands)} operands")
    spread, widest = [], 0
    for i, (term, x) in enumerate(zip(terms, operands, strict=True)):
        term = _spread(term, x.ndim - len(term) + 1, f"operand {i} of shape {x.shape}")
        if len(term) != x.ndim:
            raise RuntimeError(f"einsum: {len(term)} subscripts in {equation!r} for operand {i} of shape {x.shape}")
        widest = max(widest, sum(isinstance(s, int) for s in term))
        spread.append(term)
    if arrow:
        out = _spread(_letters(right, equation), widest, "the result")
    else:
        named = [s for term in spread for s in term if isinstance(s, str)]
        out = [*range(-widest, 0), *sorted(s for s in set(named) if named.count(s) == 1)]
    known = {s for term in spread for s in term}
    for s in out:
        if out.count(s) > 1 or s not in known:
            raise RuntimeError(f"einsum: result subscript {s!r} of {equation!r} is unknown or comes twice")
    return spread, out


def _alone(x: Tensor, term: list) -> tuple[Tensor, list]:
    """x with every subscript once: repeated ones are diagonals."""
    term = list(term)
    for s in list(dict.fromkeys(term)):
        while term.count(s) > 1:
            a = term.index(s)
            b = term.index(s, a + 1)
            if x.shape[a] != x.shape[b]:
                raise RuntimeError(f"einsum: subscript {s!r} stands for {x.shape[a]} and {x.shape[b]} in {x.shape}")
            x = diagonal(x, 0, a, b)
            del term[b], term[a]
            term.append(s)
    return x, term


def _summed(x: Tensor, term: list, keep: set) -> tuple[Tensor, list]:
    """x summed over the subscripts that nobody needs any more."""
    gone = [i for i, s in enumerate(term) if s not in keep]
    if not gone:
        return x, term
    kind = x.dtype
    x = x.sum(gone)
    return (x if x.dtype is kind else x.to(kind)), [s for s in term if s in keep]


def _arranged(x: Tensor, term: list, groups: list[list]) -> Tensor:
    """x with the axes in the order of the groups, one axis a group; axes of size 1 stand in for those it has not."""
    order = [s for group in groups for s in group]
    x = _core.permute(x, [term.index(s) for s in order if s in term]) if term else x
    at = iter(x.shape)
    sizes = [[next(at) if s in term else 1 for s in group] for group in groups]
    return _core.reshape(x, [_size(group) for group in sizes])


def _contract(x: Tensor, a: list, y: Tensor, b: list, keep: set) -> tuple[Tensor, list]:
    """The product of two operands, summed over what only they share."""
    x, a = _summed(x, a, keep | set(b))
    y, b = _summed(y, b, keep | set(a))
    length: dict = {}
    for tensor, term in ((x, a), (y, b)):
        for s, n in zip(term, tensor.shape, strict=True):
            length[s] = n if length.get(s, 1) == 1 else length[s]
    # a subscript of size 1 beside a longer one is broadcast
    x = _core.expand(x, [length[s] if s in b else n for s, n in zip(a, x.shape, strict=True)])
    y = _core.expand(y, [length[s] if s in a else n for s, n in zip(b, y.shape, strict=True)])
    batch = [s for s in a if s in b and s in keep]
    inside = [s for s in a if s in b and s not in keep]
    rows, columns = [s for s in a if s not in b], [s for s in b if s not in a]
    left, right = _arranged(x, a, [batch, rows, inside]), _arranged(y, b, [batch, inside, columns])
    out = _product(left, right, "einsum") if inside else left * right
    term = [*batch, *rows, *columns]
    return _core.reshape(out, [length[s] for s in term]), term


def _sublists(first: Tensor, rest: tuple) -> tuple[str, tuple]:
    """einsum(x, [0, 1], y, [1, 2], [0, 2]) as an equation."""
    parts = [first, *rest]

    def text(numbers) -> str:
        if any(n is not Ellipsis and (not isinstance(n, int) or not 0 <= n < 52) for n in numbers):
            raise RuntimeError(f"einsum: subscripts must be 0 to 51 or ..., got {numbers}")
        return "".join("..." if n is Ellipsis else chr(97 + n) if n < 26 else chr(39 + n) for n in numbers)

    equation = ",".join(text(numbers) for numbers in parts[1::2][: len(parts) // 2])
    return equation + ("->" + text(parts[-1]) if len(parts) % 2 else ""), tuple(parts[: len(parts) // 2 * 2 : 2])


def einsum(equation: str, *operands) -> Tensor:
    """Sums of products by subscripts: "ij,jk->ik" is a matrix product, "...ii->...i" a diagonal, "i,j" an outer
    product. Operands are contracted from left to right, each step as one batched product.

    RuntimeError names the equation where subscripts and shapes do not fit.

    >>> einsum("ij,j->i", pe.tensor([[1.0, 2.0], [3.0, 4.0]]), pe.tensor([1.0, 10.0])).tolist()
    [21.0, 43.0]
    """
    if isinstance(equation, Tensor):
        equation, operands = _sublists(equation, operands)
    elif len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    if not isinstance(equation, str):
        raise TypeError(f"einsum: the equation must be text, got {type(equation).__name__}")
    tensors = [tensor_only(x, "einsum", "every operand") for x in operands]
    if not tensors:
        raise RuntimeError("einsum: at least one operand is needed")
    if any(x.dtype is not tensors[0].dtype for x in tensors):
        raise RuntimeError(f"einsum: dtypes differ: {[x.dtype.name for x in tensors]}")
    terms, out = _parse(equation, tensors)
    sizes: dict = {}
    for term, x in zip(terms, tensors, strict=True):
        for s, n in zip(term, x.shape, strict=True):
            if sizes.setdefault(s, n) != n and 1 not in (n, sizes[s]):
                raise RuntimeError(f"einsum: subscript {s!r} of {equation!r} stands for {sizes[s]} and {n}")
            sizes[s] = max(sizes[s], n) if n else 0
    x, term = _alone(tensors[0], terms[0])
    for i, y in enumerate(tensors[1:], 1):
        keep = {s for later in terms[i + 1 :] for s in later} | set(out)
        x, term = _contract(x, term, *_alone(y, terms[i]), keep)
    x, term = _summed(x, term, set(out))
    return _core.permute(x, [term.index(s) for s in out]) if out else x
