"""Who makes dialogues: rules, or a model behind a server."""

import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.dialogue import Dialogue, DialogueFault, Kind, Making, Turn, dialogue_id
from transforms.hub.policy import ModelPolicy
from transforms.instruct import checks, template
from transforms.instruct.annotations import Annotations, read_annotations
from transforms.instruct.askers import Asker, load_asker
from transforms.instruct.batching import BatchAsker
from transforms.instruct.making import Images, Maker, Row, made_row
from transforms.instruct.parse import ParseError, parse_answer, parse_blocks
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.prompts import PromptFile, load_prompts, prompts_sha256
from transforms.instruct.replies import OverBudgetError, Stored
from transforms.instruct.requests import Request, first_request, possible_kinds, repair_request
from transforms.instruct.subjects import Subject

_OF_SERVERS = (DialogueFault.NO_REPLY, DialogueFault.REFUSED)  # to ask once more would not help


@dataclass(frozen=True, slots=True)
class _Read:
    """The turns of a reply, and what is wrong with it, if something is."""

    turns: tuple[Turn, ...] = ()
    reason: DialogueFault | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TemplateMaker:
    """By rule."""

    policy: InstructPolicy
    annotations: Annotations

    def possible(self, subject: Subject) -> list[str]:
        found = template.possible(self._material(subject))
        return [kind.value for kind in self.policy.kinds if kind in found]

    def prepare(self, planned: Sequence[tuple[Subject, Kind, int]], images: Images) -> None:
        """Nothing is asked."""

    def make(self, subject: Subject, kind: Kind, number: int, images: Images) -> Row:
        rng = random.Random(f"{self.policy.seed} {dialogue_id(subject.uid, kind, number)}")
        turns = template.make_turns(kind, self._material(subject), rng)
        made = Making(
            backend="template",
            model="template",
            source="symbolic",
            prompt=kind.value,
            prompt_sha256=template.templates_sha256(),
        )
        fault = (DialogueFault.NO_REPLY, "nothing known of the image gives one")
        language = self.policy.language
        return made_row(
            subject, kind, number, language, made, turns or (), None if turns else fault
        )

    def _material(self, subject: Subject) -> template.Material:
        policy = self.policy
        return template.Material(
            subject.context, policy.language, self.annotations, policy.negatives
        )


@dataclass(frozen=True, slots=True)
class ModelMaker:
    """By a model that is asked, once for each dialogue, and once more where a reply has a fault."""

    policy: InstructPolicy
    annotations: Annotations
    prompts: PromptFile
    asker: Asker
    made: Making

    def possible(self, subject: Subject) -> list[str]:
        return possible_kinds(subject.context, self.policy, self.prompts)

    def prepare(self, planned: Sequence[tuple[Subject, Kind, int]], images: Images) -> None:
        """By batch all is asked at once, and then all that has a fault once more."""
        if not isinstance(self.asker, BatchAsker):
            return
        requests = [first_request(*one, self.policy, self.prompts, images.read) for one in planned]
        self.asker.fetch(requests)
        again: list[Request] = []
        for one, request in zip(planned, requests, strict=True):
            with contextlib.suppress(OverBudgetError):
                stored = self.asker.reply(request)
                found = self._read(stored, request, *one)
                if self._may_repair(found) and stored is not None and found.reason is not None:
                    text, why = stored.text, found.reason.value
                    again.append(repair_request(request, self.prompts, text, why))
        self.asker.fetch(again)

    def make(self, subject: Subject, kind: Kind, number: int, images: Images) -> Row | None:
        request = first_request(subject, kind, number, self.policy, self.prompts, images.read)
        try:
            stored = self.asker.reply(request)
            found = self._read(stored, request, subject, kind, number)
            repaired = self._may_repair(found)
            if repaired and stored is not None and found.reason is not None:
                again = repair_request(request, self.prompts, stored.text, found.reason.value)
                found = self._read(self.asker.reply(again), again, subject, kind, number)
        except OverBudgetError:
            return None
        # What turns say is judged when the ledger is written: only what gave none is a fault here.
        fault = None if found.turns or found.reason is None else (found.reason, found.detail)
        language = self.policy.language
        return made_row(
            subject, kind, number, language, self.made, found.turns, fault, repaired=repaired
        )

    def _read(
        self, stored: Stored | None, request: Request, subject: Subject, kind: Kind, number: int
    ) -> _Read:
        if stored is None:
            told = "the server gave nothing that could be read"
            return _Read(reason=DialogueFault.NO_REPLY, detail=told)
        if stored.refused is not None:
            return _Read(reason=DialogueFault.REFUSED, detail=stored.refused)
        try:
            turns = (
                parse_blocks(stored.text)
                if request.question is None
                else parse_answer(stored.text, request.question)
            )
        except ParseError as err:
            return _Read(reason=DialogueFault.UNPARSABLE, detail=str(err))
        dialogue = Dialogue(
            uid=subject.uid,
            kind=kind,
            number=number,
            language=self.policy.language,
            images=1,
            turns=turns,
            made=self.made,
        )
        known = checks.Known(subject.context, self.annotations.vocabulary, self.policy.checks)
        fault = checks.first_fault(dialogue, known)
        return _Read(turns) if fault is None else _Read(turns, fault.reason, fault.detail)

    def _may_repair(self, found: _Read) -> bool:
        is_faulty = found.reason is not None and found.reason not in _OF_SERVERS
        return is_faulty and self.policy.repairs > 0


def load_maker(policy: InstructPolicy, run: Path) -> Maker:
    """With the annotations that the policy names, and the replies that RUN holds.

    Raises: BadInputError: annotations, prompts or the key are missing, or not what they should be.
    """
    annotations = read_annotations(policy.annotations)
    if policy.backend == "template":
        return TemplateMaker(policy, annotations)
    prompts = load_prompts(policy.prompts, policy.language)
    made = Making(
        backend=policy.backend,
        model=policy.model or _name_of(policy.chat),
        source=policy.source,
        prompt=prompts.title,
        prompt_sha256=prompts_sha256(policy.prompts, policy.language),
    )
    return ModelMaker(policy, annotations, prompts, load_asker(policy, run), made)


def _name_of(model: ModelPolicy | None) -> str:
    """A hub's name; of a folder its last part: where it lies is another place elsewhere."""
    if model is None:
        return ""
    folder = Path(model.model)
    return folder.name if folder.is_dir() else model.model
