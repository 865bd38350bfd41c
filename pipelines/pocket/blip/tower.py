"""Stage one of both models: a small ViT learns to give the teacher's features, place by place.

A ViT learns little from some thousand photographs and their captions. The teacher's map of features
says what is to be seen at every place of every view, which is far more to learn from. Of each view
only half of the patches are shown (Li et al. 2023, "Scaling Language-Image Pre-training via
Masking"): that halves the work, and the tower learns to see by less.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BlipVisionModel

from pipelines.pocket.batches import lit, normal, some_of
from pipelines.pocket.blip.muon import Group, Optimizers
from pipelines.pocket.blip.shape import SIDE, WIDTH
from pipelines.pocket.projection import MAP_WIDTH
from pipelines.pocket.teacher import MAP_SIDE
from pipelines.pocket.views import View


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerPace:
    """How long and in how large steps to learn."""

    steps: int
    photos: int = 128  # in a batch
    shown: int = SIDE**2 // 2  # patches of each
    rate: float = 1.5e-3
    matrix_rate: float = 0.05  # of the layers' matrices, which Muon moves


class Copier(nn.Module):
    """A tower with the two heads that say what the teacher sees: at a place, and over all."""

    def __init__(self, tower: BlipVisionModel) -> None:
        super().__init__()
        self.tower = tower
        start_by_place(tower)
        self.here, self.overall = nn.Linear(WIDTH, MAP_WIDTH), nn.Linear(WIDTH, MAP_WIDTH)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, SIDE**2, MAP_WIDTH) and (N, MAP_WIDTH)."""
        seen = see(self.tower, images)
        return self.here(seen[:, 1:]), self.overall(seen[:, 0])


def some_places(count: int, shown: int) -> Tensor:
    """(count, shown): patches by chance, none twice."""
    return torch.rand(count, SIDE**2).argsort(dim=1)[:, :shown]


def see(tower: BlipVisionModel, images: Tensor, places: Tensor | None = None) -> Tensor:
    """(N, 1 + P, WIDTH): what the tower gives where it is shown only some patches of each."""
    tokens = tower.embeddings(images)
    if places is not None:
        tokens = torch.cat([tokens[:, :1], _at(places, tokens[:, 1:])], dim=1)
    return tower.post_layernorm(tower.encoder(inputs_embeds=tokens).last_hidden_state)


