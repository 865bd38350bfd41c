"""Pictures of a small run found by text, by picture and by both, with the model that ships."""

import dataclasses
import io
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from pipelines.decide import decide
from pipelines.demo.scenes import captions, draw, sample_scene
from pipelines.job import Job
from pipelines.look.search import Found, Hit, search
from pipelines.look.thumbnails import print_found, thumbnail
from pipelines.recipe import Recipe
from schemas.errors import BadInputError, RunFailedError
from schemas.layout import Layout, pool_manifest, shard_name
from schemas.pair import POOL_SCHEMA, image_key, make_uid
from transforms.score.clip_model import load_clip
from transforms.shards.commit import Draft, write_atomically
from transforms.shards.measures import part_manifest
from transforms.shards.pool import read_pool
from transforms.shards.tar import sample_writer

_RNG = random.Random(4)
SCENES = [sample_scene(_RNG, held_out=False) for _ in range(6)]
CAPTIONS = [captions(scene)[0] for scene in SCENES]
RULES = [{"caption": {"min_words": 2}}, {"clip_score": {"model": "pocket", "at_least": 0.067}}]

# (row, image, scene, caption, shard): image 2 has two captions, image 5 that of another scene,
# image 6 shows image 0's scene again, image 7 a caption so short that it is never measured.
ROWS = [
    (0, 0, 0, CAPTIONS[0], 0),
    (1, 1, 1, CAPTIONS[1], 0),
    (2, 2, 2, CAPTIONS[2], 0),
    (3, 2, 2, captions(SCENES[2])[3], 0),
    (4, 4, 3, CAPTIONS[3], 1),
    (5, 5, 4, CAPTIONS[0], 1),
    (6, 6, 0, captions(SCENES[0])[2] + "\x1b[31m", 1),
    (7, 7, 5, "shapes", 1),
]


def _uid(row: int) -> str:
    _, image, _, caption, _ = ROWS[row]
    return make_uid(f"http://pool.test/{image}.jpg", caption)


def _jpeg(scene: int) -> bytes:
    out = io.BytesIO()
    draw(SCENES[scene]).save(out, "JPEG", quality=95)
    return out.getvalue()


def _write_pool(pool: Path, shard: int) -> None:
    rows = [row for row in ROWS if row[4] == shard]
    images = list(dict.fromkeys(image for _, image, *_ in rows))
    facts = [
        dict.fromkeys(POOL_SCHEMA.names)
        | {"row": row, "image": image, "uid": _uid(row), "caption": caption, "status": "success"}
        | {"key": image_key(shard, images.index(image)), "url": f"http://pool.test/{image}.jpg"}
        | {"width": 160, "height": 160, "original_width": 160, "original_height": 160}
        | {"repeated": False, "sha256": f"{image:064x}", "exif": "{}"}
        for row, image, _, caption, _ in rows
    ]
    pictures = {line["key"]: _jpeg(row[2]) for line, row in zip(facts, rows, strict=True)}
    name = shard_name(shard)
    with Draft(pool_manifest(pool, shard)) as draft:
        with sample_writer(draft.path(f"{name}.tar")) as writer:
            for key, jpeg in pictures.items():
                writer.write(key, {"jpg": jpeg})
        table = pa.Table.from_pylist(facts, schema=POOL_SCHEMA)
        pq.write_table(table, draft.path(f"{name}.parquet"))
        draft.facts["tar"] = f"{name}.tar"


def _measure(job: Job, part: int, rows: list[tuple[int, int, int, str, int]], shard: int) -> None:
    clip = load_clip(job.recipe.clip_model("pocket"))
    pictures = [Image.open(io.BytesIO(_jpeg(scene))) for _, _, scene, _, _ in rows]
    vectors = {"image": clip.embed_images(pictures), "text": clip.embed_texts([r[3] for r in rows])}
    manifest = part_manifest(job.measure("clip-pocket"), shard, part)
    table = {
        "uid": [_uid(row) for row, *_ in rows],
        "text": pa.array([0] * len(rows), pa.int32()),
        "score": (vectors["image"] * vectors["text"]).sum(axis=1),
    }
    with Draft(manifest) as draft:
        pq.write_table(pa.table(table), draft.path(f"{manifest.stem}.parquet"))
        for kind, found in vectors.items():
            with draft.path(f"{manifest.stem}.{kind}.npy").open("wb") as file:
                np.save(file, found.astype(np.float16))


def _job(run: Path, models: tuple[str, ...] = ("pocket",)) -> Job:
    clip = {name: {"architecture": "pocket", "threads": 1 + n} for n, name in enumerate(models)}
    content = {"input": {"list": str(run / "list.parquet")}, "clip": clip, "rules": RULES}
    recipe = Recipe.model_validate(content)
    return Job(run=run, recipe=recipe, pool_identity="p", shards=2)


