"""The rules and measures that a recipe may name: the one list of both.

Each is a mapping with one key. A field a kind gives unknown names, types and JSON Schema without
a registry: to add a rule or a kind of measure is to add a field.
"""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from transforms.capfilt.columns import CANDIDATES_SCHEMA, CLIP_TEXTS_SCHEMA, MATCHES_SCHEMA
from transforms.capfilt.policy import CaptionerPolicy, ClipTextsPolicy, ItmPolicy
from transforms.capfilt.rules import CapFiltRule, MatchRule, RecaptionRule, TopCaptionsRule
from transforms.decide.basic import AspectRule, CaptionRule, ShorterSideRule
from transforms.decide.caps import PerCaptionRule, PerHostRule
from transforms.decide.datacomp import DataCompBasicRule
from transforms.decide.language import LanguageRule
from transforms.decide.limit import LimitRule
from transforms.decide.logic import AllOf, AnyOf, JoinedRule, Not
from transforms.decide.metaclip import MetaClipRule
from transforms.decide.rare_phrases import RarePhrasesRule
from transforms.decide.rule import Rule
from transforms.decide.sample import EqualLanguagesRule, SampleRule
from transforms.decide.selection import SelectionRule
from transforms.dedupe.captions import CAPTION_HASH_SCHEMA, TextDuplicateRule
from transforms.dedupe.decontaminate import DecontaminateRule
from transforms.dedupe.duplicates import DuplicateRule
from transforms.dedupe.exact import ExactDuplicateRule
from transforms.dedupe.hashes import IMAGE_HASH_SCHEMA, PDQ_SCHEMA
from transforms.dedupe.near_duplicate import NearDuplicateRule
from transforms.dedupe.semantic import SemanticDuplicateRule
from transforms.measure.image import IMAGE_SCHEMA
from transforms.measure.language import LanguagePolicy
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
from transforms.measure.text import TEXT_SCHEMA
from transforms.score.policy import ClipPolicy
from transforms.score.rule import ClipScoreRule

LANGUAGES, ENTRIES, PHRASES, TEXT_OVERLAP = "languages", "entries", "phrases", "text_overlap"
TEXTS, SYNTHETIC = "texts", "synthetic"
LISTS = (LANGUAGES, ENTRIES, PHRASES, TEXTS, SYNTHETIC)  # columns that hold no numbers
HashPolicy = ImageHashPolicy | PdqPolicy | CaptionHashPolicy  # none of their columns is a number
MeasurePolicy = (
    ClipPolicy
    | CaptionerPolicy
    | ItmPolicy
    | ClipTextsPolicy
    | LanguagePolicy
    | TextPolicy
    | ImagePolicy
    | HashPolicy
    | HeadPolicy
    | ConceptsPolicy
    | PhrasesPolicy
    | FunctionPolicy
)


class _OneKey(BaseModel):
    """A mapping with exactly one key."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, serialize_by_alias=True
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self._given()) != 1:
            raise ValueError("a mapping with exactly one key wanted, the name of what it is")
        return self

    @property
    def name(self) -> str:
        """The key, as a recipe writes it."""
        return next(iter(self._given()))

    @property
    def content(self) -> Any:
        return self._given()[self.name]

    def _given(self) -> dict[str, Any]:
        fields = type(self).model_fields.items()
        found = {field.alias or name: getattr(self, name) for name, field in fields}
        return {name: content for name, content in found.items() if content is not None}


class RuleStep(_OneKey):
    """One rule: a mapping with one key, the rule's name."""

    caption: CaptionRule | None = None
    shorter_side: ShorterSideRule | None = None
    aspect: AspectRule | None = None
    language: LanguageRule | None = None
    datacomp_basic: DataCompBasicRule | None = None
    exact_duplicate: ExactDuplicateRule | None = None
    near_duplicate: NearDuplicateRule | None = None
    semantic_duplicate: SemanticDuplicateRule | None = None
    text_duplicate: TextDuplicateRule | None = None
    decontaminate: DecontaminateRule | None = None
    clip_score: ClipScoreRule | None = None
    capfilt: CapFiltRule | None = None
    topk: TopCaptionsRule | None = None
    recaption: RecaptionRule | None = None
    limit: LimitRule | None = None
    selection: SelectionRule | None = None
    metaclip: MetaClipRule | None = None
    rare_phrases: RarePhrasesRule | None = None
    per_host: PerHostRule | None = None
    per_caption: PerCaptionRule | None = None
    equal_languages: EqualLanguagesRule | None = None
    sample: SampleRule | None = None
    all_of: tuple["RuleStep", ...] | None = Field(default=None, min_length=1)
    any_of: tuple["RuleStep", ...] | None = Field(default=None, min_length=1)
    not_: "RuleStep | None" = Field(default=None, alias="not")

    @model_validator(mode="after")
    def _duplicates_can_be_joined(self) -> Self:
        """Two rules that see the same rows could drop each other's keepers; and any_of and not
        lose to whom captions go."""
        if self.name not in ("all_of", "any_of", "not"):
            return self
        if any(rule.chooses_texts for _, rule in self.leaves("")):
            raise ValueError("a rule that chooses captions stands by itself, not inside another")
        of_duplicates = [rule for _, rule in self.leaves("") if isinstance(rule, DuplicateRule)]
        if len(of_duplicates) > 1:
            raise ValueError(
                "two rules of duplicates inside one could drop each other's keepers: put them one"
                " after the other"
            )
        if self.name != "all_of" and any(rule.give_captions for rule in of_duplicates):
            raise ValueError(f"no `give_captions` inside {self.name}")
        return self

    @property
    def rule(self) -> Rule:
        match self.name:
            case "all_of":
                return _joined(AllOf, self.content)
            case "any_of":
                return _joined(AnyOf, self.content)
            case "not":
                return _joined(Not, (self.content,))
            case _:
                return self.content

    def with_model(self, model: str) -> Self:
        """The same where duplicates are kept by the score of a CLIP model, and texts have one by
        it, unless they say by what."""
        if self.name in ("all_of", "any_of"):
            content: Any = tuple(step.with_model(model) for step in self.content)
        elif self.name == "not":
            return self.model_copy(update={"not_": self.content.with_model(model)})
        elif isinstance(self.content, DuplicateRule):
            content = self.content.with_default_keep(model)
        elif isinstance(self.content, MatchRule | TopCaptionsRule):
            content = self.content.with_default_clip(model)
        else:
            return self
        return self.model_copy(update={self.name: content})

    def leaves(self, place: str) -> "list[tuple[str, Rule]]":
        """The rules in this step that are not made of others, each with its place."""
        if self.name == "not":
            return self.content.leaves(f"{place}.not")
        if self.name in ("all_of", "any_of"):
            return [
                leaf
                for number, step in enumerate(self.content)
                for leaf in step.leaves(f"{place}.{self.name}.{number}")
            ]
        return [(f"{place}.{self.name}", self.content)]


