"""Fixtures that tests of dialogues share."""

from chat_server import server

__all__ = ["server"]
