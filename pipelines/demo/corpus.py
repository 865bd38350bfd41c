"""Plan a demo: a list of URLs and captions in which it is known what is good and what is bad.

Half of the rows are pictures, each used once, with a right caption or that of another picture.
The other half is what the web adds: copies, broken files, dead links, captions of no use. The
same arguments give the same rows in the same order.
"""

import io
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.demo.answers import Answer
from pipelines.demo.kinds import REDIRECT_SHARE, WRONG_SHARE, Kind, extra_rows
from pipelines.demo.pictures import Picture, could_be_true, drawn_pictures, photographs
from schemas.errors import BadInputError
from transforms.shards.commit import write_atomically

DOMAIN = "demo.test"
REFUSING_HOST = f"refused.{DOMAIN}"
LIST_FILE = "list.parquet"
TRUTH_FILE = "truth.parquet"
MIN_ROWS = 40  # room for every kind
MAX_ROWS_PER_PHOTO = 4  # beyond this a demo would be copies of copies

_IMAGE_HOSTS = 4
_HOSTS = {
    Kind.REDIRECT: "go",
    Kind.EXACT_COPY: "mirror",
    Kind.REENCODED_COPY: "cdn",
    Kind.SLOW: "slow",
    Kind.REFUSED: "refused",
}
_BLANKS = ("", " ", " \t\n")
_TRUTH = pa.schema(
    [
        ("row", pa.int64()),  # number of the row in the list
        ("url", pa.string()),
        ("kind", pa.string()),  # a Kind
        ("image", pa.string()),  # name of the picture that is, or should be, behind the URL
        ("caption_right", pa.bool_()),  # English, and true of that picture
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRow:
    """One row of the list, and the truth about it."""

    url: str
    caption: str
    kind: Kind
    image: str
    caption_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """The rows in the list's order, and what each URL answers."""

    rows: tuple[PlannedRow, ...]
    answers: dict[str, Answer]  # by URL; some URLs are only led to, and are in no row

    def list_table(self) -> pa.Table:
        """The input list: columns url and caption."""
        return pa.table(
            {"url": [r.url for r in self.rows], "caption": [r.caption for r in self.rows]}
        )

    def truth_table(self) -> pa.Table:
        """What is known about each row of the list."""
        facts = [{"row": row, **asdict(planned)} for row, planned in enumerate(self.rows)]
        return pa.Table.from_pylist(facts, schema=_TRUTH)  # the caption is in the list already


def plan_demo(rows: int, seed: int, photos: Path | None = None, split: str = "val") -> DemoPlan:
    """Plan a list of `rows` rows over drawn scenes, or over the photographs of one split.

    Raises: BadInputError: too few rows, too many for the photographs, or a folder that is not
    as `photographs` wants it."""
    if rows < MIN_ROWS:
        raise BadInputError(f"A demo needs at least {MIN_ROWS} rows; {rows} were asked for.")
    rng = random.Random(seed)
    pictures = _pictures(rows, rng, photos, split)
    planner = _Planner(rng, {})
    planned = planner.bases(pictures)
    right = [(row, picture) for row, picture in planned if row.caption_right]
    planned += planner.extras(right, rows - len(planned))
    listed = [row for row, _ in planned]
    rng.shuffle(listed)
    return DemoPlan(rows=tuple(listed), answers=planner.answers)


def write_plan(plan: DemoPlan, folder: Path) -> Path:
    """Write the list and the truth into `folder`; return the list's path.

    A list that lies there already is left as it is, so that a demo resumes.

    Raises: BadInputError: the folder holds the list of another demo."""
    path = folder / LIST_FILE
    data = _parquet(plan.list_table())
    if path.exists() and path.read_bytes() != data:
        raise BadInputError(
            f"{folder} holds a demo with other rows, seed or photographs: choose another folder,"
            " or give the same arguments as then."
        )
    write_atomically(folder / TRUTH_FILE, _parquet(plan.truth_table()))
    write_atomically(path, data)
    return path


@dataclass(frozen=True, slots=True)
class _Planner:
    """Makes rows, and notes for each new URL what it answers."""

    rng: random.Random
    answers: dict[str, Answer]

    def bases(self, pictures: list[Picture]) -> list[tuple[PlannedRow, Picture]]:
        """Each picture once: a share with a wrong caption, a few behind a redirect."""
        wrong, redirects = round(len(pictures) * WRONG_SHARE), round(len(pictures) * REDIRECT_SHARE)
        kinds = [Kind.WRONG_CAPTION] * wrong + [Kind.REDIRECT] * max(1, redirects)
        kinds += [Kind.GOOD] * (len(pictures) - len(kinds))
        self.rng.shuffle(kinds)
        return [
            (self._base(kind, number, picture, pictures), picture)
            for number, (kind, picture) in enumerate(zip(kinds, pictures, strict=True))
        ]

    def extras(
        self, right: list[tuple[PlannedRow, Picture]], total: int
    ) -> list[tuple[PlannedRow, Picture]]:
        """`total` rows of the other kinds, each made from a picture with a right caption."""
        planned: list[tuple[PlannedRow, Picture]] = []
        counts = extra_rows(total)
        for kind in (Kind.SAME_URL, Kind.OTHER_LANGUAGE, Kind.EMPTY_CAPTION):
            planned += self._more_captions(kind, right, counts.pop(kind))
        counts[Kind.EXACT_COPY] += total - len(planned) - sum(counts.values())
        for kind, count in counts.items():
            models = islice(cycle(self.rng.sample(right, len(right))), count)
            for number, (row, picture) in enumerate(models):
                url = self._new_url(kind, number, picture)
                planned.append((_row(url, row.caption, kind, picture), picture))
        return planned

    def _base(self, kind: Kind, number: int, picture: Picture, others: list[Picture]) -> PlannedRow:
        model = self._other(picture, others) if kind is Kind.WRONG_CAPTION else picture
        url = self._new_url(kind, number, picture)
        return _row(url, self.rng.choice(model.captions), kind, picture)

    def _other(self, picture: Picture, others: list[Picture]) -> Picture:
        """A picture whose captions are wrong for this one."""
        for other in self.rng.sample(others, len(others)):
            if not could_be_true(other, picture):
                return other
        raise BadInputError(f"No other picture has a caption that is wrong for {picture.name}.")

    def _more_captions(
        self, kind: Kind, right: list[tuple[PlannedRow, Picture]], count: int
    ) -> Iterator[tuple[PlannedRow, Picture]]:
        """Rows that share a good row's URL. Fewer than `count` where captions run out."""
        choices = [
            (row, picture, caption)
            for row, picture in right
            for caption in _captions_of_kind(kind, picture)
            if caption != row.caption
        ]
        for row, picture, caption in self.rng.sample(choices, min(count, len(choices))):
            yield _row(row.url, caption, kind, picture), picture

    def _new_url(self, kind: Kind, number: int, picture: Picture) -> str:
        """A URL that no other row has, answered as its kind wants it."""
        folder = "photos" if kind in (Kind.GOOD, Kind.WRONG_CAPTION) else kind.replace("_", "-")
        host = _HOSTS.get(kind) or f"img{number % _IMAGE_HOSTS + 1}"
        url = f"http://{host}.{DOMAIN}/{folder}/{quote(picture.name, safe='')}-{number}.jpg"
        location = self._target(kind, number, picture, url)
        self.answers[url] = Answer(kind=kind, picture=picture, number=number, location=location)
        return url

    def _target(self, kind: Kind, number: int, picture: Picture, url: str) -> str | None:
        """Where a redirect leads: to the picture, or for a loop to a page that leads back."""
        if kind is Kind.REDIRECT:
            return self._new_url(Kind.GOOD, number, picture)
        if kind is Kind.REDIRECT_LOOP:
            back = url.removesuffix(".jpg") + "-back.jpg"
            self.answers[back] = Answer(kind=kind, picture=picture, number=number, location=url)
            return back
        return None


def _pictures(rows: int, rng: random.Random, photos: Path | None, split: str) -> list[Picture]:
    if photos is None:
        return drawn_pictures(rows // 2, rng)
    found = photographs(photos, split)
    if rows > MAX_ROWS_PER_PHOTO * len(found):
        raise BadInputError(
            f"{len(found)} photographs are enough for at most {MAX_ROWS_PER_PHOTO * len(found)}"
            f" rows; {rows} were asked for."
        )
    return rng.sample(found, min(len(found), rows // 2))


def _captions_of_kind(kind: Kind, picture: Picture) -> tuple[str, ...]:
    match kind:
        case Kind.OTHER_LANGUAGE:
            return picture.foreign
        case Kind.EMPTY_CAPTION:
            return _BLANKS
        case _:
            return picture.captions


def _row(url: str, caption: str, kind: Kind, picture: Picture) -> PlannedRow:
    right = kind not in (Kind.WRONG_CAPTION, Kind.OTHER_LANGUAGE, Kind.EMPTY_CAPTION)
    return PlannedRow(url=url, caption=caption, kind=kind, image=picture.name, caption_right=right)


def _parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()
