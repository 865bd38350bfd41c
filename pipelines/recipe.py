"""The recipe: one YAML file that says all of a run. Refused before anything starts if it is wrong.

It composes the policies of the stages; each policy, with its defaults, lives beside its stage.
"""

import difflib
import re
import reprlib
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from schemas.errors import BadInputError
from transforms.corpora.policy import CorpusPolicy
from transforms.decide.basic import AspectRule, CaptionRule, ShorterSideRule
from transforms.decide.rule import Rule
from transforms.dedupe.exact import ExactDuplicateRule
from transforms.fetch.policy import FetchPolicy
from transforms.read.policy import InputPolicy
from transforms.score.language import LanguageRule
from transforms.score.policy import LOCAL_DIR, ClipPolicy, is_file
from transforms.score.threshold import ClipScoreRule

POCKET = "pocket"
FOLDER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
POCKET_FOLDER = Path(__file__).parent / "pocket" / "clip"


class RuleStep(BaseModel, extra="forbid", frozen=True):
    """One rule: a mapping with one key, the rule's name."""

    caption: CaptionRule | None = None
    shorter_side: ShorterSideRule | None = None
    aspect: AspectRule | None = None
    language: LanguageRule | None = None
    exact_duplicate: ExactDuplicateRule | None = None
    clip_score: ClipScoreRule | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if len(self._given()) != 1:
            raise ValueError("a rule is a mapping with exactly one key, the rule's name")
        return self

    @property
    def name(self) -> str:
        return next(iter(self._given()))

    @property
    def rule(self) -> Rule:
        return self._given()[self.name]

    def _given(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: rule for name, rule in fields.items() if rule is not None}


class Recipe(BaseModel, extra="forbid", frozen=True):
    """All of a run: input, fetch, models, rules in the order of the funnel, corpora."""

    input: InputPolicy = Field(..., description="Where the rows come from.")
    fetch: FetchPolicy = Field(
        default=FetchPolicy(), description="How images are fetched and stored."
    )
    clip: dict[str, ClipPolicy] = Field(
        default={POCKET: ClipPolicy(architecture=POCKET)},
        description="CLIP models by a name of your own; `pocket` ships with Pairmill.",
    )
    rules: tuple[RuleStep, ...] = Field((), description="In this order; the first drop counts.")
    corpora: dict[str, CorpusPolicy] = Field(default={}, description="What to build, by name.")

    @model_validator(mode="after")
    def _models_exist(self) -> Self:
        for place, step in enumerate(self.rules):
            if step.clip_score is not None and step.clip_score.model not in self.clip:
                raise ValueError(
                    f"rules.{place}.clip_score.model: no model {step.clip_score.model!r} under"
                    f" `clip`; there are: {', '.join(self.clip)}"
                )
        for name in (*self.clip, *self.corpora):
            if not FOLDER_NAME.fullmatch(name):
                raise ValueError(
                    f"{reprlib.repr(name)} names a folder: 1 to 64 of a-z, A-Z, 0-9, - and _ wanted"
                )
        return self

    def clip_model(self, name: str) -> ClipPolicy:
        """The model of this name, with `pocket` resolved to the folder that ships."""
        policy = self.clip[name]
        if policy.architecture != POCKET:
            return policy
        return policy.model_copy(update={"architecture": f"{LOCAL_DIR}{POCKET_FOLDER}"})


class _OneOfEachKey(yaml.SafeLoader):
    """YAML, but a key that comes twice in a mapping is refused: PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} comes twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_MERGE = "tag:yaml.org,2002:merge"


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe; paths in it are relative to its folder.

    Raises: BadInputError: one line for each fault, with the key's path."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _OneOfEachKey)
    except OSError as err:
        raise BadInputError(f"The recipe {path} cannot be read: {err.strerror or err}.") from err
    except UnicodeDecodeError as err:
        raise BadInputError(f"The recipe {path} is no UTF-8 text: {err.reason}.") from err
    except yaml.YAMLError as err:
        raise BadInputError(f"The recipe {path} is not YAML: {_yaml_fault(err)}.") from err
    except (ValueError, RecursionError) as err:  # a date or a number that is none, or too deep
        raise BadInputError(f"The recipe {path} is not YAML: {err}.") from err
    return make_recipe(content, source=path)


def _yaml_fault(err: yaml.YAMLError) -> str:
    """What PyYAML found and where, without its excerpt of the file."""
    if not isinstance(err, yaml.MarkedYAMLError) or err.problem_mark is None:
        return " ".join(str(err).split())
    mark = err.problem_mark
    return f"{err.problem} in line {mark.line + 1}, column {mark.column + 1}"


def make_recipe(content: Any, *, source: Path) -> Recipe:
    """A recipe from what its YAML holds; `source` names it in messages and anchors its paths."""
    if not isinstance(content, dict):
        raise BadInputError(f"The recipe {source} is not a mapping of settings.")
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as err:
        faults = "; ".join(_fault(fault) for fault in err.errors())
        raise BadInputError(f"The recipe {source} is refused: {faults}.") from err
    return _anchored(recipe, source.resolve().parent)


def _anchored(recipe: Recipe, folder: Path) -> Recipe:
    source = recipe.input
    paths = {
        name: folder / path
        for name, path in (("list", source.list), ("pool", source.pool))
        if path is not None
    }
    clip = {name: _anchored_model(policy, folder) for name, policy in recipe.clip.items()}
    return recipe.model_copy(update={"input": source.model_copy(update=paths), "clip": clip})


def _anchored_model(policy: ClipPolicy, folder: Path) -> ClipPolicy:
    """A local checkpoint or model folder may be named relative to the recipe, too."""
    update: dict[str, str] = {}
    if policy.pretrained and is_file(folder / policy.pretrained):
        update["pretrained"] = str(folder / policy.pretrained)
    if policy.architecture.startswith(LOCAL_DIR):
        update["architecture"] = LOCAL_DIR + str(
            folder / policy.architecture.removeprefix(LOCAL_DIR)
        )
    return policy.model_copy(update=update)


def _fault(fault: Any) -> str:
    """A fault as pydantic tells it, with the key's path and the nearest name that is known."""
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] != "extra_forbidden":
        message = fault["msg"].removeprefix("Value error, ")
        given = (
            ""
            if fault["type"] in ("missing", "value_error")
            else f" (given: {reprlib.repr(fault['input'])})"
        )
        return f"{place}: {message}{given}" if place else message
    known = _known_names(fault["loc"][:-1])
    near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0.0)
    hint = f", did you mean {near[0]!r}?" if near else ""
    others = f" Known here: {', '.join(known)}" if near else ""
    return f"{place}: unknown key{hint}{others}"


def _known_names(place: tuple[str | int, ...]) -> list[str]:
    """Names of the fields at a path of the recipe, found by walking its JSON Schema."""
    schema = Recipe.model_json_schema()
    node: dict[str, Any] = schema
    for part in place:
        node = _resolved(node, schema)
        if isinstance(part, int):
            node = node["items"]
        else:
            node = node.get("properties", {}).get(part, node.get("additionalProperties", {}))
    return list(_resolved(node, schema).get("properties", {}))


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for option in node.get("anyOf", ()):
        if "$ref" in option:
            node = option
    if "$ref" in node:
        return schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
