"""What dialogues will ask of a server, before anything is asked: requests, tokens, money, time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, Field

from schemas.dialogue import Kind
from transforms.instruct.models.prompts import PromptFile, load_prompts
from transforms.instruct.models.replies import Replies, request_digest
from transforms.instruct.models.requests import (
    Picture,
    first_request,
    possible_kinds,
    tokens_expected,
    usd_at_most,
)
from transforms.instruct.plan import SURVEY_SCHEMA, plan_dialogues
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.subjects import Subject

Located = tuple[int, Subject]  # a pool shard, and an image in it


class Forecast(BaseModel):
    """Of the dialogues of one name."""

    name: str
    dialogues: int
    stored: int = Field(description="Of these, such as are answered already and cost nothing.")
    requests: int = Field(description="To be made; a reply with a fault takes one more.")
    tokens_in: int
    tokens_out: int = Field(description="As long as the prompts' examples.")
    usd: float
    usd_at_most: float = Field(description="Every reply as long as allowed, and repaired once.")
    minutes: float | None = Field(description="At requests_per_minute; null without such a limit.")
    over_cap: bool = Field(
        description="The budget does not allow all of it, after what RUN has spent."
    )


def forecast(
    name: str,
    policy: InstructPolicy,
    images: Iterable[Located],
    picture: Callable[[int], Callable[[str], Picture]],
    replies: Replies | None,
) -> Forecast:
    """What a policy asks about some images.

    Args: picture: reads the images of a pool shard."""
    prompts = load_prompts(policy.prompts, policy.language)
    located = {subject.uid: (shard, subject) for shard, subject in images}
    plan = _plan(located, policy, prompts)
    counts = _Counts()
    for row in plan:
        shard, subject = located[row["uid"]]
        kind = Kind(row["kind"])
        request = first_request(subject, kind, row["number"], policy, prompts, picture(shard))
        digest = request_digest(request.as_sent(policy), request.image_sha256)
        if replies is not None and replies.get(digest) is not None:
            counts.stored += 1
            continue
        counts.tokens_in += tokens_expected(request.messages, policy.budget.tokens_per_image)
        counts.tokens_out += _expected_reply(prompts, kind)
        counts.usd_at_most += usd_at_most(request.messages, policy) * (1 + policy.repairs)
    spent = (0, 0.0) if replies is None else _spent(replies)
    return _told(name, policy, len(plan), counts, *spent)


@dataclass(slots=True)
class _Counts:
    """Of what is to be asked."""

    stored: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd_at_most: float = 0.0


def _spent(replies: Replies) -> tuple[int, float]:
    """Requests and USD: the caps hold for all that a RUN ever asks."""
    spend = replies.spend()
    return spend.requests, spend.usd


def _told(
    name: str,
    policy: InstructPolicy,
    dialogues: int,
    counts: _Counts,
    requests_before: int,
    usd_before: float,
) -> Forecast:
    requests = dialogues - counts.stored
    usd = policy.budget.usd(counts.tokens_in, counts.tokens_out)
    limit, budget = policy.budget.requests_per_minute, policy.budget
    over = (
        budget.max_requests is not None and requests_before + requests > budget.max_requests
    ) or (budget.max_usd is not None and usd_before + usd > budget.max_usd)
    return Forecast(
        name=name,
        dialogues=dialogues,
        stored=counts.stored,
        requests=requests,
        tokens_in=counts.tokens_in,
        tokens_out=counts.tokens_out,
        usd=round(usd, 6),
        usd_at_most=round(counts.usd_at_most, 6),
        minutes=None if limit is None else round(requests / limit, 2),
        over_cap=over,
    )


def _plan(
    located: Mapping[str, Located], policy: InstructPolicy, prompts: PromptFile
) -> Sequence[dict[str, Any]]:
    survey = [
        {
            "uid": uid,
            "shard": shard,
            "possible": possible_kinds(subject.context, policy, prompts),
        }
        for uid, (shard, subject) in located.items()
    ]
    return plan_dialogues(pa.Table.from_pylist(survey, schema=SURVEY_SCHEMA), policy).to_pylist()


def _expected_reply(prompts: PromptFile, kind: Kind) -> int:
    """Tokens of a reply like those of the prompt's examples."""
    shots = prompts.kinds[kind].shots
    replies = [{"role": "assistant", "content": shot.reply} for shot in shots]
    return tokens_expected(replies, 0) // max(1, len(replies)) if replies else 100