def _joined(kind: type[JoinedRule], steps: tuple[RuleStep, ...]) -> Rule:
    return kind(names=tuple(step.name for step in steps), rules=tuple(step.rule for step in steps))


class MeasureStep(_OneKey):
    """One measure: a mapping with one key, its kind. `function` takes a plain string."""

    language: LanguagePolicy | None = None
    text: TextPolicy | None = None
    image: ImagePolicy | None = None
    image_hash: ImageHashPolicy | None = None
    pdq: PdqPolicy | None = None
    caption_hash: CaptionHashPolicy | None = None
    head: HeadPolicy | None = None
    concepts: ConceptsPolicy | None = None
    phrases: PhrasesPolicy | None = None
    function: str | None = Field(
        default=None, description="A measure of your own: FILE.py:FUNCTION or MODULE:FUNCTION."
    )

    @property
    def policy(self) -> MeasurePolicy:
        content = self.content
        return FunctionPolicy(function=content) if isinstance(content, str) else content


# Measures that need no line in a recipe; one of the same name there takes their place.
BUILT_IN = {
    "language": MeasureStep(language=LanguagePolicy()),
    "fasttext": MeasureStep(language=LanguagePolicy(detector="fasttext")),
    "text": MeasureStep(text=TextPolicy()),
    "image": MeasureStep(image=ImagePolicy()),
    "image_hash": MeasureStep(image_hash=ImageHashPolicy()),
    "pdq": MeasureStep(pdq=PdqPolicy()),
    "caption_hash": MeasureStep(caption_hash=CaptionHashPolicy()),
    "phrases": MeasureStep(phrases=PhrasesPolicy()),
}


def columns_of(policy: MeasurePolicy) -> tuple[str, ...]:
    """The columns that rules may read of a measure; none where only its function knows them."""
    match policy:
        case ClipPolicy():
            return ("score",)
        case CaptionerPolicy():
            return tuple(CANDIDATES_SCHEMA.names)
        case ItmPolicy():
            return tuple(MATCHES_SCHEMA.names)
        case ClipTextsPolicy():
            return tuple(CLIP_TEXTS_SCHEMA.names)
        case LanguagePolicy():
            return (LANGUAGES,)
        case TextPolicy():
            return tuple(TEXT_SCHEMA.names)
        case ImagePolicy():
            names = tuple(IMAGE_SCHEMA.names)
            return names if policy.text_detector else tuple(n for n in names if n != TEXT_OVERLAP)
        case ImageHashPolicy():
            return tuple(IMAGE_HASH_SCHEMA.names)
        case PdqPolicy():
            return tuple(PDQ_SCHEMA.names)
        case CaptionHashPolicy():
            return tuple(CAPTION_HASH_SCHEMA.names)
        case HeadPolicy():
            return ("value",)
        case ConceptsPolicy():
            return (ENTRIES,)
        case PhrasesPolicy():
            return (PHRASES,)
        case FunctionPolicy():
            return ()
