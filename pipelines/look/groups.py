"""The groups by which rows of a run are told apart: the likeliest language, and the host."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.job import Job
from pipelines.steps import LANGUAGES
from transforms.decide.caps import hosts
from transforms.measure.language import LanguagePolicy
from transforms.shards.languages import NO_LANGUAGE, likeliest
from transforms.shards.measures import measure_parts, places_of, read_measure

NO_HOST = "no host"  # a member's path in an adopted pool
# What follows scheme and host: without it few texts are left to look for a host in.
_PATH = r"^([^/]*//[^/]*)/.*$"


def language_measure(job: Job) -> Path | None:
    """The folder of the language measure that the recipe's rules read, or else of one that was
    made by an earlier recipe; None where no caption's language is known."""
    known = [*job.measure_names(), *job.recipe.measure_names()]
    for name in known:
        made = (job.run / "measures" / name).is_dir()
        if made and isinstance(job.recipe.policy(name), LanguagePolicy):
            folder = job.measure(name)
            if any(measure_parts(folder, shard) for shard in range(job.shards)):
                return folder
    return None


def languages_of(uids: pa.ChunkedArray, folder: Path, shard: int) -> pa.ChunkedArray:
    """(rows,) of text: the likeliest language of each; "und" where it was not measured."""
    measured = read_measure(folder, shard)
    if not measured.num_rows:
        return pa.chunked_array([pa.repeat(NO_LANGUAGE, len(uids))])
    codes = pa.array(likeliest(measured[LANGUAGES]), pa.string())
    places = places_of(uids, measured["uid"])
    return pc.fill_null(pa.chunked_array([codes]).take(places), NO_LANGUAGE)


def hosts_of(urls: pa.ChunkedArray) -> pa.ChunkedArray:
    """(rows,) of text: the host of each URL, as the cap on hosts counts them."""
    begins = pc.replace_substring_regex(urls, _PATH, r"\1").combine_chunks().dictionary_encode()
    found = hosts(begins.dictionary)
    named = pc.if_else(pc.equal(found, ""), NO_HOST, found)
    return pa.chunked_array([named.take(begins.indices)])
