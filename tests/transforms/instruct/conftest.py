"""Fixtures that tests of dialogues share."""

from collections.abc import Iterator

import pytest
from chat_server import server

from transforms.instruct.models.load import close_askers

__all__ = ["server"]


@pytest.fixture(autouse=True)
def _askers_closed() -> Iterator[None]:
    yield
    close_askers()
