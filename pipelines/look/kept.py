"""What a selection keeps, counted: its languages, its concepts and its sizes."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from pipelines.job import Job
from pipelines.look.groups import language_measure
from pipelines.steps import LANGUAGES
from schemas.texts import WEB
from transforms.measure.concepts import read_entries
from transforms.measure.policy import ConceptsPolicy
from transforms.measure.stop_words import STOP_WORDS
from transforms.shards.languages import likeliest
from transforms.shards.measures import places_of, read_measure

MOST_CONCEPTS = 12  # that are told: those that shift most
QUARTILES = (0.25, 0.5, 0.75)
SIZES = ("shorter side px", "caption characters")
_PUNCTUATION = ".,;:!?\"'()[]{}…。，、！？「」«»"


class Shift(BaseModel):
    """A share, or a quantile, among what A keeps and among what B keeps."""

    name: str
    a: float
    b: float


@dataclass
class Kept:
    """Counts over the rows that one selection keeps."""

    rows: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    concepts: Counter[str] = field(default_factory=Counter)
    matched: int = 0  # captions that were looked at for concepts
    sides: list[npt.NDArray[np.float64]] = field(default_factory=list)  # shorter ones, px
    lengths: list[npt.NDArray[np.float64]] = field(default_factory=list)  # captions' characters


class Counting:
    """Adds the rows of shard after shard; looks once for what has been measured in the run."""

    def __init__(self, job: Job) -> None:
        self._languages = language_measure(job)
        self._concepts: Path | None = None
        for name in job.measure_names():
            policy = job.recipe.policy(name)
            if isinstance(policy, ConceptsPolicy):
                self._concepts, self._entries = job.measure(name), read_entries(policy.list)
                break

    def add(
        self,
        kept: Kept,
        shard: int,
        uids: pa.ChunkedArray,
        pool: pa.Table,
        mine: npt.NDArray[np.bool_],
        texts: pa.Table,
    ) -> None:
        """Add those of a shard's rows that are `mine` (rows,), with the captions that survive.

        Args: texts: columns place, text and caption of the decision's TEXTS_SCHEMA."""
        rows = pool.filter(pa.array(mine))
        kept.rows += rows.num_rows
        own = texts.filter(pc.equal(texts["text"], WEB))
        uids = uids.take(own["place"])  # what was measured of captions was measured of these
        if self._languages is not None:
            kept.languages.update(_measured_languages(self._languages, shard, uids))
        captions = pc.coalesce(texts["caption"], pool["caption"].take(texts["place"]))
        self._add_concepts(kept, shard, uids, captions)
        sides = np.minimum(rows["original_width"].to_numpy(), rows["original_height"].to_numpy())
        kept.sides.append(sides.astype(np.float64))
        kept.lengths.append(pc.utf8_length(captions).to_numpy().astype(np.float64))

    def _add_concepts(
        self, kept: Kept, shard: int, uids: pa.ChunkedArray, captions: pa.ChunkedArray
    ) -> None:
        """Entries of the recipe's list of concepts, else the captions' words."""
        if self._concepts is None:
            words = pc.utf8_split_whitespace(pc.utf8_lower(captions)).to_pylist()
            kept.concepts.update(word for some in words for word in _content_words(some))
            kept.matched += len(words)
            return
        measured = read_measure(self._concepts, shard)
        if measured.num_rows:
            found = measured["entries"].take(places_of(uids, measured["uid"]).drop_null())
            numbers = pc.list_flatten(found).to_pylist()
            kept.concepts.update(self._entries[number] for number in numbers)
            kept.matched += len(found)


def _measured_languages(folder: Path, shard: int, uids: pa.ChunkedArray) -> list[str]:
    """The likeliest language of the rows that have been measured."""
    measured = read_measure(folder, shard)
    if not measured.num_rows:
        return []
    return list(likeliest(measured[LANGUAGES].take(places_of(uids, measured["uid"]).drop_null())))


def language_shifts(a: Kept, b: Kept) -> list[Shift]:
    """Shares of the rows whose language was measured, those that differ most first."""
    return _shifts(a.languages, b.languages, a.languages.total(), b.languages.total())


def concept_shifts(a: Kept, b: Kept) -> list[Shift]:
    """Shares of the captions looked at that name a concept: the few that differ most."""
    return _shifts(a.concepts, b.concepts, a.matched, b.matched)[:MOST_CONCEPTS]


def size_shifts(a: Kept, b: Kept) -> list[Shift]:
    """Quartiles of SIZES; empty where one selection keeps nothing."""
    if not a.rows or not b.rows:
        return []
    shifts: list[Shift] = []
    for name, ours, theirs in zip(SIZES, (a.sides, a.lengths), (b.sides, b.lengths), strict=True):
        both = (np.quantile(np.concatenate(some), QUARTILES) for some in (ours, theirs))
        shifts += [
            Shift(name=f"{name}, {share:.0%} below", a=mine, b=other)
            for share, mine, other in zip(QUARTILES, *both, strict=True)
        ]
    return shifts


def _content_words(words: Iterable[str]) -> Iterator[str]:
    """Each once, without punctuation around it; English function words tell nothing."""
    bare = dict.fromkeys(word.strip(_PUNCTUATION) for word in words)
    return (word for word in bare if word and word not in STOP_WORDS)


def _shifts(ours: Counter[str], theirs: Counter[str], of_ours: int, of_theirs: int) -> list[Shift]:
    shifts = [
        Shift(name=name, a=ours[name] / max(of_ours, 1), b=theirs[name] / max(of_theirs, 1))
        for name in ours | theirs
    ]
    return sorted(shifts, key=lambda shift: (-abs(shift.a - shift.b), shift.name))
