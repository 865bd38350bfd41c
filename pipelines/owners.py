"""The three import names are common words: make sure that they are ours in this environment.

`schemas`, `transforms` and `pipelines` are imported by these names. Another installed
distribution with a package of the same name would silently shadow ours, or be shadowed.
"""

from importlib.metadata import packages_distributions

from schemas.errors import BadInputError

NAMES = ("schemas", "transforms", "pipelines")
OURS = "pairmill"


def check_owners() -> None:
    """Raises: BadInputError: another distribution owns one of the names; it is named."""
    owners = packages_distributions()
    for name in NAMES:
        thieves = sorted(set(owners.get(name, [])) - {OURS})
        if thieves:
            raise BadInputError(
                f"The distribution {thieves[0]!r} also installs a package {name!r}, which Pairmill"
                f" needs for itself: install Pairmill in an environment without {thieves[0]!r}."
            )
