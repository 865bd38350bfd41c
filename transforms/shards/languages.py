"""The column `languages` of a language measure, and how it is read."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LANGUAGES_TYPE = pa.map_(pa.string(), pa.float32())  # code to probability, likeliest first
NO_LANGUAGE = "und"  # ISO 639-3: undetermined


def column_of(measure: str) -> str:
    """How rules name the column of a language measure."""
    return f"{measure}.languages"


def likeliest(languages: pa.ChunkedArray) -> np.ndarray:
    """The first code of each row, "und" where it has none: (rows,) of str objects."""
    found = np.full(len(languages), NO_LANGUAGE, dtype=object)
    row = 0
    for chunk in languages.chunks:
        begins, ends = chunk.offsets.to_numpy()[:-1], chunk.offsets.to_numpy()[1:]
        some = np.flatnonzero((begins < ends) & _is_there(chunk))
        # A dictionary, so that ten million rows share a few strings.
        tops = chunk.keys.take(pa.array(begins[some])).dictionary_encode()
        names = tops.dictionary.to_numpy(zero_copy_only=False)
        found[row + some] = names[tops.indices.to_numpy()]
        row += len(chunk)
    return found


def probability_of(languages: pa.ChunkedArray, codes: Sequence[str]) -> np.ndarray:
    """The probabilities of these codes together, for each row: (rows,) float64, 0 for none."""
    wanted = pa.array(list(codes), pa.string())
    sums = [_wanted_sums(chunk, wanted) for chunk in languages.chunks]
    return np.concatenate([np.zeros(0), *sums])


def _wanted_sums(chunk: pa.MapArray, wanted: pa.Array) -> np.ndarray:
    offsets = chunk.offsets.to_numpy()
    these = slice(offsets[0], offsets[-1])  # a slice of a chunk shares what the whole holds
    is_wanted = pc.is_in(chunk.keys[these], wanted).to_numpy(zero_copy_only=False)
    weights = np.where(is_wanted, chunk.items[these].to_numpy(zero_copy_only=False), 0.0)
    owners = np.repeat(np.arange(len(chunk)), np.diff(offsets))
    sums = np.bincount(owners, weights, minlength=len(chunk))
    return np.where(_is_there(chunk), sums, 0.0)


def _is_there(chunk: pa.MapArray) -> np.ndarray:
    return chunk.is_valid().to_numpy(zero_copy_only=False)
