"""What listens must do so on both event loops: our programs run on uvloop, who embeds a role may run on asyncio."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def without_privilege() -> Iterator[None]:
    """Act as nobody where the tests run as root, who may read every file and listen on every port."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)
