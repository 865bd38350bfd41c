"""The file in which a user's own measure is written: found by its spec, executed as it is now."""

import hashlib
import importlib.util
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from schemas.errors import BadInputError
from schemas.fingerprint import fingerprint

_loading = threading.RLock()


@dataclass(frozen=True, slots=True)
class Source:
    """The file in which a measure is written, as it is now."""

    path: Path
    package: str  # for its relative imports; "" for a file
    name: str  # of the function
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def find_source(spec: str, folder: Path) -> Source:
    """The file and the function that `spec` names, from the recipe's folder or what is installed.

    Raises: BadInputError: it names no function, or there is no such file or module."""
    module, _, name = spec.rpartition(":")
    if not module or not name.isidentifier():
        raise BadInputError(
            f"The measure {spec!r} names no function: write file.py:function or "
            "package.module:function."
        )
    path, package = (folder / module, "") if module.endswith(".py") else _find(module, spec)
    try:
        return Source(path, package, name, path.read_bytes())
    except OSError as err:
        reason = err.strerror or type(err).__name__
        raise BadInputError(f"{path}, which {spec!r} names, cannot be read: {reason}.") from err


def load_module(source: Source) -> ModuleType:
    """The module with this very content; each content is executed once in a process."""
    name = f"pairmill_own_{fingerprint([str(source.path), source.sha256])}"
    with _loading:
        return sys.modules[name] if name in sys.modules else _execute(source, name)


def told(err: BaseException) -> str:
    """An error of the user's code in one clause: its class and what it says."""
    return f"{type(err).__name__}: {err}".rstrip(": .")


def _find(module: str, spec: str) -> tuple[Path, str]:
    """The file of an installed module, and the package that its relative imports start from."""
    try:
        found = importlib.util.find_spec(module)  # imports the packages it is in
    except (Exception, SystemExit) as err:
        raise BadInputError(f"{module}, which {spec!r} names, fails: {told(err)}.") from err
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise BadInputError(f"There is no Python module {module}, which {spec!r} names.")
    is_package = found.submodule_search_locations is not None
    return Path(found.origin), module if is_package else module.rpartition(".")[0]


def _execute(source: Source, name: str) -> ModuleType:
    """Not by importlib: its bytecode cache takes an edit within the same second for the old."""
    module = ModuleType(name)
    module.__file__, module.__package__ = str(source.path), source.package
    sys.modules[name] = module  # dataclasses look there for the module they are in
    try:
        exec(compile(source.content, source.path, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as err:
        del sys.modules[name]
        raise BadInputError(f"{source.path} cannot be imported: {told(err)}.") from err
    return module
