"""Who makes dialogues: rules, or a model behind a server or on this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.dialogue import Dialogue, DialogueFault, Kind, Making, Turn
from transforms.chat.client import Reply
from transforms.hub.policy import ModelPolicy
from transforms.instruct import template
from transforms.instruct.annotations import Annotations, read_annotations
from transforms.instruct.checks.judge import Known, first_fault
from transforms.instruct.checks.speech import refusal
from transforms.instruct.making import Images, Maker, Planned, Row, made_row
from transforms.instruct.models.batch import BatchAsker
from transforms.instruct.models.load import Asker, load_asker
from transforms.instruct.models.prompts import PromptFile, load_prompts, prompts_sha256
from transforms.instruct.models.replies import OverBudgetError
from transforms.instruct.models.requests import (
    Request,
    first_request,
    possible_kinds,
    repair_request,
)
from transforms.instruct.parse import ParseError, parse_answer, parse_blocks
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.subjects import Subject

_OF_SERVERS = (DialogueFault.NO_REPLY, DialogueFault.REFUSED)  # to ask once more would not help


@dataclass(frozen=True, slots=True)
class _Read:
    """The turns of a reply, and what is wrong with it, if something is."""

    said: str = ""
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

    @property
    def rounds(self) -> int:
        return 0

    def ask_ahead(self, planned: Sequence[Planned], images: Images, number: int) -> None:
        """Nothing is asked."""

    def prepare(self, planned: Sequence[Planned], images: Images) -> None:
        """Nothing is asked."""

    def make(self, subject: Subject, kind: Kind, number: int, images: Images) -> Row:
        seed = f"{self.policy.seed} {subject.uid} {kind}"
        turns = template.make_turns(kind, self._material(subject), seed, number)
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

    @property
    def rounds(self) -> int:
        return 1 + self.policy.repairs if isinstance(self.asker, BatchAsker) else 0

    def ask_ahead(self, planned: Sequence[Planned], images: Images, number: int) -> None:
        """First requests, then repairs of what they gave."""
        if not isinstance(self.asker, BatchAsker):
            return
        if not number:
            self.asker.submit(self._first(one, images) for one in planned)
            return
        self.asker.collect(self._first(one, images) for one in planned)
        repairs = (self._repair_of(one, self._first(one, images)) for one in planned)
        self.asker.submit(filter(None, repairs))

    def prepare(self, planned: Sequence[Planned], images: Images) -> None:
        """By batch all is brought at once."""
        if not isinstance(self.asker, BatchAsker):
            return
        for number in range(self.rounds):
            self.ask_ahead(planned, images, number)
        firsts = [self._first(one, images) for one in planned]
        self.asker.collect(firsts)
        repairs = (self._repair_of(*both) for both in zip(planned, firsts, strict=True))
        self.asker.collect(filter(None, repairs))

    def make(self, subject: Subject, kind: Kind, number: int, images: Images) -> Row | None:
        planned = (subject, kind, number)
        request = self._first(planned, images)
        try:
            found = self._read(self.asker.reply(request), request, planned)
            again = self._repair(found, request)
            if again is not None:
                found = self._read(self.asker.reply(again), again, planned)
        except OverBudgetError:
            return None
        # What turns say is judged when the ledger is written: only what gave none is a fault here.
        fault = None if found.turns or found.reason is None else (found.reason, found.detail)
        language = self.policy.language
        return made_row(
            *planned, language, self.made, found.turns, fault, repaired=again is not None
        )

    def _first(self, planned: Planned, images: Images) -> Request:
        return first_request(*planned, self.policy, self.prompts, images.read)

    def _repair_of(self, planned: Planned, request: Request) -> Request | None:
        """What is asked once more, as far as replies are there."""
        try:
            return self._repair(self._read(self.asker.reply(request), request, planned), request)
        except OverBudgetError:
            return None

    def _repair(self, found: _Read, request: Request) -> Request | None:
        """The request with what was wrong; None: nothing was, or to ask once more is of no use."""
        if found.reason is None or found.reason in _OF_SERVERS or not self.policy.repairs:
            return None
        return repair_request(request, self.prompts, found.said, f"{found.reason}: {found.detail}")

    def _read(self, reply: Reply | None, request: Request, planned: Planned) -> _Read:
        if reply is None:
            return _Read(
                reason=DialogueFault.NO_REPLY, detail="nothing that could be read was said"
            )
        if reply.refused is not None:
            return _Read(reason=DialogueFault.REFUSED, detail=reply.refused)
        try:
            turns = _turns_of(reply, request)
        except ParseError as err:
            declined = refusal(reply.text)
            if declined is not None:
                return _Read(reply.text, reason=DialogueFault.REFUSAL, detail=declined)
            return _Read(reply.text, reason=DialogueFault.UNPARSABLE, detail=str(err))
        subject, kind, number = planned
        dialogue = Dialogue(
            uid=subject.uid,
            kind=kind,
            number=number,
            language=self.policy.language,
            images=1,
            turns=turns,
            made=self.made,
        )
        known = Known(subject.context, self.annotations.vocabulary, self.policy.checks)
        fault = first_fault(dialogue, known)
        if fault is None:
            return _Read(reply.text, turns)
        return _Read(reply.text, turns, fault.reason, fault.detail)


def _turns_of(reply: Reply, request: Request) -> tuple[Turn, ...]:
    """Raises: ParseError."""
    if reply.fault is not None:
        raise ParseError(reply.fault)
    if request.question is None:
        return parse_blocks(reply.text)
    return parse_answer(reply.text, request.question)


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
