"""The house: who may import whom, who owns the names, and what no file may hold."""

import ast
import importlib.metadata
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import owners
from pipelines.owners import NAMES, check_owners
from schemas.errors import BadInputError

ROOT = Path(__file__).parents[1]
UPWARDS = {"schemas": {"transforms", "pipelines"}, "transforms": {"pipelines"}}
HEAVY = {"apache_beam", "torch", "torchvision", "open_clip"}  # not for schemas


def _imports(path: Path) -> Iterator[str]:
    """Top-level names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            yield (node.module or "").partition(".")[0]


def _modules() -> list[Path]:
    return [path for name in NAMES for path in sorted((ROOT / name).rglob("*.py"))]


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_upwards(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    refused = UPWARDS.get(package, set()) | (HEAVY if package == "schemas" else set())
    assert not refused & set(_imports(path))


def test_stages_meet_only_in_schemas_and_on_disk() -> None:
    """No stage reaches into another; `shards` and `decide` serve them all."""
    reaching = set()
    for path in (ROOT / "transforms").rglob("*.py"):
        stage = path.relative_to(ROOT / "transforms").parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("transforms."):
                other = (node.module or "").split(".")[1]
                if other not in (stage, "shards", "decide"):
                    reaching.add((stage, other))
    assert not reaching


def test_the_three_names_are_ours_here() -> None:
    check_owners()
    for name in NAMES:
        module = __import__(name)
        assert Path(module.__path__[0]) == ROOT / name


@pytest.mark.parametrize("name", NAMES)
def test_a_distribution_that_owns_one_of_our_names_is_told(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {own: ["pairmill"] for own in NAMES}
    monkeypatch.setattr(owners, "packages_distributions", lambda: ours)
    check_owners()
    taken = ours | {name: ["pairmill", "thief"]}
    monkeypatch.setattr(owners, "packages_distributions", lambda: taken)
    with pytest.raises(BadInputError, match=rf"'thief' also installs a package '{name}'"):
        check_owners()


def test_the_distribution_is_not_to_be_uploaded() -> None:
    classifiers = importlib.metadata.metadata("pairmill").get_all("Classifier") or []
    assert "Private :: Do Not Upload" in classifiers


def _tracked() -> list[Path]:
    """Text files that git tracks, or would; all files where this is no checkout."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]


def _texts() -> Iterator[tuple[Path, str]]:
    for path in _tracked():
        try:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # weights and other binary files


def _found(pattern: str) -> list[str]:
    """Places where a tracked file has this. What is sought is put together, so not this file."""
    regex = re.compile(pattern)
    return [f"{path}: {hit.group()}" for path, text in _texts() for hit in regex.finditer(text)]


def test_no_file_names_a_path_of_one_machine() -> None:
    assert not _found(r"(?<![\w.*:/-])/(home|work|root|Users|mnt|srv)/\w+")


def test_no_file_names_a_registry() -> None:
    hosts = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"))]
    flags = ["-".join(("index", "url")), "-".join(("find", "links"))]
    assert not _found("|".join(map(re.escape, hosts + flags)))


def test_nothing_is_left_to_do() -> None:
    marks = "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X"))
    assert not _found(rf"\b({marks})\b|raise NotImplemented" + "Error")


def test_files_of_tests_have_names_of_their_own() -> None:
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_every_package_folder_is_a_package() -> None:
    """Without its __init__.py a folder would be missing from an installed Pairmill."""
    folders = {path.parent for path in _modules()}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
