import shutil
from pathlib import Path

import pytest

from privity.cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return a directory with the example, and a mesh where it names it."""
    assert main(["mesh", str(tmp_path / "mesh")]) == 0
    capsys.readouterr()
    shutil.copy(ROOT / "docs" / "gateway.toml", tmp_path)
    return tmp_path


def test_the_example_is_valid(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = directory / "gateway.toml"
    assert main(["config", "check", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("Note: names and the owner of Qwen/Qwen2.5-1.5B-Instruct given here aren't signed")
    assert err.count("\n") == 1
    first, empty, head, row = out.splitlines()
    assert (
        first
        == f"{path} is valid: 2 inference proxies (1 draining), 1 for documents, 1 model, 3 aliases, 2 keys in 1 group."
    )
    assert empty == ""
    assert head.split() == ["ID", "ALIASES", "TASKS", "CONTEXT", "VISIBLE", "TO", "LIFECYCLE"]
    assert "  ".join(row.split("  ")) == row
    assert [cell.strip() for cell in row.split("  ") if cell] == [
        "Qwen/Qwen2.5-1.5B-Instruct",
        "qwen-small, qwen-latest (floating), default (floating)",
        "generate, tool_calling",
        "8192",
        "research",
        "deprecated 2027-01-01, retires 2027-06-30, use Qwen/Qwen3-4B",
    ]


def test_what_is_allowed_and_may_not_be_meant_is_noted(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = directory / "open.toml"
    proxy = '{url = "http://a", drain = true}'
    least = f'mesh_ca = "mesh/ca.pem"\nsecret_services = ["http://a"]\ninference_proxies = [{proxy}]'
    path.write_text(least)
    assert main(["config", "check", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{path} is valid: 1 inference proxy (1 draining), 0 models, 0 aliases, no keys.\n"
    assert err == (
        "Note: without [[keys]] the gateway is open: everybody who reaches it may use every model.\n"
        "Note: all inference proxies drain: nobody takes new requests.\n"
    )
    path.write_text(
        f'{least}\n[[models]]\nid = "a"\nvisible_to = ["x", "y"]\n'
        f'[[keys]]\nname = "k"\nsha256 = "{"a" * 64}"\ngroups = ["y"]\n'
    )
    assert main(["config", "check", str(path), "--kind", "gateway"]) == 0
    assert "Note: no key is in the group x, which a is visible to.\n" in capsys.readouterr().err


def test_a_records_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "records.toml"
    path.write_text('[[models]]\nid = "a"\naliases = ["b"]\n[[models]]\nid = "c"\n')
    assert main(["config", "check", str(path), "--kind", "records"]) == 0
    out, err = capsys.readouterr()
    assert (out.splitlines()[0], err) == (f"{path} is valid: 2 models, 1 alias.", "")
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["ID", "a", "c"]


def test_a_proxys_file(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = directory / "proxy.toml"
    path.write_text(
        'mesh_ca = "mesh/ca.pem"\napi_endpoint = "g.example"\napi_key = "@key"\ndump_requests = true\nworkspace = "w"'
    )
    (directory / "key").write_text("canary\n")
    assert main(["config", "check", str(path), "--kind", "proxy"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{path} is valid: the gateway is https://g.example:443.\n"
    assert err.startswith(
        f"Note: --dump-requests: every prompt and every answer is written to {directory}/w/requests in"
    )
    assert "canary" not in err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('mesh_ca = "mesh/ca.pem"\nport = "x"\n', "proxy.toml:2: port: expected a number, without quotes.\n"),
        ('mesh_ca = "mesh/ca.pem"\nmesh-ca = 1\n', "proxy.toml:2: mesh-ca: unknown; did you mean mesh_ca?\n"),
        ("port = 1", "--mesh-ca is missing"),
        ('mesh_ca = "none.pem"', "none.pem can't be read"),
        ('mesh_ca = "mesh/ca.pem"\napi_key = "@none"', "none can't be read. Check the path after @."),
        ('mesh_ca = "mesh/ca.pem"\napi_key = "two words"', "The API key is empty, or has characters that no key has."),
        ('mesh_ca = "mesh/ca.pem"\ntls_cert_path = "c"', "--tls-cert-path without --tls-key-path"),
        ('mesh_ca = "mesh/ca.pem"\ntls_cert_path = "c"\ntls_key_path = "k"', "The TLS certificate in "),
        ('mesh_ca = "mesh/ca.pem"\ntls_cert_path = "c"\ntls_key_path = "k"', "there is no such file"),
    ],
)
def test_a_proxys_file_that_cannot_be_used_says_why(
    text: str, says: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = directory / "proxy.toml"
    path.write_text(text)
    assert main(["config", "check", str(path), "--kind", "proxy"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err


@pytest.mark.parametrize("kind", ["gateway", "records"])
def test_every_problem_is_a_line(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('mesh_ca = "c"\nsecret_services = ["http://a"]\n[[models]]\ncreated = "x"\n')
    assert main(["config", "check", str(path), "--kind", kind]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    gateway = ["1: inference_proxies", "3: models[0].id", "4: models[0].created"]
    records = ["1: mesh_ca", "2: secret_services", "3: models[0].id", "4: models[0].created"]
    told = [line.removeprefix(f"{path}:") for line in err.splitlines()]
    assert [": ".join(line.split(": ")[:2]) for line in told] == (gateway if kind == "gateway" else records)


def test_whoever_names_no_kind_is_told_which_it_was_taken_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text('gateway = "http://localhost:8081"\n')
    assert main(["config", "check", str(path)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "It was read as a gateway's: --kind proxy or --kind records where it is none."
    )


def test_the_mesh_ca_must_be_there(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "mesh" / "ca.pem").unlink()
    assert main(["config", "check", str(directory / "gateway.toml")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"privity: {directory / 'mesh' / 'ca.pem'} can't be read (No such file or directory).")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("gateway", "records"):
        assert main(["config", "check", str(tmp_path / "nope"), "--kind", kind]) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"privity: {tmp_path / 'nope'} can't be read (No such file or directory).")
        assert err.count("\n") == 1


def test_it_takes_one_of_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["config"], ["config", "check"], ["config", "check", "f", "--kind", "other"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "usage: privity config" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["config", "check", "--help"])
    assert "--kind {gateway,records,proxy}" in capsys.readouterr().out
