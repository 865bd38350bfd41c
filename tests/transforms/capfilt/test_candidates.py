"""The measures of the stage, without Beam: what is asked of the models and what is kept of it."""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from schemas.errors import RunFailedError
from tests.transforms.capfilt.blip_models import save_captioner, save_itm
from transforms.capfilt.candidates import ask_by_image, candidate_table, score_texts
from transforms.capfilt.columns import CANDIDATES_SCHEMA, CLIP_TEXTS_SCHEMA, MATCHES_SCHEMA
from transforms.capfilt.policy import CaptionerPolicy, ItmPolicy, question
from transforms.capfilt.seeds import seeds_of
from transforms.decide.basic import CaptionRule
from transforms.decide.screen import Step
from transforms.hub.errors import ModelError, OutOfMemoryError
from transforms.measure import measurers
from transforms.measure.measurers import (
    measure_part_captions,
    measure_part_clip,
    measure_part_clip_texts,
    measure_part_itm,
)
from transforms.measure.stage import Measurer, measure_shard
from transforms.score.clip import clip_scores
from transforms.score.clip_model import load_clip
from transforms.score.policy import LOCAL_DIR, ClipPolicy
from transforms.shards.commit import committed
from transforms.shards.measures import measure_parts, read_measure
from transforms.shards.pool import PoolImages, read_pool

SHIPPED = Path(__file__).parents[3] / "pipelines" / "pocket" / "clip"
POCKET = ClipPolicy(architecture=f"{LOCAL_DIR}{SHIPPED}", batch_size=4)
# Rows 1, 2 and 5 are of images 1 and 2 again.
ROWS = [
    {"row": 0, "image": 0, "caption": "one word and more of them"},
    {"row": 1, "image": 1, "url": "http://pool.test/1.jpg", "caption": "a dog"},
    {"row": 2, "image": 1, "url": "http://pool.test/1.jpg", "caption": "the very same dog again"},
    {"row": 3, "image": 2, "url": "http://pool.test/2.jpg", "caption": "a cat on the red box"},
    {"row": 4, "image": 2, "url": "http://pool.test/2.jpg", "caption": "a cat"},
    {"row": 5, "image": 3, "caption": "a tree"},
]
IMAGE_OF = [row["image"] for row in ROWS]
Colour = tuple[int, ...]


def _colour(picture: Image.Image) -> Colour:
    """Drawn pools have one colour a picture, which tells them apart."""
    found = picture.getpixel((3, 3))
    assert isinstance(found, tuple)
    return tuple(int(part) for part in found)


