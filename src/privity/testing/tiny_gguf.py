"""A llama of 0.5 MB that llama.cpp loads in an instant: random weights, one token a byte. What it writes is noise."""

from pathlib import Path

import gguf
import numpy as np

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""A chat template that knows nothing of tools."""

CONTEXT = 1024
"""Tokens that it claims to have been trained for."""

WIDTH = 64
"""Numbers of a token's vector."""

_INNER, _LAYERS, _HEADS = 128, 2, 4
_SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
_UNKNOWN, _BEGIN, _END, _, _END_OF_TURN = range(len(_SPECIAL))


def write_tiny_gguf(
    path: Path, *, context: int = CONTEXT, chat_template: str | None = CHATML, pooling: int | None = None, seed: int = 0
) -> Path:
    """Write the file and return its path.

    Args:
        path: where to.
        context: tokens that the header names.
        chat_template: a Jinja template; None leaves it out.
        pooling: llama.cpp's pooling type, which makes it a model for embeddings.
        seed: of the weights.
    """
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, context, pooling)
    _vocabulary(writer, chat_template)
    _weights(writer, np.random.default_rng(seed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter, context: int, pooling: int | None) -> None:
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // _HEADS)
    if pooling is not None:
        writer.add_pooling_type(gguf.PoolingType(pooling))


def _vocabulary(writer: gguf.GGUFWriter, chat_template: str | None) -> None:
    kinds = [gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * (len(_SPECIAL) - 1) + [gguf.TokenType.BYTE] * 256
    tokens = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(_UNKNOWN)
    writer.add_bos_token_id(_BEGIN)
    writer.add_eos_token_id(_END_OF_TURN)
    writer.add_add_space_prefix(value=False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)


def _weights(writer: gguf.GGUFWriter, random: np.random.Generator) -> None:
    tokens = len(_SPECIAL) + 256
    shapes = {"token_embd": (tokens, WIDTH), "output": (tokens, WIDTH)}
    for layer in range(_LAYERS):
        shapes |= {f"blk.{layer}.attn_{part}": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
        shapes |= {f"blk.{layer}.ffn_{part}": (_INNER, WIDTH) for part in ("gate", "up")}
        shapes[f"blk.{layer}.ffn_down"] = (WIDTH, _INNER)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(0, 0.1, shape).astype(np.float32))
    norms = ["output_norm", *(f"blk.{layer}.{part}_norm" for layer in range(_LAYERS) for part in ("attn", "ffn"))]
    for name in norms:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
