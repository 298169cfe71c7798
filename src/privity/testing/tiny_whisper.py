"""A multilingual Whisper model of random weights, made by the test: it loads and answers, and its words are noise."""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from ctranslate2.specs.whisper_spec import WhisperSpec

DEPTH: Final = 8
"""Numbers of an inner vector; real models have 384 and more."""

MELS: Final = 80
FRAMES: Final = 1500
"""Those of one window of 30 s, after the encoder's second convolution."""
MAX_TOKENS: Final = 448

LANGUAGES: Final = ("en", "de", "fr")
_WORDS: Final = (*(f"w{number}" for number in range(100)), "")
"""The empty one tells CTranslate2 that the model is multilingual: others don't have it."""
_SPECIAL: Final = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{code}|>" for code in LANGUAGES),
    *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
)
_TIMES: Final = tuple(f"<|{number * 0.02:.2f}|>" for number in range(1501))
_TOKENS: Final = (*_WORDS, *_SPECIAL, *_TIMES)

END_BIAS: Final = 3.0
"""How much likelier an end is than any word: noise would never come to one."""


def write_tiny_whisper(directory: Path) -> Path:
    """Write the model's files into a new directory, and return it."""
    directory.mkdir()
    spec = WhisperSpec(1, 1, 1, 1)
    random = np.random.default_rng(1)
    _fill_encoder(spec.encoder, random)
    _fill_decoder(spec.decoder, random)
    spec.register_vocabulary(list(_TOKENS))
    spec.config.lang_ids = [_TOKENS.index(f"<|{code}|>") for code in LANGUAGES]
    spec.config.alignment_heads = [(0, 0)]
    spec.config.suppress_ids = spec.config.suppress_ids_begin = []
    spec.validate()
    spec.save(str(directory))
    (directory / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    return directory


def _tokenizer() -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": len(_WORDS) + number, "content": each, **flags} for number, each in enumerate(_SPECIAL)]
    model = {"type": "WordLevel", "vocab": {word: number for number, word in enumerate(_WORDS)}, "unk_token": "w0"}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": model,
    }


def _numbers(random: np.random.Generator, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return random.standard_normal(shape, dtype=np.float32)


def _fill_linear(spec: Any, random: np.random.Generator, size: int, depth: int) -> None:
    spec.weight, spec.bias = _numbers(random, size, depth), _numbers(random, size)


def _fill_norm(spec: Any) -> None:
    spec.gamma, spec.beta = np.ones(DEPTH, np.float32), np.zeros(DEPTH, np.float32)


def _fill_attention(spec: Any, random: np.random.Generator, *sizes: int) -> None:
    _fill_norm(spec.layer_norm)
    for linear, size in zip(spec.linear, sizes, strict=True):
        _fill_linear(linear, random, size, DEPTH)


def _fill_feed_forward(spec: Any, random: np.random.Generator) -> None:
    _fill_norm(spec.layer_norm)
    _fill_linear(spec.linear_0, random, 4 * DEPTH, DEPTH)
    _fill_linear(spec.linear_1, random, DEPTH, 4 * DEPTH)


def _fill_encoder(spec: Any, random: np.random.Generator) -> None:
    spec.conv1.weight, spec.conv1.bias = _numbers(random, DEPTH, MELS, 3), _numbers(random, DEPTH)
    spec.conv2.weight, spec.conv2.bias = _numbers(random, DEPTH, DEPTH, 3), _numbers(random, DEPTH)
    spec.position_encodings.encodings = _numbers(random, FRAMES, DEPTH)
    _fill_norm(spec.layer_norm)
    (layer,) = spec.layer
    _fill_attention(layer.self_attention, random, 3 * DEPTH, DEPTH)
    _fill_feed_forward(layer.ffn, random)


def _fill_decoder(spec: Any, random: np.random.Generator) -> None:
    spec.embeddings.weight = spec.projection.weight = _numbers(random, len(_TOKENS), DEPTH)
    spec.projection.bias = np.zeros(len(_TOKENS), np.float32)
    spec.projection.bias[len(_WORDS)] = END_BIAS
    spec.position_encodings.encodings = _numbers(random, MAX_TOKENS, DEPTH)
    _fill_norm(spec.layer_norm)
    (layer,) = spec.layer
    _fill_attention(layer.self_attention, random, 3 * DEPTH, DEPTH)
    _fill_attention(layer.attention, random, DEPTH, 2 * DEPTH, DEPTH)
    _fill_feed_forward(layer.ffn, random)
