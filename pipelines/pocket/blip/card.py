"""The model cards beside the weights of the pocket captioner and the pocket ITM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.pocket.blip.shape import VOCAB_SIZE, WIDTH
from pipelines.pocket.views import VIEW_PX

_WHAT = {
    "captioner": (
        "# Pocket captioner",
        "A small BLIP captioner (`BlipForConditionalGeneration`)",
        "says what it sees in the words of its training captions: people, dogs, sport and play,\n"
        "and two drawn shapes. It is often wrong, which is what the filter is for",
        "",
    ),
    "itm": (
        "# Pocket ITM",
        "A small BLIP filter (`BlipForImageTextRetrieval`)",
        "tells captions of everyday photographs and of two drawn shapes from wrong ones, and\n"
        "knows little else",
        " The ITM learns besides how the pocket CLIP's text tower,\n"
        "  and a head over the MobileNets' features fitted to it, score each pair.",
    ),
}
_SETTINGS = "Settings: "
_CARD = """\
{title}

{what} that ships with Pairmill, so that its
demo and tests run CapFilt with real weights and no model hub. It
{does}.

- **Shape**: ViT of 6 layers, {px} px, patches of 16 px; a text part of 3 layers with
  cross-attention, WordPiece of {vocab}; width {width}. Weights in float16.
- **Trained on** {photos} photographs with their captions (Flickr8k, train split), read from shards
  that Pairmill built, and on {drawn} drawn scenes (`pipelines/demo/scenes.py`), whose held-out
  combinations of colour, shape and relation are never shown. One photograph in twelve was kept
  apart to choose by. The validation split was only measured.
- **Taught by** three ImageNet MobileNets (Apache-2.0): the image tower first learns to give their
  features, place by place. No weights of theirs are in this model. Captioner and ITM start from
  one such tower and are then trained apart.{besides}
- **Trained by** `make pocket-blip`, with the settings in the last lines, one for each time that
  training went on from what was there.
- **How good it is** is computed, not written down: `python -m pipelines.pocket.blip marks`.
- **Licence**: Apache-2.0 for the weights and code. The photographs are their owners', for research
  and education only; none are in this repository.

{lines}
"""


@dataclass(frozen=True, slots=True)
class Card:
    """What a card tells of a training."""

    kind: str  # captioner or itm
    photos: int
    drawn: int
    tower: Sequence[str]  # the settings of each of its trainings
    settings: Sequence[str]  # and of the model's


def line_of(settings: Mapping[str, object]) -> str:
    """Settings as a card tells them."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def earlier_settings(folder: Path) -> list[str]:
    """What the card of a model tells of its trainings; nothing where it has none."""
    card = folder / "README.md"
    lines = card.read_text().splitlines() if card.is_file() else []
    return [line.removeprefix(_SETTINGS) for line in lines if line.startswith(_SETTINGS)]


def write_card(folder: Path, card: Card) -> None:
    """Write README.md beside the weights."""
    title, what, does, besides = _WHAT[card.kind]
    text = _CARD.format(
        title=title,
        what=what,
        does=does,
        besides=besides,
        px=VIEW_PX,
        vocab=VOCAB_SIZE,
        width=WIDTH,
        photos=card.photos,
        drawn=card.drawn,
        lines="\n\n".join(
            [*(f"Tower: {line}" for line in card.tower), *(_SETTINGS + s for s in card.settings)]
        ),
    )
    (folder / "README.md").write_text(text)
