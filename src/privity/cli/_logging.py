"""How a program logs: to standard error, as text or JSON, and never what a request holds."""

import json
import logging
import time
from typing import Any

from privity.errors import printable

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _timestamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extras = " ".join(f"{key}={value}" for key, value in _extras(record).items())
        line = f"{_timestamp(record)} {record.levelname:7} {record.name}: {record.getMessage()} {extras}".rstrip()
        return printable(line)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {"time": _timestamp(record), "level": record.levelname.lower(), "logger": record.name}
        return json.dumps(fields | {"message": record.getMessage()} | _extras(record), default=str)


def configure(level: str, form: str) -> None:
    """Send the program's log to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)  # its warnings show bytes of forms
