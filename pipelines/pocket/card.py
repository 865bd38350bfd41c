"""The model card that lies beside the weights."""

from pathlib import Path
from typing import Any

from pipelines.pocket.model import CONTEXT_LENGTH, EMBED_DIM, IMAGE_PX, VOCAB_SIZE

_CARD = """\
# Pocket CLIP

A small dual encoder that ships with Pairmill, so that its demo and tests score with real weights
and no model hub. It is no substitute for a CLIP trained on web data: it knows everyday
photographs of people, dogs and sport, and drawn scenes of two coloured shapes.

    open_clip.create_model_and_transforms("local-dir:pipelines/pocket/clip")
    open_clip.get_tokenizer("local-dir:pipelines/pocket/clip")

- **Image tower**: timm `fasternet_t0`, {image_px} px, squashed to a square. **Text tower**:
  causal transformer, 2 layers of width 192, {context} tokens of a byte-level BPE of {vocab}.
  Embeddings: {width}. Weights in float16; open_clip loads them in float32.
- **Trained on** {photos} photographs with their captions (Flickr8k, train split), read from shards
  that Pairmill built, and on {drawn} drawn scenes (`pipelines/demo/scenes.py`), whose held-out
  combinations of colour, shape and relation are never shown. One photograph in twelve was kept
  apart to choose by. The validation split was only measured.
- **Taught by** three ImageNet MobileNets (Apache-2.0): a head over their features and the text
  tower learn the photographs' captions, then the image tower learns to copy the head on many views
  of each photograph. No weights of theirs are in this model.
- **Training took** {minutes:.0f} minutes with the settings in the last line, cached views of the
  teacher's not counted: `python -m pipelines.pocket train --shards SHARDS`. Where `start` names a
  model, that one was trained before, with the settings one line further up.
- **How good it is** is computed, not written down: `python -m pipelines.pocket evaluate`.
- **Licence**: Apache-2.0 for the weights and code. The photographs are their owners', for research
  and education only; none are in this repository.

{settings}
"""


def write_card(
    folder: Path, *, settings: dict[str, Any], photos: int, minutes: float, start: Path | None
) -> None:
    """Write README.md beside the weights; it also tells how the model `start` was trained."""
    said = ", ".join(f"{name} {value}" for name, value in settings.items())
    card = _CARD.format(
        image_px=IMAGE_PX,
        context=CONTEXT_LENGTH,
        vocab=VOCAB_SIZE,
        width=EMBED_DIM,
        photos=photos,
        drawn=settings["drawn"],
        minutes=minutes,
        settings="\n".join([*_earlier(start), f"Settings: {said}, start {start and start.name}"]),
    )
    (folder / "README.md").write_text(card)


def _earlier(start: Path | None) -> list[str]:
    if start is None or not (start / "README.md").is_file():
        return []
    lines = (start / "README.md").read_text().splitlines()
    return [f"{line}\n" for line in lines if line.startswith("Settings: ")]
