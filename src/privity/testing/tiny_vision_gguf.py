"""A model that sees, of 0.6 MB in two files: the tiny llama, and a projector of random weights. It describes noise."""

from pathlib import Path
from typing import Final

import gguf
import numpy as np

from privity.testing.tiny_gguf import WIDTH, write_tiny_gguf

IMAGE_TOKENS: Final = 4
"""Tokens that an image is made to, whatever its size; words that the engine puts around them come on top."""

_SIDE, _PATCH, _MERGED = 32, 8, 2
"""Pixels that an image is scaled to, pixels of a patch, and patches of a token, all of them a side."""

_SEEN, _INNER, _HEADS = 32, 64, 2
_PATCHES = (_SIDE // _PATCH) ** 2


def write_tiny_vision_gguf(directory: Path, *, seed: int = 0) -> tuple[Path, Path]:
    """Write `tiny.gguf` and `mmproj-tiny.gguf`, and return their paths.

    The projector is of the type that llama.cpp knows from Gemma 3: it has the fewest tensors, and makes the same number
    of tokens of every image.

    Args:
        directory: where to.
        seed: of the weights.
    """
    model = write_tiny_gguf(directory / "tiny.gguf", seed=seed)
    projector = directory / "mmproj-tiny.gguf"
    writer = gguf.GGUFWriter(projector, "clip")
    _describe(writer)
    random = np.random.default_rng(seed)
    for name, shape in _shapes().items():
        writer.add_tensor(name, random.normal(0, 0.1, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model, projector


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_clip_has_vision_encoder(value=True)
    writer.add_clip_projector_type(gguf.VisionProjectorType.GEMMA3)
    writer.add_vision_image_size(_SIDE)
    writer.add_vision_patch_size(_PATCH)
    writer.add_vision_projector_scale_factor(_MERGED)
    writer.add_vision_embedding_length(_SEEN)
    writer.add_vision_feed_forward_length(_INNER)
    writer.add_vision_block_count(1)
    writer.add_vision_head_count(_HEADS)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_projection_dim(WIDTH)
    writer.add_vision_image_mean([0.5] * 3)
    writer.add_vision_image_std([0.5] * 3)
    writer.add_vision_use_gelu(value=True)


def _shapes() -> dict[str, tuple[int, ...]]:
    """Return the tensors' names and shapes: of the patches, one layer, and the projection into the llama."""
    shapes: dict[str, tuple[int, ...]] = {
        "v.patch_embd.weight": (_SEEN, 3, _PATCH, _PATCH),
        "v.patch_embd.bias": (_SEEN,),
        "v.position_embd.weight": (_PATCHES, _SEEN),
        "mm.soft_emb_norm.weight": (_SEEN,),
        "mm.input_projection.weight": (_SEEN, WIDTH),
    }
    layer = {f"attn_{part}": (_SEEN, _SEEN) for part in ("q", "k", "v", "out")}
    layer |= {"ffn_up": (_INNER, _SEEN), "ffn_down": (_SEEN, _INNER)}
    for name, shape in layer.items():
        shapes |= {f"v.blk.0.{name}.weight": shape, f"v.blk.0.{name}.bias": shape[:1]}
    for norm in ("v.blk.0.ln1", "v.blk.0.ln2", "v.post_ln"):
        shapes |= {f"{norm}.weight": (_SEEN,), f"{norm}.bias": (_SEEN,)}
    return shapes
