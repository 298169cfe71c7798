import json
from pathlib import Path
from typing import Any

import pytest

from privity.protocol.hpke import exported_secret
from privity.protocol.xwing import PrivateKey

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors/secret_exchange.json").read_text())


@pytest.mark.parametrize("vector", VECTORS)
def test_a_vector_s_encapsulation_exports_its_secret(vector: dict[str, Any]) -> None:
    key = PrivateKey(bytes.fromhex(vector["private_key_hex"]))
    shared_secret = key.decapsulate(bytes.fromhex(vector["encapsulated_key_hex"]))
    assert exported_secret(shared_secret).hex() == vector["exported_secret_hex"]


def test_every_input_counts() -> None:
    exports = [
        exported_secret(bytes(32)),
        exported_secret(bytes(31) + b"\x01"),
        exported_secret(bytes(32), info=b"x"),
        exported_secret(bytes(32), context=b"x"),
        exported_secret(bytes(32), length=33)[:32],
    ]
    assert len(set(exports)) == len(exports)


@pytest.mark.parametrize("length", [1, 32, 33, 255 * 32])
def test_an_export_has_the_length_that_is_asked_for(length: int) -> None:
    assert len(exported_secret(bytes(32), length=length)) == length


def test_hkdf_s_limit_of_length_holds() -> None:
    with pytest.raises(ValueError, match="8160"):
        exported_secret(bytes(32), length=255 * 32 + 1)
