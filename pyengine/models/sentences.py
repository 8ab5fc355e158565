"""Texts as vectors."""

import pyengine as pe
from pyengine.nn import functional as F


def sentence_embeddings(net, input_ids, attention_mask=None):
    """The mean of a net's (B, T, width) over the places that are no padding, scaled to length 1: (B, width). (Reimers &
    Gurevych 2019, "Sentence-BERT")"""
    x = net(input_ids, attention_mask)
    if attention_mask is None:
        return F.normalize(x.mean(1), dim=1)
    kept = attention_mask.float()[:, :, None]
    return F.normalize((x * kept).sum(1) / kept.sum(1).clamp(min=1e-9), dim=1)


def embed_texts(net, tokenizer, texts, batch_size=32):
    """sentence_embeddings of texts: (texts, width).

    Arguments: net, a Bert in evaluation mode; tokenizer, as data.load_tokenizer gives it; batch_size, texts at a time,
    of similar length so that few places are padding. Texts that are too long for the net are cut.
    """
    texts = list(texts)
    if not texts:
        raise ValueError("embed_texts: no texts")
    tokenizer.enable_truncation(net.longest)
    try:
        ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    finally:
        tokenizer.no_truncation()
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    rows = [None] * len(ids)
    with pe.inference_mode():
        for start in range(0, len(ids), batch_size):
            chosen = order[start : start + batch_size]
            longest = max(len(ids[chosen[-1]]), 1)
            padded = pe.tensor([ids[i] + [0] * (longest - len(ids[i])) for i in chosen])
            mask = None
            if any(len(ids[i]) < longest for i in chosen):
                mask = pe.tensor([[1] * len(ids[i]) + [0] * (longest - len(ids[i])) for i in chosen])
            for i, row in zip(chosen, sentence_embeddings(net, padded, mask), strict=True):
                rows[i] = row
        return pe.stack(rows)
