"""What makes two measures of one name the same, wherever their files lie."""

from pathlib import Path

from pipelines.recipe import Recipe
from pipelines.steps import MeasurePolicy
from schemas.errors import BadInputError
from schemas.fingerprint import Json, file_sha256
from transforms.capfilt.policy import CaptionerPolicy, ClipTextsPolicy, ItmPolicy
from transforms.capfilt.policy import model_identity as caption_identity
from transforms.capfilt.rules import MatchRule
from transforms.hub.policy import weight_digests
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
CAPTIONS_VERSION = ITM_VERSION = CLIP_TEXTS_VERSION = 1


def measure_identity(policy: MeasurePolicy) -> Json:
    """Settings, digests of files and models, versions of what computes.

    Raises: BadInputError: a file that the measure needs cannot be used."""
    match policy:
        case ClipPolicy():
            return model_identity(policy)
        case CaptionerPolicy():
            return ["captions", CAPTIONS_VERSION, caption_identity(policy)]
        case ItmPolicy():
            return ["itm", ITM_VERSION, caption_identity(policy)]
        case ClipTextsPolicy():
            return ["clip_texts", CLIP_TEXTS_VERSION]  # the rest is in what it is made from
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


def check_filters(recipe: Recipe) -> None:
    """Raises: BadInputError: a captioner is to be judged by its own weights, which approve of what
    they wrote (BLIP, section 4.4: sharing them sinks the share of rejected captions to 8 %)."""
    for number, step in enumerate(recipe.rules):
        rule = step.rule
        if not isinstance(rule, MatchRule):
            continue
        captioner = recipe.captioner_model(rule.captioner)
        judge = recipe.itm_model(rule.itm)
        same_name = (captioner.model, captioner.revision) == (judge.model, judge.revision)
        if same_name or weight_digests(captioner) & weight_digests(judge):
            raise BadInputError(
                f"rules.{number}.{step.name}: captioner {rule.captioner} and filter {rule.itm} have"
                " the same weights, and would approve of their own captions: take two models."
            )


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as err:
        raise BadInputError(f"{path} cannot be read: {err.strerror or err}.") from err
