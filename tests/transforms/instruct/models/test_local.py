"""A model of transformers on this machine: a tiny one of seeded weights, which talks no sense."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_models import llava_folder

from schemas.context import Context
from schemas.dialogue import DialogueFault, Kind
from schemas.errors import BadInputError
from transforms.instruct.makers import ModelMaker, load_maker
from transforms.instruct.models.local import LocalAsker, load_local
from transforms.instruct.models.requests import first_request
from transforms.instruct.policy import InstructPolicy, making_identity
from transforms.instruct.subjects import Subject
from transforms.shards.pool import PoolImages

__all__ = ["llava_folder"]
Load = Callable[..., ModelMaker]
ABOUT = Context(captions=("a dog runs",))


@pytest.fixture
def load(llava_folder: Path, tmp_path: Path) -> Iterator[Load]:
    def load(**settings: Any) -> ModelMaker:
        asked = {"backend": "chat", "chat": {"model": str(llava_folder)}, "max_tokens": 400}
        policy = InstructPolicy.model_validate({**asked, "temperature": 1.0, **settings})
        made = load_maker(policy, tmp_path / "run")
        assert isinstance(made, ModelMaker)
        return made

    yield load
    load_local.cache_clear()


@pytest.fixture
def images(draw_pool, tmp_path: Path) -> Iterator[PoolImages]:
    draw_pool(tmp_path / "pool", 0, [{"row": n} for n in range(3)])
    with PoolImages(tmp_path / "pool", 0) as found:
        yield found


def subject(number: int = 0) -> Subject:
    return Subject(uid=f"{number:032x}", key=f"00000{number:04d}", context=ABOUT)


@pytest.mark.parametrize("source", ["symbolic", "vision"])
def test_the_model_is_asked_by_its_template_and_once(
    source: str, load: Load, images: PoolImages
) -> None:
    maker = load(source=source)
    request = first_request(
        subject(), Kind.CONVERSATION, 0, maker.policy, maker.prompts, images.read
    )
    stored = maker.asker.reply(request)
    assert stored is not None
    assert stored.text
    assert stored.tokens_in > 20
    assert 0 < stored.tokens_out < 400
    spend = maker.asker.replies.spend()
    assert (spend.requests, spend.usd) == (1, 0)
    assert load(source=source).asker.reply(request) == stored
    assert maker.asker.replies.spend().requests == 1


def test_the_same_seed_says_the_same_and_a_picture_changes_it(
    load: Load, images: PoolImages
) -> None:
    maker = load(source="vision")
    assert isinstance(maker.asker, LocalAsker)
    requests = [
        first_request(subject(n), Kind.CONVERSATION, 0, maker.policy, maker.prompts, images.read)
        for n in (0, 1)
    ]
    first, again = (maker.asker._generate(requests[0]) for _ in range(2))
    assert first == again
    assert maker.asker._generate(requests[1]) != first


def test_words_without_a_form_are_a_fault_of_their_dialogue(load: Load, images: PoolImages) -> None:
    row = load(repairs=0).make(subject(), Kind.CONVERSATION, 0, images)
    assert row is not None
    assert row["fault"] == DialogueFault.UNPARSABLE.value
    assert row["made"]["backend"] == "chat"


def test_a_reply_that_is_cut_off_is_no_dialogue(load: Load, images: PoolImages) -> None:
    row = load(max_tokens=2, repairs=0).make(subject(), Kind.CONVERSATION, 0, images)
    assert row is not None
    assert (row["fault"], row["detail"]) == (
        DialogueFault.UNPARSABLE.value,
        "a reply cut off by `max_tokens`",
    )


def test_other_weights_are_another_maker(llava_folder: Path, tmp_path: Path) -> None:
    def identity(**chat: Any) -> Any:
        model = {"model": str(llava_folder), **chat}
        return making_identity(InstructPolicy.model_validate({"backend": "chat", "chat": model}))

    assert identity() == identity(device="cuda")
    assert identity() != identity(precision="bf16")
    assert str(llava_folder) not in str(identity())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"chat": None}, "`chat` goes with backend chat"),
        ({"backend": "template"}, "`chat` goes with backend chat"),
        ({"url": "http://127.0.0.1:9/v1"}, "`url` goes with backends endpoint and batch"),
    ],
)
def test_what_does_not_go_together_is_refused(
    settings: dict[str, Any], told: str, load: Load
) -> None:
    with pytest.raises(ValueError, match=told):
        load(**settings)


def test_a_folder_without_a_model_is_told(load: Load, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="nowhere"):
        load(chat={"model": str(tmp_path / "nowhere")})
