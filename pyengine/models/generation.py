"""Tokens and texts that a decoder goes on with."""

import pyengine as pe

from .sampling import Sampler


def stream(model, prompt, max_new_tokens=128, *, stop=(), cache=None, **sampling):
    """The tokens that follow a prompt, one after another, as the model chooses them.

    Arguments: model, a decoder such as Llama or GPT2, called as model(ids, cache, last=True); prompt, token ids (one or
    more); max_new_tokens; stop, sequences of tokens (or single ones) at which it ends, and of which nothing is given
    out; cache, of model.new_cache(), which may hold tokens before the prompt; sampling, Sampler's arguments: by default
    the likeliest token is taken.
    Errors: ValueError for an empty prompt, options out of range or a cache that is too small, before anything is run.

    >>> pe.manual_seed(0)
    Generator(seed=0, offset=0)
    >>> net = pe.models.llama(
    ...     vocab_size=20, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    >>> len(list(stream(net, [1, 2, 3], 5)))
    5
    """
    prompt = [int(token) for token in prompt]
    ends = [(token,) if isinstance(token, int) else tuple(token) for token in stop]
    if not prompt or max_new_tokens < 0 or not all(ends):
        raise ValueError(
            f"generate: a prompt, max_new_tokens of at least 0 and stop sequences that are not empty are needed, got "
            f"{len(prompt)} tokens, {max_new_tokens} and {list(stop)}"
        )
    sampler = Sampler(**sampling)
    if cache is None:
        cache = model.new_cache(1, len(prompt) + max_new_tokens)
    cache.reserve(len(prompt) + max(max_new_tokens - 1, 0))
    tokens = _tokens(model, prompt, max_new_tokens, sampler, cache)
    return held_back(((token,) for token in tokens), ends) if ends else tokens


def _tokens(model, prompt, count, sampler, cache):
    """Every token as soon as it is chosen; the last one is not in the cache."""
    seen, given = list(prompt), prompt
    read = model.reader() if hasattr(model, "reader") else model
    for _ in range(count):
        with pe.inference_mode():
            logits = read(pe.tensor([given]), cache, last=True)[0, -1].numpy()
        token = sampler.choose(logits, seen)
        yield token
        seen.append(token)
        given = [token]


def generate(model, prompt, max_new_tokens=128, **options):
    """The list of tokens that follow a prompt; arguments as stream's."""
    return list(stream(model, prompt, max_new_tokens, **options))


def stream_text(model, tokenizer, prompt, max_new_tokens=128, *, stop=(), end=(), **options):
    """The text that follows a prompt, in pieces.

    Arguments: tokenizer, as data.load_tokenizer gives it; stop, texts at which it ends and of which nothing is given
    out; end, tokens of which the same holds; the others as stream's.
    """
    return spell(tokenizer, stream(model, tokenizer.encode(prompt).ids, max_new_tokens, stop=end, **options), stop)


def spell(tokenizer, tokens, stop=()):
    """The text of tokens, in pieces, up to the first of the texts stop."""
    ends = (stop,) if isinstance(stop, str) else tuple(stop)
    if not all(ends):
        raise ValueError("generate: a stop text is empty")
    pieces = _spelled(tokenizer, tokens)
    return held_back(pieces, ends, whole=True) if ends else pieces


def generate_text(model, tokenizer, prompt, max_new_tokens=128, **options):
    """The text that follows a prompt; arguments as stream_text's."""
    return "".join(stream_text(model, tokenizer, prompt, max_new_tokens, **options))


def _spelled(tokenizer, tokens):
    """The text of tokens as it comes, without halves of characters; what a token adds may depend on those before."""
    pending, shown = [], ""
    for token in tokens:
        pending.append(token)
        text = tokenizer.decode(pending)
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            continue
        if len(text) > len(shown):
            yield text[len(shown) :]
        pending, shown = pending[-1:], tokenizer.decode(pending[-1:])
    rest = tokenizer.decode(pending)[len(shown) :]
    if rest:
        yield rest


def held_back(pieces, ends, whole=False):
    """What pieces (tuples or texts) say up to the first of ends, each part once no end can begin in it.

    Gives out single items, or with whole=True what is certain at once.
    """
    kept = None
    for piece in pieces:
        kept = piece if kept is None else kept + piece
        at = min((place for end in ends if (place := _find(kept, end)) >= 0), default=-1)
        certain = len(kept) - max(_begun(kept, end) for end in ends) if at < 0 else at
        if certain:
            yield from (kept[:certain],) if whole else kept[:certain]
        if at >= 0:
            return
        kept = kept[certain:]
    if kept:
        yield from (kept,) if whole else kept


def _find(sequence, end):
    size = len(end)
    return next((i for i in range(len(sequence) - size + 1) if sequence[i : i + size] == end), -1)


def _begun(sequence, end):
    """How many of the last items are the first ones of end."""
    return next((n for n in range(min(len(end) - 1, len(sequence)), 0, -1) if sequence[-n:] == end[:n]), 0)
