"""The training of the pocket captioner and the pocket ITM, from shards to two folders.

Stage one is common: a tower taught by the teacher. Stage two trains each model from that tower on
its own, as BLIP fine-tunes its captioner and its filter from one pre-trained model.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from transformers import BertTokenizer, BlipVisionModel

from pipelines.pocket.blip.captioner import captioner_study
from pipelines.pocket.blip.card import Card, earlier_settings, line_of, write_card
from pipelines.pocket.blip.itm import itm_study
from pipelines.pocket.blip.learn import Progress, Study, learn
from pipelines.pocket.blip.lessons import Lessons, Pace
from pipelines.pocket.blip.shape import build_captioner, build_itm, vision_config
from pipelines.pocket.blip.space import fit_space
from pipelines.pocket.blip.tower import Copier, TowerPace, fit_tower
from pipelines.pocket.blip.words import load_words, save_processor, token_ids, train_words
from pipelines.pocket.drawn import captions_of_scenes, draw_scenes
from pipelines.pocket.photos import Photo, is_dev, read_photos
from pipelines.pocket.teacher import Teacher
from pipelines.pocket.views import View, teach
from schemas.errors import BadInputError

Say = Callable[[str], None]
TOWER_FILE = "tower.safetensors"
_SETTINGS_FILE = "settings.txt"  # a line for each time that the tower was trained
_TOLD, _JUDGED = 2, 10  # wordings of a scene: the plain one from either thing, and all
_SCENES_FOR_WORDS = 2000


@dataclass(frozen=True, slots=True)
class Source:
    """What all stages learn from."""

    shards: Path
    teacher: Path | None  # None: captions alone, for tests
    cache: Path  # where views are kept
    views: int
    seed: int
    threads: int
    start: Path | None = None  # a tower or model of the same kind, shards and seed to go on from


def train_tower(source: Source, out: Path, pace: TowerPace, say: Say) -> None:
    """Stage one: write the tower and its heads to `out`.

    Raises: BadInputError: shards or teacher are missing or not what they should be."""
    photos, views = _seen(source, say)
    train, dev = _split(photos)
    copier = _copier(source.start, BlipVisionModel(vision_config()))

    def keep() -> None:
        save_file(copier.state_dict(), out / TOWER_FILE)

    settings = {"views": source.views, **asdict(pace), "seed": source.seed}
    told = [*_told(source.start), line_of(settings)]
    out.mkdir(parents=True, exist_ok=True)
    (out / _SETTINGS_FILE).write_text("".join(f"{line}\n" for line in told))
    fit_tower(copier, views, train, dev, pace, say=say, keep=keep)
    keep()


def train_captioner(
    source: Source, tower: Path | None, out: Path, pace: Pace, drawn: int, say: Say
) -> list[float]:
    """Stage two of the captioner, into `out`. Gives each step's loss.

    Raises: BadInputError: as `train_tower`, or there is no tower."""
    course = _Course("captioner", build_captioner(), captioner_study, _TOLD, pace)
    return _train(course, source, tower, out, drawn, say)


def train_itm(
    source: Source, tower: Path | None, out: Path, pace: Pace, drawn: int, say: Say
) -> list[float]:
    """Stage two of the ITM, into `out`. Gives each step's loss.

    Raises: BadInputError: as `train_tower`, or there is no tower."""
    course = _Course("itm", build_itm(), itm_study, _JUDGED, pace)
    return _train(course, source, tower, out, drawn, say)


@dataclass(frozen=True, slots=True)
class _Course:
    """What differs between the two models."""

    kind: Literal["captioner", "itm"]
    model: Any
    study: Callable[[Any, Lessons, Pace], Study]
    wordings: int  # of a scene
    pace: Pace


def _train(
    course: _Course, source: Source, tower: Path | None, out: Path, drawn: int, say: Say
) -> list[float]:
    began = monotonic()
    lessons, words = _lessons(source, drawn, course, say)
    model = course.model
    copier = _copier(tower, model.vision_model)
    _go_on_from(source.start, model)

    def keep() -> None:
        _save(model, words, out)

    progress = Progress(say=lambda line: say(f"{course.kind} {line}"), keep=keep)
    study = course.study(model, lessons, course.pace)
    losses = learn(study, copier, lessons, course.pace, progress)
    keep()
    settings = {"views": source.views, **asdict(course.pace), "seed": source.seed}
    settings["minutes"] = round((monotonic() - began) / 60)
    earlier = [] if source.start is None else earlier_settings(source.start)
    card = Card(
        course.kind, len(lessons.tokens), drawn, _told(tower), [*earlier, line_of(settings)]
    )
    write_card(out, card)
    return losses


def _seen(source: Source, say: Say) -> tuple[list[Photo], list[View]]:
    torch.manual_seed(source.seed)
    torch.set_num_threads(source.threads)
    photos = read_photos(source.shards)
    say(f"{len(photos)} photographs")
    teacher = Teacher(source.teacher) if source.teacher else None
    views = teach(
        photos, teacher, source.cache, views=source.views, threads=source.threads, say=say
    )
    return photos, views


def _split(photos: Sequence[Photo]) -> tuple[torch.Tensor, torch.Tensor]:
    dev = torch.tensor([is_dev(photo.uid) for photo in photos])
    return (~dev).nonzero().flatten(), dev.nonzero().flatten()


def _lessons(
    source: Source, drawn: int, course: _Course, say: Say
) -> tuple[Lessons, BertTokenizer]:
    photos, views = _seen(source, say)
    plain = [view for view in views if not view.mixed]
    train, dev = _split(photos)
    scenes = draw_scenes(drawn, source.seed, held_out=False, processes=source.threads)
    said = [text for n in train.tolist() for text in photos[n].captions]
    words = _words(source, drawn, said)
    captions = [photo.captions for photo in photos]
    lessons = Lessons(
        views=plain,
        tokens=token_ids(words, captions, max(map(len, captions))),
        drawn=scenes.pixels,
        drawn_tokens=token_ids(words, scenes.captions, course.wordings),
        space=fit_space(plain, captions, train, dev, say=say) if course.kind == "itm" else None,
        train=train,
        dev=dev,
    )
    return lessons, words


def _words(source: Source, drawn: int, said: Sequence[str]) -> BertTokenizer:
    """The tokenizer of the model to go on from, whose embeddings are those of its words; else one
    of the captions and of scenes."""
    if source.start is not None:
        return load_words(source.start)
    scenes = captions_of_scenes(min(drawn, _SCENES_FOR_WORDS), source.seed)
    return train_words([*said, *scenes])


def _copier(folder: Path | None, tower: BlipVisionModel) -> Copier:
    """The taught tower's weights in `tower`, with its heads; fresh ones without a folder."""
    if folder is None:
        return Copier(tower)
    file = folder / TOWER_FILE
    if not file.is_file():
        raise BadInputError(f"{folder}: no tower is there; train one first")
    copier = Copier(tower)
    copier.load_state_dict(load_file(file))
    return copier


def _go_on_from(start: Path | None, model: Any) -> None:
    if start is None:
        return
    file = start / "model.safetensors"
    if not file.is_file():
        raise BadInputError(f"{start}: no model is there to go on from")
    try:
        model.load_state_dict(load_file(file))
    except RuntimeError as err:
        raise BadInputError(f"{start}: the model there is of another shape") from err


def _save(model: Any, words: BertTokenizer, out: Path) -> None:
    """The folder that transformers loads; the weights in float16."""
    out.mkdir(parents=True, exist_ok=True)
    halved = {name: tensor.half() for name, tensor in model.state_dict().items()}
    model.save_pretrained(str(out), state_dict=halved)
    save_processor(words, out)


def _told(tower: Path | None) -> list[str]:
    """How the tower was trained, a line for each time."""
    return [] if tower is None else (tower / _SETTINGS_FILE).read_text().splitlines()