def fit_tower(
    copier: Copier,
    views: Sequence[View],
    train: Tensor,
    dev: Tensor,
    pace: TowerPace,
    *,
    say: Callable[[str], None],
    keep: Callable[[], None],
) -> None:
    """Train a tower with its heads in place, calling `keep` at each check.

    Args: train, dev: indexes of photographs, to learn from and to choose by."""
    optimizers = Optimizers([group_of(copier, pace.matrix_rate, pace.rate)], pace.steps)
    copier.train()
    recent: list[float] = []
    for step in range(pace.steps):
        photos = train[some_of(len(train), pace.photos)]
        images, taught = draw_views(views, some_of(len(views), pace.photos), photos)
        assert taught is not None
        loss = _loss(copier, images, taught, pace.shown)
        optimizers.step(loss)
        recent.append(loss.item())
        if (step + 1) % max(1, pace.steps // 16) == 0:
            said = f"loss {np.mean(recent[-50:]):.4f}, {_on_dev(copier, views, dev)}"
            say(f"tower {step + 1}/{pace.steps}: {said}")
            keep()


def start_by_place(tower: BlipVisionModel) -> None:
    """Give the patches sines and cosines of their row and column to start from."""
    rows, columns = _waves().repeat_interleave(SIDE, 0), _waves().repeat(SIDE, 1)
    with torch.no_grad():
        tower.embeddings.position_embedding[0, 1:] = 0.3 * torch.cat([rows, columns], dim=1)


def _waves() -> Tensor:
    """(SIDE, WIDTH / 2): sines and cosines of where a row or column is."""
    wavelengths = 10_000 ** (torch.arange(WIDTH // 4) / (WIDTH // 4))
    at = torch.arange(SIDE)[:, None] / wavelengths
    return torch.cat([at.sin(), at.cos()], dim=1)


def draw_views(
    views: Sequence[View], which: Tensor, photos: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Each photograph in one of its views, mirrored half the time, and what the teacher sees.

    Args:    which, photos: (N,) indexes of views and of photographs.
    Returns: (N, 3, px, px) and (N, SIDE**2, MAP_WIDTH); None without a teacher."""
    pairs = list(zip(which.tolist(), photos.tolist(), strict=True))
    images = normal(np.stack([views[v].pixels[n] for v, n in pairs]))
    flip = torch.rand(len(photos), 1, 1, 1) < 0.5
    images = lit(torch.where(flip, images.flip(3), images))
    if any(view.maps is None for view in views):
        return images, None
    maps = torch.from_numpy(np.stack([_maps(views[v])[n] for v, n in pairs]))
    taught = maps.float().transpose(1, 2).unflatten(2, (MAP_SIDE, MAP_SIDE))
    return images, on_patches(torch.where(flip, taught.flip(3), taught))


def _maps(view: View) -> npt.NDArray[np.float16]:
    assert view.maps is not None
    return view.maps


def on_patches(maps: Tensor) -> Tensor:
    """(N, D, MAP_SIDE, MAP_SIDE) to (N, SIDE**2, D)."""
    scaled = F.interpolate(maps, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return scaled.flatten(2).transpose(1, 2)


def _loss(copier: Copier, images: Tensor, taught: Tensor, shown: int) -> Tensor:
    places = some_places(len(images), shown)
    return copy_loss(copier, see(copier.tower, images, places), taught, places)


def copy_loss(copier: Copier, seen: Tensor, taught: Tensor | None, places: Tensor) -> Tensor:
    """How far what the heads make of a tower's output lies from what the teacher sees.

    Args: seen: (N, 1 + P, WIDTH), of these places, (N, P); taught: (N, SIDE**2, MAP_WIDTH); None:
        no teacher, 0."""
    if taught is None:
        return torch.zeros(())
    here, overall = copier.here(seen[:, 1:]), copier.overall(seen[:, 0])
    return F.mse_loss(here, _at(places, taught)) + F.mse_loss(overall, taught.mean(dim=1))


def place_loss(seen: Tensor, places: Tensor) -> Tensor:
    """How far a tower's output is from saying where each patch lies.

    What is left in a photograph is as likely to be on the right, so a tower forgets columns, and
    whoever reads it cannot tell left from right. Here a patch's row and column, in [-1, 1], are to
    stand along two directions that are fixed, and large enough to be read at once.

    Args: seen: (N, 1 + P, WIDTH), of these places, (N, P)."""
    return F.mse_loss(seen[:, 1:] @ _DIRECTIONS.T / _REACH, _WHERE[places])


def _at(places: Tensor, values: Tensor) -> Tensor:
    """(N, P, D) of (N, SIDE**2, D): those of some places, (N, P)."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[2]))


def _ruler() -> Tensor:
    """(SIDE,): from -1 to 1."""
    return torch.linspace(-1, 1, SIDE)


def _signs(period: int) -> Tensor:
    """(WIDTH,), of norm 1: the sign changes after each `period` numbers."""
    return (1 - 2 * (torch.arange(WIDTH) // period % 2)) / WIDTH**0.5


_REACH = 4.0  # of 13.9, the norm of what a tower gives for a patch
_DIRECTIONS = torch.stack([_signs(1), _signs(2)])  # (2, WIDTH), orthogonal
_WHERE = torch.cartesian_prod(_ruler(), _ruler())  # (SIDE**2, 2): row and column


def group_of(copier: Copier, matrix_rate: float, rate: float) -> Group:
    """A tower with its heads, for the optimisers."""
    layers = copier.tower.encoder
    return Group(layers=layers, others=copier.parameters(), matrix_rate=matrix_rate, rate=rate)


@torch.no_grad()
def _on_dev(copier: Copier, views: Sequence[View], dev: Tensor) -> str:
    """How much of the teacher's features is told, of whole photographs not learnt from."""
    copier.eval()
    told: list[tuple[float, float]] = []
    for some in dev.split(64):
        maps = torch.from_numpy(_maps(views[0])[some.numpy()]).float().transpose(1, 2)
        taught = on_patches(maps.unflatten(2, (MAP_SIDE, MAP_SIDE)))
        here, overall = copier(normal(views[0].pixels[some.numpy()]))
        mean = taught.mean(dim=1)
        told.append(
            (
                float(1 - (here - taught).square().mean() / taught.square().mean()),
                float(1 - (overall - mean).square().mean() / mean.square().mean()),
            )
        )
    copier.train()
    here_told, overall_told = np.mean(told, axis=0)
    return f"told {here_told:.3f} of a place, {overall_told:.3f} of a picture"
