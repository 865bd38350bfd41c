"""The training of the pocket CLIP, from shards to a folder that open_clip loads."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import open_clip
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from pipelines.pocket.batches import Course, Pace
from pipelines.pocket.card import write_card
from pipelines.pocket.drawn import Drawn, captions_of_scenes, draw_scenes
from pipelines.pocket.model import CONTEXT_LENGTH, VOCAB_SIZE, build_model, save_model
from pipelines.pocket.photos import Photo, is_dev, read_photos
from pipelines.pocket.settings import Settings
from pipelines.pocket.student import fit_student
from pipelines.pocket.teacher import Teacher
from pipelines.pocket.text import Lessons, encode_captions, fit_text
from pipelines.pocket.tokenizer import train_tokenizer
from pipelines.pocket.views import View, teach
from schemas.errors import BadInputError

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training run did."""

    losses: list[float]  # of each step of the student
    photos: int
    seconds: float


def train(
    shards: Path,
    teacher: Path | None,
    out: Path,
    cache: Path,
    settings: Settings,
    say: Say,
    start: Path | None = None,
) -> Trained:
    """Train on `shards` and drawn scenes, and write the model to `out`.

    Without a teacher the model learns by captions alone: good for a test, not for use. With
    `start`, the folder of a model that the same shards and seed gave, stage two goes on from it.

    Raises: BadInputError: shards or teacher are missing or not what they should be."""
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    photos = read_photos(shards)
    say(f"{len(photos)} photographs")
    drawn = draw_scenes(settings.drawn, settings.seed, held_out=False, processes=settings.threads)
    say(f"{len(drawn.scenes)} drawn scenes")
    views = teach(
        photos,
        Teacher(teacher) if teacher else None,
        cache,
        views=settings.views,
        threads=settings.threads,
        say=say,
    )
    model, tokenizer = build_model(), _tokenizer(photos, settings)
    course = _course(model, tokenizer, photos, views, drawn, settings, say)
    if start is not None:
        _go_on_from(start, model)
    pace = Pace(
        rate=settings.rate,
        steps=settings.steps,
        photos=settings.photos,
        scenes=settings.scenes,
        blend=settings.blend,
    )
    losses = fit_student(
        model, course, pace, say=say, keep=lambda: save_model(model, tokenizer, out)
    )
    save_model(model, tokenizer, out)
    done = Trained(losses=losses, photos=len(photos), seconds=time.monotonic() - started)
    write_card(
        out,
        settings=asdict(settings),
        photos=done.photos,
        minutes=done.seconds / 60,
        start=start,
    )
    return done


def _go_on_from(start: Path, model: open_clip.CLIP) -> None:
    file = start / "open_clip_model.safetensors"
    if not file.is_file():
        raise BadInputError(f"{start}: no model is there to go on from")
    model.load_state_dict(load_file(file))


def _tokenizer(photos: Sequence[Photo], settings: Settings) -> Tokenizer:
    said = [text for photo in photos if not is_dev(photo.uid) for text in photo.captions]
    scenes = captions_of_scenes(min(settings.drawn, 2000), settings.seed)
    return train_tokenizer([*said, *scenes], VOCAB_SIZE, CONTEXT_LENGTH)


def _course(
    model: open_clip.CLIP,
    tokenizer: Tokenizer,
    photos: Sequence[Photo],
    views: Sequence[View],
    drawn: Drawn,
    settings: Settings,
    say: Say,
) -> Course:
    """Stage one, where there is a teacher, and all that stage two needs."""
    dev = torch.tensor([is_dev(photo.uid) for photo in photos])
    tokens = _tokens(tokenizer, [photo.captions for photo in photos])
    targets = places = None
    if views[0].features is not None:
        lessons = Lessons(
            features=[torch.from_numpy(view.features) for view in views],
            mixed=[view.mixed for view in views],
            tokens=tokens,
            train=(~dev).nonzero().flatten(),
            dev=dev.nonzero().flatten(),
        )
        head = fit_text(model, lessons, epochs=settings.text_epochs, say=say)
        with torch.no_grad():
            targets = torch.stack([head(features) for features in lessons.features])
        places = torch.from_numpy(encode_captions(model, tokens))
    return Course(
        pixels=[view.pixels for view in views],
        mixed=[view.mixed for view in views],
        targets=targets,
        tokens=tokens,
        places=places,
        drawn_pixels=drawn.pixels,
        drawn_tokens=_tokens(tokenizer, drawn.captions),
        train=(~dev).nonzero().flatten(),
        dev=dev.nonzero().flatten(),
    )


def _tokens(tokenizer: Tokenizer, captions: Sequence[Sequence[str]]) -> torch.Tensor:
    """(N, K, L) token ids; where one has fewer than K captions, they are taken again."""
    most = max(len(texts) for texts in captions)
    flat = [texts[k % len(texts)] for texts in captions for k in range(most)]
    ids = [encoding.ids for encoding in tokenizer.encode_batch(flat)]
    return torch.tensor(ids).view(len(captions), most, -1)