class _Fake:
    """A captioner and a filter that say what they were asked; no more than `room` pictures at
    once, and none of `bad`."""

    def __init__(self, room: int = 100, bad: Iterable[Colour] = ()) -> None:
        self.room, self.bad = room, set(bad)
        self.seen: list[list[Colour]] = []  # by call
        self.asked: list[list[str]] = []  # texts, by picture

    def _look(self, images: Sequence[Image.Image]) -> list[Colour]:
        self.seen.append([_colour(image) for image in images])
        if len(images) > self.room:
            raise OutOfMemoryError("The batch does not fit in memory.")
        if self.bad & set(self.seen[-1]):
            raise ModelError("The picture is bad.")
        return self.seen[-1]

    def caption(
        self, images: Sequence[Image.Image], seeds: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        colours = self._look(images)
        return [
            [f"{colour} by {seed}" for seed in own]
            for colour, own in zip(colours, seeds, strict=True)
        ]

    def match(
        self, images: Sequence[Image.Image], texts: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        colours = self._look(images)
        self.asked += [list(own) for own in texts]
        return [
            [_probability(colour, text) for text in own]
            for colour, own in zip(colours, texts, strict=True)
        ]


def _probability(colour: Colour, text: str) -> float:
    """Another for each picture and text, and a whole number of 1/1024, which a float32 holds."""
    return (sum(colour) * 7 + sum(map(ord, text)) * 13) % 1024 / 1024


class _Run:
    """A RUN with one pool shard, measured in folders of the test's own."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def folder(self, name: str) -> Path:
        return self.run / "measures" / name / "f"

    def measure(self, name: str, measurer: Measurer, min_words: int = 1) -> pa.Table:
        """One more part of a measure, for rows with so many words. Gives the whole measure in the
        pool's order of rows."""
        before = [Step(name="rules.0.caption", rule=CaptionRule(min_words=min_words))]
        measure_shard(0, self.run, self.folder(name), before, measurer)
        return self.read(name)

    def read(self, name: str) -> pa.Table:
        found = read_measure(self.folder(name), 0)
        places = {uid: place for place, uid in enumerate(self.rows["uid"].to_pylist())}
        return found.take(np.argsort([places[uid] for uid in found["uid"].to_pylist()]))

    def captions(self, policy: CaptionerPolicy, min_words: int = 1) -> pa.Table:
        return self.measure(
            "captions", partial(measure_part_captions, policy=policy), min_words=min_words
        )

    def itm(self, policy: ItmPolicy, *, candidates: bool = True, min_words: int = 1) -> pa.Table:
        captions = self.folder("captions") if candidates else None
        measurer = partial(measure_part_itm, policy=policy, captions=captions)
        return self.measure("itm", measurer, min_words=min_words)

    def clip_texts(self, policy: ClipPolicy = POCKET) -> pa.Table:
        self.measure("clip", partial(measure_part_clip, policy=policy))
        folders = {"clip": self.folder("clip"), "captions": self.folder("captions")}
        measurer = partial(measure_part_clip_texts, policy=policy, **folders)
        return self.measure("clip-texts", measurer)

    @property
    def rows(self) -> pa.Table:
        return read_pool(self.run / "pool", 0)

    def images(self) -> PoolImages:
        return PoolImages(self.run / "pool", 0)

    def colours(self) -> list[Colour]:
        """Of each row's picture."""
        with self.images() as images:
            return [_colour(images.picture(key)) for key in self.rows["key"].to_pylist()]


@pytest.fixture
def drawn(draw_pool, tmp_path: Path) -> _Run:
    draw_pool(tmp_path / "pool", 0, ROWS)
    return _Run(tmp_path)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch):
    """Put a model of the test's own where recipes' models are loaded; failures of others of its
    name are forgotten."""

    def use(fake: _Fake) -> _Fake:
        monkeypatch.setattr(measurers, "load_captioner", lambda policy: fake)
        monkeypatch.setattr(measurers, "load_matcher", lambda policy: fake)
        measurers._attempts.cache_clear()
        return fake

    return use


def _captioner(**settings: Any) -> CaptionerPolicy:
    return CaptionerPolicy.model_validate({"model": "fake", "batch_size": 3, **settings})


def _filter(**settings: Any) -> ItmPolicy:
    return ItmPolicy.model_validate({"model": "judge", "batch_size": 3, **settings})


def _distinct(colours: Sequence[Colour]) -> list[Colour]:
    return list(dict.fromkeys(colours))


def test_rows_of_an_image_share_candidates_that_are_made_once(drawn: _Run, use) -> None:
    fake, policy = use(_Fake()), _captioner(candidates=2, seed=4)
    found = drawn.captions(policy).to_pylist()
    colours = drawn.colours()
    assert fake.seen == [_distinct(colours)[:3], _distinct(colours)[3:]]  # batches of three
    assert [line["texts"] for line in found] == [
        [f"{colour} by {seed}" for seed in line["seeds"]]
        for colour, line in zip(colours, found, strict=True)
    ]
    assert found[1]["texts"] == found[2]["texts"] != found[3]["texts"]
    facts = committed(measure_parts(drawn.folder("captions"), 0)[0]) or {}
    assert (facts["rows"], facts["images"]) == (6, 4)


def test_what_made_a_candidate_stands_beside_it(drawn: _Run, use) -> None:
    use(_Fake())
    policy = _captioner(candidates=2, top_p=0.7, temperature=0.4, prompt="a picture of")
    lines = drawn.captions(policy).to_pylist()
    assert all(line["model"] == "fake" and line["digest"] is None for line in lines)
    (decoding,) = {line["decoding"] for line in lines}
    told = json.loads(decoding)
    assert (told["decoding"], told["top_p"], told["candidates"]) == ("nucleus", 0.7, 2)
    assert (told["temperature"], told["prompt"]) == (0.4, "a picture of")
    assert told["min_tokens"] == policy.min_tokens
    assert "batch_size" not in told


def test_what_a_server_was_never_told_stands_nowhere() -> None:
    policy = CaptionerPolicy(
        backend="endpoint", model="m", url="http://127.0.0.1:1/v1", language="zh"
    )
    found = {"a": {"texts": ["x"], "seeds": [1], "error": None}}
    (line,) = candidate_table(["a"], found, policy, None).to_pylist()
    told = json.loads(line["decoding"])
    assert told["prompt"] == question(policy)
    assert told["max_tokens"] == 60
    assert not {"repetition_penalty", "min_tokens", "beams", "precision"} & told.keys()


def test_where_a_folder_lies_is_not_noted(tmp_path: Path) -> None:
    (tmp_path / "blip").mkdir()
    policy = CaptionerPolicy(model=str(tmp_path / "blip"))
    found = {"a": {"texts": ["x"], "seeds": [1], "error": None}}
    (line,) = candidate_table(["a"], found, policy, "d").to_pylist()
    assert (line["model"], line["digest"]) == ("blip", "d")


def test_a_unit_that_fails_throughout_is_not_finished(drawn: _Run, use) -> None:
    use(_Fake(bad=drawn.colours()))
    with pytest.raises(RunFailedError, match="failed at all 4 pictures of a unit"):
        drawn.captions(_captioner(batch_size=2))
    assert not measure_parts(drawn.folder("captions"), 0)
    use(_Fake())
    drawn.captions(_captioner(batch_size=2))
    use(_Fake(bad=drawn.colours()))
    with pytest.raises(RunFailedError, match="failed at all 4 pictures of a unit"):
        drawn.itm(_filter())
    assert not measure_parts(drawn.folder("itm"), 0)


def test_seeds_stay_what_they_are() -> None:
    """Else the same recipe would draw other captions without another name for them."""
    assert seeds_of(b"a picture", 7, 2) == [1561303080345361783, 808757993987823815]


def test_an_images_texts_are_asked_in_one_go(drawn: _Run, use) -> None:
    fake = use(_Fake())
    candidates = drawn.captions(_captioner(candidates=2))["texts"].to_pylist()
    fake.seen.clear()
    found = drawn.itm(_filter()).to_pylist()
    colours, captions = drawn.colours(), [row["caption"] for row in ROWS]
    assert [len(call) for call in fake.seen] == [3, 1]
    assert sorted(colour for call in fake.seen for colour in call) == sorted(_distinct(colours))
    assert fake.asked == [
        [captions[0], *candidates[0]],
        [captions[1], captions[2], *candidates[1]],
        [captions[3], captions[4], *candidates[3]],
        [captions[5], *candidates[5]],
    ]
    for place, line in enumerate(found):
        assert line["score"] == _probability(colours[place], captions[place])
        wanted = [_probability(colours[place], text) for text in candidates[place]]
        assert line["synthetic"] == wanted
        assert line["error"] is None


def test_without_candidates_web_captions_are_matched_alone(drawn: _Run, use) -> None:
    fake = use(_Fake())
    found = drawn.itm(_filter(), candidates=False)
    assert found["synthetic"].to_pylist() == [[]] * 6
    assert [len(own) for own in fake.asked] == [1, 2, 2, 1]
    assert None not in found["score"].to_pylist()


@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_picture_that_fails_costs_no_neighbour(drawn: _Run, use, size: int) -> None:
    use(_Fake())
    policy, judge = _captioner(batch_size=size), _filter(batch_size=size)
    whole, matched = drawn.captions(policy).to_pylist(), drawn.itm(judge).to_pylist()
    bad = drawn.colours()[1]
    use(_Fake(bad=[bad]))
    for name in ("captions", "itm"):
        for path in drawn.folder(name).iterdir():
            path.unlink()
    lines = drawn.captions(policy).to_pylist()
    failed = {"texts": [], "seeds": [], "error": "The picture is bad."}
    assert lines == [
        line | failed if image == 1 else line for image, line in zip(IMAGE_OF, whole, strict=True)
    ]
    unmatched = {"score": None, "synthetic": [], "error": "The picture is bad."}
    assert drawn.itm(judge).to_pylist() == [
        line | unmatched if image == 1 else line
        for image, line in zip(IMAGE_OF, matched, strict=True)
    ]


def test_an_image_without_candidates_is_still_matched(drawn: _Run, use) -> None:
    bad = drawn.colours()[1]
    use(_Fake(bad=[bad]))
    drawn.captions(_captioner())
    use(_Fake())
    found = drawn.itm(_filter()).to_pylist()
    assert [len(line["synthetic"]) for line in found] == [1, 0, 0, 1, 1, 1]
    assert [line["score"] for line in found] == [
        _probability(colour, row["caption"])
        for colour, row in zip(drawn.colours(), ROWS, strict=True)
    ]


def test_a_batch_that_does_not_fit_is_halved(drawn: _Run, use) -> None:
    fake = use(_Fake(room=1))
    tight = drawn.captions(_captioner(batch_size=4))
    assert [len(call) for call in fake.seen] == [4, 2, 1, 1, 2, 1, 1]
    assert tight["error"].null_count == 6
    matched = drawn.itm(_filter(batch_size=4))
    use(_Fake())
    loose = _Run(drawn.run / "loose")
    (loose.run).mkdir()
    (loose.run / "pool").symlink_to(drawn.run / "pool")
    assert loose.captions(_captioner(batch_size=4)) == tight
    assert loose.itm(_filter(batch_size=4)) == matched


def test_newcomers_get_the_candidates_that_one_run_would_have_given(
    drawn: _Run, tmp_path: Path
) -> None:
    """With real models: image 2's second row comes later than its first."""
    captioner = save_captioner(tmp_path / "captioner")
    policy = CaptionerPolicy(model=str(captioner), candidates=3, min_tokens=2, batch_size=2)
    judge = ItmPolicy(model=str(save_itm(tmp_path / "itm")), batch_size=2)
    for words in (5, 1):  # rows 0, 2 and 3, then the others
        drawn.captions(policy, min_words=words)
        drawn.itm(judge, min_words=words)
    parts = [committed(path) or {} for path in measure_parts(drawn.folder("captions"), 0)]
    assert [(part["rows"], part["images"]) for part in parts] == [(3, 3), (3, 3)]
    once = _Run(tmp_path / "once")
    once.run.mkdir()
    (once.run / "pool").symlink_to(drawn.run / "pool")
    at_once = once.captions(policy)
    assert drawn.read("captions") == at_once
    assert len({text for texts in at_once["texts"].to_pylist() for text in texts}) > 4
    later, matched = drawn.read("itm").to_pylist(), once.itm(judge).to_pylist()
    for one, other in zip(later, matched, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)
        assert one["synthetic"] == pytest.approx(other["synthetic"], abs=1e-6)


def test_newcomers_of_an_image_that_failed_are_scored_by_texts_of_their_own(
    drawn: _Run, use
) -> None:
    """The captioner fails at image 1 for row 2, and later not for row 1; the filter then comes to
    both rows at once."""
    bad = drawn.colours()[1]
    use(_Fake(bad=[bad]))
    drawn.captions(_captioner(candidates=2), min_words=5)
    use(_Fake())
    captioned = drawn.captions(_captioner(candidates=2)).to_pylist()
    assert [len(line["texts"]) for line in captioned] == [2, 2, 0, 2, 2, 2]
    matched = drawn.itm(_filter()).to_pylist()
    assert [len(line["synthetic"]) for line in matched] == [2, 2, 0, 2, 2, 2]
    colours = drawn.colours()
    for colour, line, scores in zip(colours, captioned, matched, strict=True):
        assert scores["synthetic"] == [_probability(colour, text) for text in line["texts"]]


def test_seeds_are_of_the_bytes_the_recipes_seed_and_the_place() -> None:
    ten = seeds_of(b"picture", 0, 10)
    assert ten[:3] == seeds_of(b"picture", 0, 3)
    others = [seeds_of(b"another", 0, 10), seeds_of(b"picture", 1, 10)]
    assert len({seed for seeds in (ten, *others) for seed in seeds}) == 30
    assert all(0 <= seed < 1 << 63 for seed in ten)


def test_equal_bytes_have_equal_seeds_whatever_their_row(draw_pool, tmp_path: Path, use) -> None:
    use(_Fake())
    again = 19_200  # the colour of image 0 comes again
    other_bytes = {"row": 2, "image": 2 * again, "extension": "png"}  # of the same pixels
    rows = [{"row": 0}, {"row": 1, "image": again}, other_bytes]
    draw_pool(tmp_path / "pool", 0, rows)
    drawn = _Run(tmp_path)
    seeds = drawn.captions(_captioner(candidates=2))["seeds"].to_pylist()
    assert seeds[0] == seeds[1] != seeds[2]
    with drawn.images() as images:
        data = [images.read(key)[1] for key in drawn.rows["key"].to_pylist()]
    assert data[0] == data[1]
    assert seeds == [seeds_of(one, 0, 2) for one in data]


def test_no_rows_are_empty_parts_with_their_columns(
    drawn: _Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _never(_: object) -> None:
        raise AssertionError("a model is loaded for no rows")

    for load in ("load_captioner", "load_matcher", "load_clip"):
        monkeypatch.setattr(measurers, load, _never)
    measurer = partial(
        measure_part_clip_texts,
        policy=POCKET,
        clip=drawn.folder("clip"),
        captions=drawn.folder("captions"),
    )
    found = [
        (drawn.captions(_captioner(), min_words=99), CANDIDATES_SCHEMA),
        (drawn.itm(_filter(), min_words=99), MATCHES_SCHEMA),
        (drawn.measure("clip-texts", measurer, min_words=99), CLIP_TEXTS_SCHEMA),
    ]
    for table, schema in found:
        assert table.num_rows == 0
        assert table.schema.remove(0) == schema


def test_parts_with_and_without_rows_fit_together(drawn: _Run, use) -> None:
    use(_Fake())
    for words in (99, 5, 1):
        drawn.captions(_captioner(), min_words=words)
        drawn.itm(_filter(), min_words=words)
    assert drawn.read("captions").num_rows == drawn.read("itm").num_rows == 6
    assert drawn.read("captions").schema.remove(0) == CANDIDATES_SCHEMA
    assert drawn.read("itm").schema.remove(0) == MATCHES_SCHEMA


def test_clip_scores_of_texts_are_those_of_the_pocket_clip(drawn: _Run, use) -> None:
    use(_Fake(bad=[drawn.colours()[0]]))
    texts = drawn.captions(_captioner(candidates=3))["texts"].to_pylist()
    found = drawn.clip_texts().to_pylist()
    clip = load_clip(POCKET)
    with drawn.images() as images:
        for row, own, line in zip(drawn.rows.to_pylist(), texts, found, strict=True):
            image = clip.embed_images([images.picture(row["key"])])
            said = [row["caption"], *own]
            wanted = [clip_scores(image, clip.embed_texts([text]))[0] for text in said]
            # What is stored of an image is in fp16.
            assert [line["score"], *line["synthetic"]] == pytest.approx(wanted, abs=1e-3)
    assert [len(line["synthetic"]) for line in found] == [0, 3, 3, 3, 3, 3]
    scores = [round(score, 3) for line in found for score in line["synthetic"]]
    assert len(set(scores)) > 6


def _norm_1(count: int, width: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    found = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("size", [1, 3, 64])
def test_batches_and_their_order_change_no_clip_score(size: int) -> None:
    words = ("a dog", "a cat that sits on the red box", "", "tree " * 30, "one man", "two men")
    candidates = [[words[(3 * n + m) % 6] for m in range(n % 4)] for n in range(7)]
    clip = load_clip(POCKET.model_copy(update={"batch_size": size}))
    width = clip.embed_texts(["a"]).shape[1]
    images, web = _norm_1(7, width, 1), _norm_1(7, width, 2)
    found = score_texts(images, web, candidates, clip)
    turned = score_texts(images[::-1], web[::-1], candidates[::-1], clip)
    assert found.schema == CLIP_TEXTS_SCHEMA
    assert found["score"].to_pylist() == pytest.approx(clip_scores(images, web).tolist(), abs=1e-6)
    assert turned["score"].to_pylist()[::-1] == found["score"].to_pylist()
    for image, own, ours, theirs in zip(
        images,
        candidates,
        found["synthetic"].to_pylist(),
        turned["synthetic"].to_pylist()[::-1],
        strict=True,
    ):
        wanted = [float(clip.embed_texts([text])[0] @ image) for text in own]
        assert ours == pytest.approx(wanted, abs=1e-6)
        assert theirs == pytest.approx(wanted, abs=1e-6)


def test_images_without_any_candidate_have_web_scores_alone() -> None:
    clip = load_clip(POCKET)
    width = clip.embed_texts(["a"]).shape[1]
    found = score_texts(_norm_1(2, width, 1), _norm_1(2, width, 2), [[], []], clip)
    assert found["synthetic"].to_pylist() == [[], []]
    assert found["score"].null_count == 0


def test_texts_are_asked_by_image_in_the_rows_order() -> None:
    rows = pa.table({"key": ["b", "a", "b"], "caption": ["one", "two", "three"]})
    found, places = ask_by_image(rows, [["x"], ["y", "z"], ["x"]])
    assert places == [(0, 0), (1, 0), (0, 1)]
    assert [tuple(one) for one in found] == [
        ("b", ["one", "three"], ("x",)),
        ("a", ["two"], ("y", "z")),
    ]