@pytest.fixture(scope="module")
def undecided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All but row 7 measured, those of shard 1 in two parts; nothing decided."""
    run = tmp_path_factory.mktemp("search") / "run"
    job = _job(run)
    for shard in (0, 1):
        _write_pool(job.layout.pool, shard)
    _measure(job, 0, ROWS[:4], 0)
    _measure(job, 0, ROWS[5:7], 1)
    _measure(job, 1, ROWS[4:5], 1)
    write_atomically(Layout(run).job, job.save().encode())
    identity = {"input": {"sha256": "x"}, "fetch": job.recipe.fetch.identity()}
    Layout(run).identity.write_text(json.dumps(identity))
    return run


@pytest.fixture(scope="module")
def run(undecided: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, decided: row 5's caption is another picture's, row 7's is too short."""
    out = shutil.copytree(undecided, tmp_path_factory.mktemp("decided") / "run")
    assert decide(out, _job(out).recipe).kept == 6
    return out


def _rows(found: Found) -> list[int]:
    return [hit.row for hit in found.hits]


@pytest.mark.parametrize("row", [0, 1, 2, 4])
def test_a_caption_finds_its_picture(row: int, run: Path) -> None:
    found = search(run, text=ROWS[row][3])
    hit = found.hits[0]
    assert (hit.rank, hit.uid, hit.row, hit.kept) == (1, _uid(row), row, True)
    assert (found.images, found.unembedded, found.model) == (5, 0, "pocket")
    assert hit.score == pytest.approx(hit.clip_score, abs=1e-3)
    assert sorted(_rows(found)) == [0, 1, 2, 4, 6]


def test_a_hit_tells_all_kept_captions_of_its_picture_and_where_it_lies(run: Path) -> None:
    hit = search(run, text=ROWS[3][3], top=1).hits[0]
    assert (hit.row, hit.captions) == (2, (ROWS[2][3], ROWS[3][3]))
    assert (hit.shard, hit.key, hit.url) == (0, image_key(0, 2), "http://pool.test/2.jpg")
    read = read_pool(run / "pool", hit.shard).to_pylist()
    assert [line["row"] for line in read if line["key"] == hit.key] == [2, 3]


def test_a_file_finds_the_picture_that_it_is_and_equals_by_row(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    draw(SCENES[0]).save(path)
    first, second, third = search(run, image=path, top=3).hits
    assert [first.row, second.row] == [0, 6]
    assert first.score == second.score > 0.99 > third.score


def test_a_uid_finds_others_than_itself(run: Path) -> None:
    found = search(run, image=_uid(0))
    assert _rows(found)[0] == 6
    assert found.hits[0].score == pytest.approx(1, abs=1e-3)
    assert sorted(_rows(found)) == [1, 2, 4, 6]
    assert [hit.rank for hit in found.hits] == [1, 2, 3, 4]
    assert sorted(_rows(search(run, image=_uid(3)))) == [0, 1, 4, 6], "row 2 has its picture, too"


def test_alpha_goes_from_the_image_to_the_text(run: Path) -> None:
    by_both = [search(run, text=CAPTIONS[1], image=_uid(0), alpha=a) for a in (0, 0.5, 1)]
    by_image, by_text = search(run, image=_uid(0)), search(run, text=CAPTIONS[1])
    assert by_both[0].hits == by_image.hits
    assert [h.score for h in by_both[2].hits] == [h.score for h in by_text.hits if h.row != 0]
    of_row_1 = [next(h.score for h in f.hits if h.row == 1) for f in (*by_both, by_image, by_text)]
    assert of_row_1[0] < of_row_1[1]
    a, b = of_row_1[3], of_row_1[4]
    text = load_clip(_job(run).recipe.clip_model("pocket")).embed_texts([CAPTIONS[1]])[0]
    image = load_clip(_job(run).recipe.clip_model("pocket")).embed_images([_open(_jpeg(0))])[0]
    assert of_row_1[1] == pytest.approx((a + b) / np.linalg.norm(text + image), abs=1e-3)


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_all_finds_what_was_dropped_and_says_why(run: Path) -> None:
    assert _rows(search(run, text=captions(SCENES[4])[0], top=1)) != [5]
    found = search(run, text=captions(SCENES[4])[0], everything=True)
    assert (found.images, found.unembedded) == (6, 0)
    hit = found.hits[0]
    assert (hit.row, hit.kept, hit.stage, hit.reason) == (5, False, "clip", "low_clip_score")
    assert hit.captions == (CAPTIONS[0],)
    assert {h.stage for h in found.hits if h.kept} == {None}


def test_before_a_decision_only_all_can_be_searched(undecided: Path) -> None:
    with pytest.raises(BadInputError, match="no decision yet: --all"):
        search(undecided, text="a red star")
    found = search(undecided, text=CAPTIONS[3], everything=True)
    assert (found.images, found.hits[0].row, found.hits[0].kept) == (6, 4, None)
    assert found.hits[0].captions == (CAPTIONS[3],)


def test_kept_pictures_that_the_model_has_not_measured_are_counted(
    run: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(run, tmp_path / "run")
    (found,) = moved.glob("measures/clip-pocket/*")
    for path in found.glob("00000-0.*"):
        path.unlink()
    left = search(moved, text="a red star")
    assert (sorted(_rows(left)), left.unembedded) == ([4, 6], 3)


def test_damaged_embeddings_are_told(run: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(run, tmp_path / "run")
    (path,) = moved.glob("measures/clip-pocket/*/00001-0.image.npy")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(RunFailedError, match=r"00001-0\.image\.npy cannot be read"):
        search(moved, text="a red star")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, "nothing to search for"),
        ({"text": " "}, "is empty"),
        ({"text": "x", "alpha": 1.5}, "alpha is 1.5"),
        ({"text": "x", "alpha": float("nan")}, "alpha is nan"),
        ({"text": "x", "top": 0}, "top is 0"),
        ({"text": "x", "model": "vit"}, "no CLIP model 'vit' .*there are: pocket"),
        ({"image": "f" * 32}, "no embedding of the uid f"),
        ({"image": _uid(7)}, "dropped before it was measured"),
        ({"image": "no-such.jpg"}, "no-such.jpg cannot be read"),
        ({"image": __file__}, "is no image to search for: not_an_image"),
    ],
)
def test_what_cannot_be_searched_for_is_told(words: dict, said: str, run: Path) -> None:
    with pytest.raises(BadInputError, match=said) as caught:
        search(run, **words)
    assert str(caught.value).count(". ") == 0, "one sentence"


