"""Every reply that was paid for, by the digest of what was asked, and what has been spent.

One SQLite file in a RUN, which all workers of a machine share. A reply is in it as soon as it is
there, so that a run that is killed pays again at most for the requests that were in flight; these
are counted. The budget's cap and the limit on requests a minute are kept in the same transactions.
"""

import contextlib
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import RunFailedError
from schemas.fingerprint import Json
from schemas.report import Spend
from transforms.chat.client import Reply
from transforms.instruct.policy import BudgetPolicy

REPLIES_FILE = "replies.sqlite"
_WAIT_S = 60.0  # for another worker's transaction
_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    digest TEXT PRIMARY KEY,
    text TEXT, tokens_in INTEGER, tokens_out INTEGER, is_cut INTEGER, refused TEXT
);
CREATE TABLE IF NOT EXISTS asked (
    id INTEGER PRIMARY KEY AUTOINCREMENT, usd REAL, lost INTEGER DEFAULT 0
);
CREATE TABLE IF NOT EXISTS waiting (
    digest TEXT PRIMARY KEY, batch TEXT, ticket INTEGER
);
CREATE TABLE IF NOT EXISTS suspects (digest TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS totals (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    requests INTEGER, tokens_in INTEGER, tokens_out INTEGER, usd REAL, reserved REAL, next_at REAL
);
INSERT OR IGNORE INTO totals VALUES (1, 0, 0, 0, 0.0, 0.0, 0.0);
"""


def read_spend(run: Path) -> Spend | None:
    """What a RUN has spent; None where nothing was ever asked for.

    Raises: RunFailedError: its replies cannot be read."""
    path = run / REPLIES_FILE
    if not path.is_file():
        return None
    try:
        address = f"{path.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_WAIT_S)) as db:
            return _spend(db)
    except sqlite3.Error as err:
        if "no such table" in str(err):  # its first worker was killed before it began
            return None
        raise RunFailedError(f"The replies in {path} cannot be read ({err}).") from err


def note_lost(run: Path) -> None:
    """What was in flight when the last run of a RUN died may have been paid for. Only under the
    run's lock, before any worker asks."""
    path = run / REPLIES_FILE
    if path.is_file():
        replies = Replies(path)
        try:
            replies.note_lost()
        finally:
            replies.close()


class OverBudgetError(Exception):
    """Another request might pass the cap."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request that is about to be made."""

    number: int
    usd: float  # what it may cost at most


class Replies:
    """The store in one RUN. Threads may share one; so may processes the file.

    Raises: RunFailedError: the file cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_TABLES)

    def close(self) -> None:
        self._db.close()

    def get(self, digest: str) -> Reply | None:
        """What was said to this once, if it was asked."""
        with self._told(), self._lock:
            row = self._db.execute(
                "SELECT text, tokens_in, tokens_out, is_cut, refused FROM replies WHERE digest = ?",
                (digest,),
            ).fetchone()
        if row is None:
            return None
        text, tokens_in, tokens_out, is_cut, refused = row
        return Reply(
            text=text,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            is_cut=bool(is_cut),
            refused=refused,
        )

    def reserve(
        self, usd: float, budget: BudgetPolicy, waits: tuple[str, str] | None = None
    ) -> Ticket:
        """Set the most that a request may cost aside, and wait for its turn in the minute.

        Args: waits: the request's digest, and the batch that it is to wait in.

        Raises: OverBudgetError: the cap does not allow it."""
        with self._transaction() as db:
            requests, spent, reserved, next_at = db.execute(
                "SELECT requests, usd, reserved, next_at FROM totals"
            ).fetchone()
            (flying,) = db.execute("SELECT count(*) FROM asked WHERE lost = 0").fetchone()
            if budget.max_usd is not None and spent + reserved + usd > budget.max_usd + 1e-9:
                raise OverBudgetError
            if budget.max_requests is not None and requests + flying >= budget.max_requests:
                raise OverBudgetError
            now, per_minute = time.time(), budget.requests_per_minute
            turn = max(now, next_at) if per_minute else now
            after = turn + 60 / per_minute if per_minute else next_at
            db.execute("UPDATE totals SET reserved = reserved + ?, next_at = ?", (usd, after))
            number = db.execute("INSERT INTO asked (usd) VALUES (?)", (usd,)).lastrowid
            if waits is not None:
                db.execute("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?)", (*waits, number))
        time.sleep(max(0.0, turn - time.time()))
        return Ticket(number or 0, usd)

    def put(self, ticket: Ticket, digest: str, reply: Reply, budget: BudgetPolicy) -> None:
        """Store what a request gave. Where the server does not tell what it cost, that is taken to
        be the most that it may have."""
        tokens_in, tokens_out = reply.tokens_in, reply.tokens_out
        if tokens_in is None or tokens_out is None:
            usd = ticket.usd
        else:
            usd = budget.usd(tokens_in, tokens_out)
        with self._transaction() as db:
            self._end(db, ticket)
            db.execute(
                "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?)",
                (digest, reply.text, tokens_in, tokens_out, reply.is_cut, reply.refused),
            )
            db.execute(
                "UPDATE totals SET requests = requests + 1, tokens_in = tokens_in + ?,"
                " tokens_out = tokens_out + ?, usd = usd + ?",
                (tokens_in or 0, tokens_out or 0, usd),
            )

    def drop(self, ticket: Ticket) -> None:
        """A request that gave nothing to store, and is taken to have cost nothing."""
        with self._transaction() as db:
            self._end(db, ticket)

    def lose(self, ticket: Ticket) -> None:
        """A request that may have been paid for, and gave nothing: its most is taken for spent."""
        with self._transaction() as db:
            db.execute("DELETE FROM waiting WHERE ticket = ?", (ticket.number,))
            lost = db.execute(
                "UPDATE asked SET lost = 1 WHERE id = ? AND lost = 0", (ticket.number,)
            )
            if lost.rowcount:  # it had not ended before
                db.execute(
                    "UPDATE totals SET requests = requests + 1, usd = usd + ?,"
                    " reserved = max(0.0, reserved - ?)",
                    (ticket.usd, ticket.usd),
                )

    def note_lost(self) -> None:
        """Whatever is in flight was lost with its process, but for what waits in a batch: its most
        is taken for spent. Only under the run's lock, before any worker asks."""
        flying = "lost = 0 AND id NOT IN (SELECT ticket FROM waiting)"
        with self._transaction() as db:
            count, usd = db.execute(
                f"SELECT count(*), coalesce(sum(usd), 0.0) FROM asked WHERE {flying}"
            ).fetchone()
            db.execute(f"UPDATE asked SET lost = 1 WHERE {flying}")
            db.execute(
                "UPDATE totals SET requests = requests + ?, usd = usd + ?,"
                " reserved = max(0.0, reserved - ?), next_at = 0.0",  # no turn is waited for
                (count, usd, usd),
            )

    def suspect(self, digest: str) -> None:
        """Note a request over which a run ends, though the server is there."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO suspects VALUES (?)", (digest,))

    def is_suspect(self, digest: str) -> bool:
        """Whether a run has ended over a request before."""
        with self._told(), self._lock:
            found = self._db.execute("SELECT 1 FROM suspects WHERE digest = ?", (digest,))
            return found.fetchone() is not None

    def wait_for(self, batch: str, tickets: Mapping[str, Ticket]) -> None:
        """Note which requests, by digest, wait in a batch."""
        rows = [(digest, batch, ticket.number) for digest, ticket in tickets.items()]
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?)", rows)

    def batch_of(self, digest: str) -> str | None:
        """The batch in which a request waits, if it does."""
        with self._told(), self._lock:
            row = self._db.execute(
                "SELECT batch FROM waiting WHERE digest = ?", (digest,)
            ).fetchone()
        return None if row is None else row[0]

    def waiting_in(self, batch: str) -> dict[str, Ticket]:
        """The requests that wait in a batch, by digest."""
        with self._told(), self._lock:
            rows = self._db.execute(
                "SELECT digest, id, usd FROM waiting JOIN asked ON ticket = id WHERE batch = ?",
                (batch,),
            ).fetchall()
        return {digest: Ticket(number, usd) for digest, number, usd in rows}

    def spend(self) -> Spend:
        """What was spent so far."""
        with self._told(), self._lock:
            return _spend(self._db)

    def _end(self, db: sqlite3.Connection, ticket: Ticket) -> None:
        """A ticket may be ended twice; the first time counts."""
        db.execute("DELETE FROM waiting WHERE ticket = ?", (ticket.number,))
        ended = db.execute("DELETE FROM asked WHERE id = ? AND lost = 0", (ticket.number,))
        if ended.rowcount:
            db.execute("UPDATE totals SET reserved = max(0.0, reserved - ?)", (ticket.usd,))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._told(), self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as err:
            raise RunFailedError(
                f"The replies in {self._path} cannot be read or written ({err}); what is in the"
                " file is kept: run again."
            ) from err


def _spend(db: sqlite3.Connection) -> Spend:
    requests, tokens_in, tokens_out, usd = db.execute(
        "SELECT requests, tokens_in, tokens_out, usd FROM totals"
    ).fetchone()
    (lost,) = db.execute("SELECT count(*) FROM asked WHERE lost = 1").fetchone()
    return Spend(requests=requests, tokens_in=tokens_in, tokens_out=tokens_out, usd=usd, lost=lost)


def request_digest(request: dict[str, Any], image_sha256: str | None) -> str:
    """Of model, parameters, messages and image. The image's data in the messages do not count."""
    told: Json = {
        **{name: value for name, value in request.items() if name != "messages"},
        "messages": [_without_data(message) for message in request["messages"]],
        "image": image_sha256,
    }
    text = json.dumps(told, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _without_data(message: dict[str, Any]) -> Json:
    content = message["content"]
    if isinstance(content, str):
        return message
    shown = [part if part["type"] == "text" else part["type"] for part in content]
    return {**message, "content": shown}
