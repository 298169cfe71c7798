import json
import logging
import re

import pytest

from privity.cli._logging import FORMATS, LEVELS, configure

LOG = logging.getLogger("privity.test")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_text_is_one_line_with_time_level_place_message_and_extras(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "text")
    LOG.info("request of %s", "somebody", extra={"status": 200, "route": "/v1/models"})
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(TIME + r" INFO    privity\.test: request of somebody status=200 route=/v1/models", line)


def test_text_without_extras_ends_with_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "text")
    LOG.warning("message")
    assert capsys.readouterr().err.endswith(" WARNING privity.test: message\n")


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("debug", "json")
    LOG.debug("first", extra={"status": 200, "what": {"a": [1]}, "path": object})
    LOG.error("second %d", 2)
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert re.fullmatch(TIME, first.pop("time"))
    assert first == {
        "level": "debug",
        "logger": "privity.test",
        "message": "first",
        "status": 200,
        "what": {"a": [1]},
        "path": "<class 'object'>",
    }
    assert (second["level"], second["message"]) == ("error", "second 2")


HOSTILE = "a\nb\r\x1b[31mred\x00\x7f\x85\u2028\u202e\x9b31m é €"


@pytest.mark.parametrize("form", FORMATS)
def test_what_could_forge_a_line_or_steer_a_terminal_is_neutralised(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("info", form)
    LOG.info("%s", HOSTILE, extra={"extra": HOSTILE})
    written = capsys.readouterr().err
    assert written.endswith("\n")
    assert written[:-1].isprintable()
    if form == "json":
        assert json.loads(written)["message"] == json.loads(written)["extra"] == HOSTILE
    else:
        assert written.count("a?b??[31mred??????31m é €") == 2


@pytest.mark.parametrize("form", FORMATS)
def test_an_errors_text_and_trace_are_not_logged_with_it(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", form)
    LOG.error("failed", exc_info=ValueError("canary-7d03"))
    assert "canary-7d03" not in capsys.readouterr().err


@pytest.mark.parametrize("level", LEVELS)
def test_only_what_is_as_important_as_the_level_is_logged(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure(level, "json")
    for each in LEVELS:
        LOG.log(getattr(logging, each.upper()), each)
    logged = [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()]
    assert logged == list(LEVELS[LEVELS.index(level) :])


def test_configuring_again_replaces_what_was_configured(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "text")
    configure("info", "json")
    LOG.info("once")
    assert json.loads(capsys.readouterr().err)["message"] == "once"


def test_a_library_that_shows_bytes_of_forms_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    configure("debug", "text")
    logging.getLogger("python_multipart.multipart").warning("Did not find boundary character %r", b"canary")
    assert "canary" not in capsys.readouterr().err
