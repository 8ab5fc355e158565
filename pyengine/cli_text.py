"""The commands of the shell that read and write text."""

import itertools
import sys
import time

SHORTEST_COLUMN = 6


def add_commands(commands):
    """Adds `embed` and `generate` to an argparse's subparsers."""
    embed = commands.add_parser("embed", help="texts as vectors: how much they resemble each other")
    embed.add_argument("texts", nargs="+", metavar="TEXT")
    embed.add_argument("--weights", required=True, metavar="FILE",
                       help="a BERT encoder (safetensors or torch.save), its config.json beside it")  # fmt: skip
    embed.add_argument("--tokenizer", metavar="FILE", help="tokenizer.json (the one beside the weights)")
    embed.add_argument("--vectors", action="store_true", help="print the vectors, not their cosines")
    embed.add_argument("--threads", type=int, metavar="N", help="threads to use; the result does not depend on it")
    embed.set_defaults(run=_embed)

    more = commands.add_parser("generate", help="go on with a text")
    more.add_argument("prompt", metavar="PROMPT")
    more.add_argument("--weights", required=True, metavar="FILE", help="a Llama decoder: GGUF, or safetensors with its "
                      "config.json beside it; or what `pyengine train text` wrote")  # fmt: skip
    more.add_argument("--tokenizer", metavar="FILE", help="tokenizer.json or GGUF (the weights' own)")
    more.add_argument("--tokens", type=int, default=128, metavar="N", help="at most so many (%(default)s)")
    more.add_argument("--temperature", type=float, default=0.0, help="0: always the likeliest token (%(default)s)")
    more.add_argument("--top-k", type=int, metavar="K", help="only the K likeliest tokens")
    more.add_argument("--top-p", type=float, metavar="P", help="only the likeliest tokens that make up P")
    more.add_argument("--min-p", type=float, metavar="P", help="only tokens of P times the likeliest's probability")
    more.add_argument("--repetition-penalty", type=float, default=1.0, metavar="X", help="above 1: fewer repetitions")
    more.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end before TEXT; may be repeated")
    more.add_argument("--chat", action="store_true", help="PROMPT is a question to an assistant (ChatML)")
    more.add_argument("--seed", type=int, default=0, help="what the dice follow from (%(default)s)")
    more.add_argument("--threads", type=int, metavar="N", help="threads to use; the result does not depend on it")
    more.set_defaults(run=_generate)


def _tokenizer(options):
    import os

    from pyengine.data import load_tokenizer

    place = options.tokenizer
    if place is None:
        weights = options.weights
        place = weights if weights.endswith(".gguf") else os.path.dirname(weights) or "."
    return load_tokenizer(place)


def _start(options):
    import pyengine

    if options.threads is not None:
        pyengine.set_num_threads(options.threads)


def _embed(options):
    from pyengine.models import bert, embed_texts

    _start(options)
    tokenizer = _tokenizer(options)
    net = bert(options.weights).eval()
    begin = time.perf_counter()
    vectors = embed_texts(net, tokenizer, options.texts)
    seconds = time.perf_counter() - begin
    if options.vectors:
        for row in vectors.tolist():
            print(" ".join(f"{number:.6f}" for number in row))
    else:
        for text, row in zip(options.texts, (vectors @ vectors.transpose(0, 1)).tolist(), strict=True):
            print(" ".join(f"{cosine:{SHORTEST_COLUMN}.3f}" for cosine in row), f" {text}")
    print(f"{len(options.texts) / seconds:.1f} texts/s", file=sys.stderr)
    return 0


def _decoder(options):
    """(net, tokenizer, text -> tokens, the tokens that end a text)."""
    from pyengine.models import llama
    from pyengine.train.run import read_text_net

    trained = read_text_net(options.weights)
    if trained is None:
        tokenizer = _tokenizer(options)
        net = llama(options.weights).eval()
        return net, tokenizer, lambda text: tokenizer.encode(text).ids, _ends(tokenizer)
    net, spelling = trained
    return net, spelling, spelling.encode, []


def _generate(options):
    from pyengine.models import stream
    from pyengine.models.generation import spell

    _start(options)
    net, tokenizer, encode, end = _decoder(options)
    prompt = options.prompt
    if options.chat:
        prompt = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    else:
        print(prompt, end="", flush=True)
    times = [time.perf_counter()]
    ids = encode(prompt)
    tokens = stream(net, ids, _room(net, ids, options.tokens), stop=[*end], seed=options.seed,
                    temperature=options.temperature, top_k=options.top_k, top_p=options.top_p, min_p=options.min_p,
                    repetition_penalty=options.repetition_penalty)  # fmt: skip
    for piece in spell(tokenizer, _noted(tokens, times), options.stop):
        print(piece, end="", flush=True)
    print()
    print(_speed(len(ids), times), file=sys.stderr)
    return 0


def _room(net, ids, wanted):
    """How many of the wanted tokens fit behind a prompt that fits itself: a small net has few positions."""
    longest = getattr(net, "longest", None)
    return wanted if longest is None or len(ids) >= longest else min(wanted, longest - len(ids))


def _noted(tokens, times):
    """The tokens, and in times when each came."""
    for token in tokens:
        times.append(time.perf_counter())
        yield token


def _speed(read, times):
    """What the times of the start and of each token say."""
    if len(times) < 3:
        return f"{read} tokens read, {len(times) - 1} written"
    gaps = sorted(after - before for before, after in itertools.pairwise(times[1:]))
    return (
        f"{read} tokens read in {times[1] - times[0]:.3f} s; {len(gaps)} more: "
        f"{len(gaps) / (times[-1] - times[1]):.1f} tokens/s (median token {1e3 * gaps[len(gaps) // 2]:.2f} ms)"
    )


def _ends(tokenizer):
    """The tokens by which texts and answers end."""
    names = ("<|im_end|>", "<|endoftext|>", "</s>", "<|eot_id|>", "<|end_of_text|>")
    return [number for name in names if (number := tokenizer.token_to_id(name)) is not None]
