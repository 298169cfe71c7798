"""A BERT sentence encoder, as its authors publish it, converted to a Q8_0 GGUF file that llama.cpp runs.

Runs as a child process (see `children.answer`), so that numpy is not kept in memory. It takes `{"weights", "vocab",
"config", "out", "name", "organization", "licence", "source"}`, the first four being paths, and answers with `{}`.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from privity.engines.embedded.children import ChildError, answer

_WORD_START: Final = "\u2581"
"""llama.cpp marks the beginning of a word, where WordPiece marks its continuation with ##."""
_SPECIAL: Final = {"[CLS]": "bos", "[SEP]": "sep", "[UNK]": "unk", "[PAD]": "pad", "[MASK]": "mask"}
_KEPT_F32: Final = ("position_embd.weight", "token_types.weight")
"""llama.cpp adds these to the activations as they are."""
_UNUSED: Final = ("embeddings.position_ids", "pooler.", "cls.")
"""Not needed for mean pooling."""


def convert(argument: dict[str, Any]) -> dict[str, object]:
    """Convert one model.

    Raises:
        ChildError: `not-bert`, with what is not as it should be.
    """
    try:
        config = json.loads(Path(argument["config"]).read_bytes())
        vocabulary = Path(argument["vocab"]).read_text(encoding="utf-8").split("\n")
        _check(config)
        writer = gguf.GGUFWriter(argument["out"], gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.BERT])
        _describe(writer, argument, config)
        _add_vocabulary(writer, vocabulary[:-1] if vocabulary[-1] == "" else vocabulary, config)
        for name, tensor in _tensors(Path(argument["weights"]), config["num_hidden_layers"]):
            _add_tensor(writer, name, tensor)
    except (KeyError, ValueError, TypeError, SafetensorError) as error:
        raise ChildError("not-bert", f"{type(error).__name__}: {error}") from error
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {}


def _check(config: Mapping[str, Any]) -> None:
    """Refuse what llama.cpp would run wrongly."""
    wanted = {"model_type": "bert", "hidden_act": "gelu"}
    for key, value in wanted.items():
        if config.get(key) != value:
            raise ChildError("not-bert", f"its {key} is {config.get(key)!r}, not {value!r}")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise ChildError("not-bert", "its positions are not absolute")


def _describe(writer: Any, argument: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Write what the model is, where it comes from, and its shape."""
    writer.add_name(argument["name"])
    for key, add in (("organization", writer.add_organization), ("licence", writer.add_license)):
        if argument.get(key):
            add(argument[key])
    writer.add_source_url(argument["source"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(value=False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)


def _add_vocabulary(writer: Any, tokens: Sequence[str], config: Mapping[str, Any]) -> None:
    """Write the WordPiece vocabulary in llama.cpp's spelling."""
    if len(tokens) != config["vocab_size"]:
        raise ChildError("not-bert", f"vocab.txt has {len(tokens)} tokens, config.json says {config['vocab_size']}")
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([_spell(token) for token in tokens])
    writer.add_token_types([_type(token) for token in tokens])
    writer.add_token_type_count(config["type_vocab_size"])
    for token, role in _SPECIAL.items():
        getattr(writer, f"add_{role}_token_id")(tokens.index(token))
    writer.add_eos_token_id(tokens.index("[SEP]"))


def _is_bracketed(token: str) -> bool:
    return len(token) > 2 and token.startswith("[") and token.endswith("]")  # [CLS], [unused7]; but not [ itself


def _spell(token: str) -> str:
    if _is_bracketed(token):
        return token
    return token.removeprefix("##") if token.startswith("##") else _WORD_START + token


def _type(token: str) -> int:
    if token in _SPECIAL:
        return int(gguf.TokenType.UNKNOWN if token == "[UNK]" else gguf.TokenType.CONTROL)  # noqa: S105  # no password
    return int(gguf.TokenType.UNUSED if _is_bracketed(token) else gguf.TokenType.NORMAL)


def _tensors(weights: Path, layers: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the tensors under llama.cpp's names."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, layers)
    with safe_open(weights, framework="numpy") as file:
        for key in sorted(file.keys()):
            ours = key.removeprefix("bert.")
            if ours.startswith(_UNUSED):
                continue
            name = names.get_name(ours, try_suffixes=(".weight", ".bias"))
            if name is None:
                raise ChildError("not-bert", f"it has a tensor {key} that a BERT has not")
            yield name, file.get_tensor(key).astype(np.float32)


def _add_tensor(writer: Any, name: str, tensor: NDArray[np.float32]) -> None:
    """Add a matrix as Q8_0; a vector, and what llama.cpp wants unquantised, as F32."""
    block, _ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType.Q8_0]
    if tensor.ndim != 2 or name in _KEPT_F32 or tensor.shape[-1] % block != 0:
        writer.add_tensor(name, tensor)
        return
    quantised = gguf.quants.quantize(tensor, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor(name, quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)


if __name__ == "__main__":
    sys.exit(answer(convert))
