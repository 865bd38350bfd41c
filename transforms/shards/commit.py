"""Commit a unit of work: data files first, then the one manifest that names them.

The manifest is the only commit record. Whatever has no manifest does not exist: a process that
is killed loses the unit in its hands and nothing else. The first writer wins, so a retry or a
racing worker cannot double or change what is committed. RUN is a folder of a POSIX file system.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from schemas.errors import RunFailedError
from schemas.fingerprint import file_sha256

TEMPORARY_SUFFIX = ".part"
DRAFT_NAME = re.compile(r"\..+\.[0-9a-f]{12}\.part")

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
WRITE_ERRORS = (*DISK_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO)

Manifest = dict[str, Any]


def committed(manifest: Path, folder: Path | None = None) -> Manifest | None:
    """What the manifest says, or None where the unit is not committed.

    A unit whose files are gone from `folder`, beside the manifest unless told otherwise, is not
    committed any more: it is done anew.
    """
    facts = read_manifest(manifest)
    if facts is None:
        return None
    there = all(((folder or manifest.parent) / name).exists() for name in facts["files"])
    return facts if there else None


def read_manifest(manifest: Path) -> Manifest | None:
    """What the manifest says, or None where there is none.

    Raises: RunFailedError: it is no manifest any more."""
    try:
        facts = json.loads(manifest.read_bytes())
        facts["files"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as err:
        raise RunFailedError(
            f"{manifest} is not a manifest any more ({err}): delete it and run again."
        ) from err
    return facts


class Draft:
    """The files of one unit while they are written; leaving the block commits them.

    >>> with Draft(folder / "00000.json") as draft:
    ...     draft.path("00000.parquet").write_bytes(data)
    ...     draft.facts["rows"] = 7

    Files lie in `folder`, beside the manifest unless told otherwise. After an exception in the
    block, or where another writer was first, the temporary files are removed and nothing else
    happens.

    Raises: RunFailedError: the disk is full or the folder cannot be written.
    """

    def __init__(self, manifest: Path, folder: Path | None = None) -> None:
        self.manifest = manifest
        self.folder = folder or manifest.parent
        self.facts: Manifest = {}
        self._attempt = f".{uuid.uuid4().hex[:12]}{TEMPORARY_SUFFIX}"
        self._names: list[str] = []

    def path(self, name: str) -> Path:
        """Where to write the file that will be called `name`."""
        if name not in self._names:
            self._names.append(name)
        return self._temporary(name)

    def __enter__(self) -> Self:
        with _disk_errors(self.manifest):
            self.manifest.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                with _disk_errors(self.manifest):
                    self._commit()
            elif isinstance(error, OSError) and error.errno in WRITE_ERRORS:
                with _disk_errors(self.manifest):
                    raise error
        finally:
            for name in self._names:
                self._temporary(name).unlink(missing_ok=True)

    def _temporary(self, name: str) -> Path:
        return self.folder / f".{name}{self._attempt}"

    def _commit(self) -> None:
        files = {name: _seal(self._temporary(name)) for name in self._names}
        text = json.dumps({**self.facts, "files": files}, sort_keys=True, indent=1) + "\n"
        with _folder_lock(self.manifest.parent):
            if committed(self.manifest, self.folder) is not None:
                return
            for name in self._names:
                os.replace(self._temporary(name), self.folder / name)
            _sync_folder(self.folder)
            _write_atomically(self.manifest, text.encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, replacing what was there.

    Raises: RunFailedError: the disk is full or the folder cannot be written."""
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_atomically(path, data)


def sweep(run: Path) -> None:
    """Remove what killed processes left half written in RUN. Only under the run's lock.

    Only what is named as drafts are, `.NAME.12HEX.part`: a folder may hold files of others."""
    for part in list(run.rglob(f".*{TEMPORARY_SUFFIX}")):
        if not DRAFT_NAME.fullmatch(part.name):
            continue
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def file_facts(path: Path) -> Mapping[str, int | str]:
    """Size and sha256 of a file, as manifests hold them."""
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def _seal(path: Path) -> Mapping[str, int | str]:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return file_facts(path)


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}{TEMPORARY_SUFFIX}"
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Held for the few renames of a commit; the kernel frees it when its holder dies."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        if err.errno in DISK_FULL:
            raise RunFailedError(
                f"The disk of {path.parent} is full: free some space and run again;"
                " everything committed so far is kept."
            ) from err
        raise RunFailedError(f"Cannot write {path}: {err.strerror or err}.") from err
