"""How models fail."""

from schemas.errors import PairmillError


class ModelError(PairmillError):
    """A model or its server failed at some input; other input may still go through."""


class OutOfMemoryError(ModelError):
    """A batch did not fit; half of it may."""
