import json
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.demo.answers import Answer
from pipelines.demo.corpus import DemoPlan, plan_demo, write_plan
from pipelines.demo.kinds import GOOD_KINDS, SLOW_ROWS_AT_MOST, Kind, extra_rows
from pipelines.demo.scenes import Scene, captions, is_held_out
from schemas.errors import BadInputError

FLICKR8K = Path(__file__).parents[4] / "shared" / "data" / "flickr8k"


@pytest.fixture(scope="module")
def plan() -> DemoPlan:
    return plan_demo(600, seed=5)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty "photographs" in one split, two in another."""
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = [_photo(folder, number, "val" if number < 20 else "train") for number in range(22)]
    (folder / "captions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def _photo(folder: Path, number: int, split: str) -> str:
    Image.new("RGB", (90, 70), (number, 80, 90)).save(folder / f"{number}.jpg")
    line = {
        "id": f"photo {number}",
        "file": f"{number}.jpg",
        "split": split,
        "captions_en": [f"A dog with {number} spots .", f"Dog number {number} ."],
        "captions_zh": [f"{number}只狗。"],
        "multi30k": {"en": f"Dog {number}.", "de": f"Hund {number}."},
    }
    return json.dumps(line)


def scene_of(answer: Answer) -> Scene:
    assert isinstance(answer.picture.source, Scene)
    return answer.picture.source


def test_same_arguments_give_the_same_plan(plan: DemoPlan):
    assert plan_demo(600, seed=5) == plan
    assert plan_demo(600, seed=6).rows != plan.rows


def test_the_rows_are_shuffled(plan: DemoPlan):
    first_half = Counter(row.kind for row in plan.rows[:300])
    assert 60 < first_half[Kind.GOOD] < 140
    assert 10 < first_half[Kind.EXACT_COPY] < 55


@pytest.mark.parametrize("rows", [40, 41, 99, 600])
def test_a_plan_has_the_rows_asked_for_and_every_kind(rows: int):
    kinds = Counter(row.kind for row in plan_demo(rows, seed=1).rows)
    assert kinds.total() == rows
    assert set(kinds) == set(Kind)


def test_half_are_pictures_of_which_a_part_has_a_wrong_caption(plan: DemoPlan):
    kinds = Counter(row.kind for row in plan.rows)
    assert kinds[Kind.GOOD] + kinds[Kind.REDIRECT] + kinds[Kind.WRONG_CAPTION] == 300
    assert kinds[Kind.WRONG_CAPTION] == 90


def test_no_row_comes_twice(plan: DemoPlan):
    assert len({(row.url, row.caption) for row in plan.rows}) == len(plan.rows)


@pytest.mark.parametrize("total", [17, 100, 5000])
def test_extra_rows_add_up_and_few_are_slow(total: int):
    counts = extra_rows(total)
    assert sum(counts.values()) == total
    assert min(counts.values()) >= 1
    assert counts[Kind.SLOW] <= SLOW_ROWS_AT_MOST


def test_fewer_extra_rows_than_kinds_are_refused():
    with pytest.raises(ValueError, match="16 rows cannot hold 17 kinds"):
        extra_rows(16)


def test_right_captions_are_true_and_wrong_ones_name_nothing_shown(plan: DemoPlan):
    for row in plan.rows:
        shown = scene_of(plan.answers[row.url])
        if row.caption_right:
            assert row.caption in captions(shown)
        elif row.kind is Kind.WRONG_CAPTION:
            assert str(shown.first) not in row.caption
            assert str(shown.second) not in row.caption
            assert row.caption.isascii()


def test_only_combinations_that_no_model_was_trained_on_are_shown(plan: DemoPlan):
    assert all(is_held_out(scene_of(answer)) for answer in plan.answers.values())


def test_copies_carry_the_caption_of_their_picture(plan: DemoPlan):
    said = defaultdict(set)
    for row in plan.rows:
        if row.kind in (Kind.GOOD, Kind.REDIRECT):
            said[row.image].add(row.caption)
    copies = [r for r in plan.rows if r.kind in (Kind.EXACT_COPY, Kind.REENCODED_COPY)]
    assert copies
    assert all(said[row.image] == {row.caption} for row in copies)


def test_only_more_captions_share_a_url(plan: DemoPlan):
    shared = {Kind.SAME_URL, Kind.OTHER_LANGUAGE, Kind.EMPTY_CAPTION}
    own = [row.url for row in plan.rows if row.kind not in shared]
    assert len(set(own)) == len(own)
    good = {row.url for row in plan.rows if row.kind in GOOD_KINDS - shared}
    assert all(row.url in good for row in plan.rows if row.kind in shared)


def test_blank_and_foreign_captions(plan: DemoPlan):
    by_kind = defaultdict(list)
    for row in plan.rows:
        by_kind[row.kind].append(row.caption)
    assert not any(caption.strip() for caption in by_kind[Kind.EMPTY_CAPTION])
    starts = ("图的", "Links ", "Oben ", "À gauche", "En haut", "Na obrázku")
    assert all(caption.startswith(starts) for caption in by_kind[Kind.OTHER_LANGUAGE])


def test_urls_name_hosts_of_the_demo_without_a_port(plan: DemoPlan):
    hosts = {url.split("/")[2] for url in plan.answers}
    assert all(host.endswith(".demo.test") for host in hosts)
    assert len(hosts) >= 6


def test_redirects_lead_to_the_picture_and_loops_back(plan: DemoPlan):
    for row in plan.rows:
        location = plan.answers[row.url].location
        if row.kind is Kind.REDIRECT:
            assert location is not None
            assert plan.answers[location].picture.name == row.image
            assert plan.answers[location].location is None
        elif row.kind is Kind.REDIRECT_LOOP:
            assert location is not None
            assert plan.answers[location].location == row.url


def test_each_photograph_is_used_once(photos: Path):
    plan = plan_demo(60, seed=2, photos=photos)
    bases = [
        row.image for row in plan.rows if row.kind in (Kind.GOOD, Kind.REDIRECT, Kind.WRONG_CAPTION)
    ]
    assert sorted(bases) == sorted(f"photo {number}" for number in range(20))
    assert len(plan.rows) == 60


@pytest.mark.skipif(not FLICKR8K.is_dir(), reason=f"{FLICKR8K.name} is not beside the checkout")
def test_real_photographs_fill_a_list_of_two_thousand():
    plan = plan_demo(2000, seed=0, photos=FLICKR8K, split="val")
    kinds = Counter(row.kind for row in plan.rows)
    bases = {Kind.GOOD, Kind.REDIRECT, Kind.WRONG_CAPTION}
    assert kinds.total() == 2000
    assert kinds[Kind.WRONG_CAPTION] == 300
    assert len({row.image for row in plan.rows if row.kind in bases}) == 1000
    for row in plan.rows:
        assert (row.caption in plan.answers[row.url].picture.captions) == row.caption_right


def test_photographs_keep_their_own_captions(photos: Path):
    plan = plan_demo(60, seed=2, photos=photos)
    for row in plan.rows:
        picture = plan.answers[row.url].picture
        assert (row.caption in picture.captions) == row.caption_right
        if row.kind is Kind.OTHER_LANGUAGE:
            assert row.caption in picture.foreign
            assert not row.caption.startswith("Dog")


def test_a_plan_does_not_depend_on_where_the_photographs_lie(photos: Path, tmp_path: Path):
    here = plan_demo(60, seed=2, photos=photos).rows
    moved = photos.rename(tmp_path / "elsewhere")
    assert plan_demo(60, seed=2, photos=moved).rows == here


def test_photographs_without_other_languages_leave_more_copies(photos: Path):
    path = photos / "captions.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    bare = [{key: line[key] for key in ("id", "file", "split", "captions_en")} for line in lines]
    path.write_text("\n".join(json.dumps(line) for line in bare), encoding="utf-8")
    kinds = Counter(row.kind for row in plan_demo(60, seed=2, photos=photos).rows)
    assert kinds.total() == 60
    assert kinds[Kind.OTHER_LANGUAGE] == 0


@pytest.mark.parametrize(
    ("rows", "split", "why"),
    [
        (39, "val", "at least 40 rows; 39"),
        (81, "val", "20 photographs are enough for at most 80 rows"),
        (60, "test", "no line with split 'test'"),
    ],
)
def test_arguments_that_cannot_be_met_are_refused(photos: Path, rows: int, split: str, why: str):
    with pytest.raises(BadInputError, match=why):
        plan_demo(rows, seed=0, photos=photos, split=split)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{not json", "line 23: the line"),
        ('{"id": "x", "file": "1.jpg", "split": "val", "captions_en": []}', "line 23: captions_en"),
        ('{"id": "x", "file": "no.jpg", "split": "val", "captions_en": ["a"]}', "no.jpg is miss"),
        ('{"id": "photo 1", "file": "1.jpg", "split": "val", "captions_en": ["a"]}', "one id"),
    ],
)
def test_a_broken_photo_folder_is_refused(photos: Path, line: str, why: str):
    with (photos / "captions.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n" + line)
    with pytest.raises(BadInputError, match=why):
        plan_demo(60, seed=0, photos=photos)


def test_a_folder_without_captions_is_refused(tmp_path: Path):
    with pytest.raises(BadInputError, match=r"captions\.jsonl cannot be read"):
        plan_demo(60, seed=0, photos=tmp_path)


def test_a_plan_is_written_once_and_read_back(plan: DemoPlan, tmp_path: Path):
    path = write_plan(plan, tmp_path)
    before = path.read_bytes()
    assert write_plan(plan, tmp_path).read_bytes() == before
    rows = pq.read_table(path).to_pylist()
    assert rows == [{"url": row.url, "caption": row.caption} for row in plan.rows]
    truth = pq.read_table(tmp_path / "truth.parquet").to_pylist()
    assert [(t["row"], t["kind"]) for t in truth] == [(n, r.kind) for n, r in enumerate(plan.rows)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["list.parquet", "truth.parquet"]


def test_another_demo_s_folder_is_left_alone(plan: DemoPlan, tmp_path: Path):
    path = write_plan(plan, tmp_path)
    before = path.read_bytes()
    with pytest.raises(BadInputError, match="choose another folder"):
        write_plan(plan_demo(600, seed=6), tmp_path)
    assert path.read_bytes() == before