def test_a_model_without_embeddings_is_told_with_those_that_have(run: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(run, tmp_path / "run")
    job = dataclasses.replace(_job(moved, ("pocket", "other")), run=moved)
    write_atomically(Layout(moved).job, job.save().encode())
    assert search(moved, text=CAPTIONS[0], top=1).model == "pocket"
    with pytest.raises(BadInputError, match=r"other has no embeddings yet; there are.*: pocket"):
        search(moved, text="x", model="other")


def test_the_json_form_is_plain(run: Path) -> None:
    hits = search(run, text=CAPTIONS[0], top=2).hits
    told = json.loads(json.dumps([dataclasses.asdict(hit) for hit in hits]))
    assert [line["rank"] for line in told] == [1, 2]
    assert list(told[0]) == [field.name for field in dataclasses.fields(Hit)]


def _printed(found: Found, run: Path, width: int, colours: bool) -> str:
    out = io.StringIO()
    kind = "truecolor" if colours else None
    console = Console(file=out, width=width, color_system=kind, force_terminal=colours)
    print_found(found, Job.open(run), console)
    return out.getvalue()


def test_a_table_shows_pictures_only_where_there_are_colours_and_room(run: Path) -> None:
    found = search(run, text=CAPTIONS[0], top=2)
    assert _printed(found, run, 100, colours=True).count("▀") == 2 * 24 * 12
    assert _printed(found, run, 40, colours=True).count("▀") == 2 * 10 * 5
    assert "▀" not in _printed(found, run, 24, colours=True)
    plain = _printed(found, run, 100, colours=False)
    assert "▀" not in plain
    assert plain.count(f"{found.hits[0].uid}  row 0") == 1
    assert "Searched 5 images by pocket." in plain
    assert max(map(len, plain.splitlines())) <= 100


def test_a_strangers_escape_codes_do_not_reach_the_terminal(run: Path) -> None:
    found = search(run, image=_uid(0), top=1)
    assert found.hits[0].captions[0].endswith("\x1b[31m")
    assert "\x1b" not in _printed(found, run, 100, colours=False)


def test_a_thumbnail_keeps_proportions_and_colours() -> None:
    image = Image.new("RGB", (40, 20), (10, 20, 30))
    image.paste((200, 100, 50), (0, 0, 40, 10))
    text = thumbnail(image, 8, 8)
    assert text.plain == "\n".join(["▀" * 8] * 2)
    styles = [span.style for span in text.spans]
    upper, lower = styles[0].color.triplet, styles[-1].bgcolor.triplet  # pyright: ignore
    assert tuple(upper) == pytest.approx((200, 100, 50), abs=8)
    assert tuple(lower) == pytest.approx((10, 20, 30), abs=8)


@pytest.mark.parametrize(("size", "lines"), [((30, 10), 2), ((500, 1), 1), ((1, 500), 3)])
def test_a_thumbnail_of_an_odd_height_ends_in_a_half_cell(
    size: tuple[int, int], lines: int
) -> None:
    text = thumbnail(Image.new("L", size, 128), 9, 3)
    cut = text.plain.split("\n")
    assert len(cut) == lines
    assert len({len(line) for line in cut}) == 1
    if lines < 3:
        assert text.spans[-1].style.bgcolor is None  # pyright: ignore
