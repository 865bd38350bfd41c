"""What makes two measures of one name the same, wherever their files lie."""

from pathlib import Path

from pipelines.steps import MeasurePolicy
from schemas.errors import BadInputError
from schemas.fingerprint import Json, file_sha256
from transforms.measure.concepts import read_entries
from transforms.measure.head import head_identity, load_head
from transforms.measure.language import LanguagePolicy, language_identity
from transforms.measure.own import load_own, load_text_detector, own_identity
from transforms.measure.phrases import phrases_identity
from transforms.measure.policy import (
    CaptionHashPolicy,
    ConceptsPolicy,
    FunctionPolicy,
    HeadPolicy,
    ImageHashPolicy,
    ImagePolicy,
    PdqPolicy,
    PhrasesPolicy,
    TextPolicy,
)
from transforms.score.policy import ClipPolicy, model_identity

# Of facts that are counted by our own code: raise it where their numbers change.
TEXT_VERSION = IMAGE_VERSION = 1
IMAGE_HASH_VERSION = PDQ_VERSION = CAPTION_HASH_VERSION = 1


def measure_identity(policy: MeasurePolicy) -> Json:
    """Settings, digests of files and models, versions of what computes.

    Raises: BadInputError: a file that the measure needs cannot be used."""
    match policy:
        case ClipPolicy():
            return model_identity(policy)
        case LanguagePolicy():
            return language_identity(policy)
        case TextPolicy():
            return ["text", TEXT_VERSION]
        case ImagePolicy():
            detector = policy.text_detector and own_identity(policy.text_detector)
            return ["image", IMAGE_VERSION, detector]
        case ImageHashPolicy():
            return ["image_hash", IMAGE_HASH_VERSION]
        case PdqPolicy():
            return ["pdq", PDQ_VERSION]
        case CaptionHashPolicy():
            return ["caption_hash", CAPTION_HASH_VERSION]
        case HeadPolicy():
            return head_identity(policy)
        case ConceptsPolicy():
            kind = policy.list.suffix.lower()  # the same bytes are other entries in another form
            return ["concepts", _digest(policy.list), kind == ".json", policy.ignore_case]
        case PhrasesPolicy():
            return phrases_identity(policy)
        case FunctionPolicy():
            return own_identity(policy.function)


def check_measure(policy: MeasurePolicy) -> None:
    """Raises: BadInputError: a file that the measure needs cannot be used for it."""
    measure_identity(policy)
    match policy:
        case HeadPolicy():
            load_head(policy.file, policy.between)
        case FunctionPolicy():
            load_own(policy.function)
        case ImagePolicy() if policy.text_detector is not None:
            load_text_detector(policy.text_detector)
        case ConceptsPolicy():
            read_entries(policy.list)
        case _:
            pass


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as err:
        raise BadInputError(f"{path} cannot be read: {err.strerror or err}.") from err
