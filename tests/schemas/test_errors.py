import pytest

from schemas import errors
from schemas.errors import PairmillError


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("PairmillError", 1),
        ("RunFailedError", 1),
        ("CorruptPoolError", 1),
        ("BadInputError", 2),
        ("FaultsFoundError", 3),
        ("LimitReachedError", 4),
    ],
)
def test_every_error_ends_the_command_with_the_promised_code(name: str, code: int) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, PairmillError)
    assert kind.exit_code == code


def test_a_corrupt_pool_is_a_run_that_failed_and_can_be_resumed() -> None:
    assert issubclass(errors.CorruptPoolError, errors.RunFailedError)
