"""Drawn scenes with true captions: two coloured shapes and the relation between them.

A scene says everything about its picture, so a caption of it can be known to be true, and a
caption of another scene can be known to be wrong. One fifth of the combinations of colour, shape
and relation is held out: the pocket model is never trained on them, the demo shows only them.
"""

import hashlib
import math
import random
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[float, float]
Rgb = tuple[int, int, int]

COLOURS: dict[str, Rgb] = {
    "red": (208, 28, 34),
    "orange": (247, 138, 20),
    "yellow": (246, 222, 40),
    "green": (34, 140, 58),
    "blue": (30, 76, 205),
    "purple": (120, 40, 158),
    "pink": (247, 134, 190),
    "black": (24, 24, 26),
}
BACKGROUNDS: dict[str, Rgb] = {
    "white": (248, 248, 248),
    "cream": (240, 232, 208),
    "grey": (190, 192, 196),
    "sky": (196, 220, 238),
    "mint": (204, 232, 214),
    "lilac": (220, 212, 236),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "heart", "ring", "moon")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
RELATIONS = tuple(OPPOSITE)

HELD_OUT_ONE_IN = 5
_OVERSAMPLING = 3  # drawn so many times larger, then shrunk: pillow's polygons have hard edges
_NOISE_LEVELS = 3.0  # standard deviation, of 255 levels
_TURN_DEGREES = 14.0  # a square stays a square, a cross never becomes an x


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One coloured shape."""

    colour: str  # a key of COLOURS
    shape: str  # one of SHAPES

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """`first` stands in `relation` to `second`; the rest only changes how it looks."""

    first: Thing
    relation: str  # one of RELATIONS
    second: Thing  # differs from `first` in colour or shape
    background: str  # a key of BACKGROUNDS
    jitter: int  # seeds places, sizes, turns, tint and noise


def sample_scene(rng: random.Random, held_out: bool) -> Scene:
    """Draw scenes from `rng` until one falls on the wanted side of `is_held_out`."""
    while True:
        scene = _any_scene(rng)
        if scene.first != scene.second and is_held_out(scene) == held_out:
            return scene


def _any_scene(rng: random.Random) -> Scene:
    return Scene(
        first=Thing(colour=rng.choice(tuple(COLOURS)), shape=rng.choice(SHAPES)),
        relation=rng.choice(RELATIONS),
        second=Thing(colour=rng.choice(tuple(COLOURS)), shape=rng.choice(SHAPES)),
        background=rng.choice(tuple(BACKGROUNDS)),
        jitter=rng.getrandbits(32),
    )


def mirrored(scene: Scene) -> Scene:
    """The same picture described from its other thing: A above B is B below A."""
    return replace(scene, first=scene.second, relation=OPPOSITE[scene.relation], second=scene.first)


def canonical(scene: Scene) -> Scene:
    """The one of a scene and its mirror image that says "left of" or "above"."""
    return scene if scene.relation in ("left of", "above") else mirrored(scene)


def is_held_out(scene: Scene) -> bool:
    """Whether the combination of both things and their relation is kept from training.

    Depends on what is shown only: not on the wording, the background or the jitter.
    """
    seen = canonical(scene)
    key = f"{seen.first} {seen.relation} {seen.second}".encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8]) % HELD_OUT_ONE_IN == 0


def says_true(caption_of: Scene, shown: Scene) -> bool:
    """Whether a caption of the one scene is true of a picture of the other."""
    a, b = canonical(caption_of), canonical(shown)
    return (a.first, a.relation, a.second) == (b.first, b.relation, b.second)


def share_a_thing(a: Scene, b: Scene) -> bool:
    """Whether some thing, colour and shape together, is in both scenes."""
    return bool({a.first, a.second} & {b.first, b.second})


def captions(scene: Scene) -> list[str]:
    """True wordings of one scene, the plain one first; the odd ones mirror the relation."""
    wordings: list[str] = []
    for said in (scene, mirrored(scene)):
        a, b = _with_article(said.first), _with_article(said.second)
        place = said.relation if said.relation in ("above", "below") else f"to the {said.relation}"
        wordings += [
            f"{a} {place} {b}",
            f"a picture of {a} {place} {b}",
            f"the {said.first} is {place} the {said.second}",
            f"{_SPOT[said.relation]} there is {a} and {_SPOT[OPPOSITE[said.relation]]} {b}",
            f"there is {a} {place} {b} in this picture",
        ]
    half = len(wordings) // 2
    return [w for pair in zip(wordings[:half], wordings[half:], strict=True) for w in pair]


_SPOT = {
    "left of": "on the left",
    "right of": "on the right",
    "above": "at the top",
    "below": "at the bottom",
}


def _with_article(thing: Thing) -> str:
    return f"{'an' if thing.colour[0] in 'aeiou' else 'a'} {thing}"


def draw(scene: Scene, size_px: int = 160) -> Image.Image:
    """The picture of a scene: RGB, `size_px` square, the same for the same scene for ever."""
    rng = random.Random(scene.jitter)
    shown = canonical(scene)  # so that a scene and its mirror image are one picture
    large_px = size_px * _OVERSAMPLING
    canvas = Image.new("RGB", (large_px, large_px), BACKGROUNDS[scene.background])
    pen = ImageDraw.Draw(canvas)
    for thing, near in ((shown.first, True), (shown.second, False)):
        along, across = _wobble(rng, 0.27 if near else 0.73, 0.04), _wobble(rng, 0.5, 0.14)
        centre = (along, across) if shown.relation == "left of" else (across, along)
        points = _placed(_outline(thing.shape), centre, rng.uniform(0.12, 0.19), rng)
        scaled = [(x * large_px, y * large_px) for x, y in points]
        pen.polygon(scaled, fill=_tinted(COLOURS[thing.colour], rng))
    return _weathered(canvas.reduce(_OVERSAMPLING), scene.jitter)


def _wobble(rng: random.Random, middle: float, by: float) -> float:
    return rng.uniform(middle - by, middle + by)


def _tinted(colour: Rgb, rng: random.Random) -> Rgb:
    r, g, b = (min(255, max(0, level + rng.randint(-10, 10))) for level in colour)
    return r, g, b


def _placed(outline: list[Point], centre: Point, radius: float, rng: random.Random) -> list[Point]:
    """Turn an outline a little, give it its size and put it at `centre` (unit square)."""
    turn = math.radians(_wobble(rng, 0, _TURN_DEGREES))
    c, s = radius * math.cos(turn), radius * math.sin(turn)
    return [(centre[0] + x * c - y * s, centre[1] + x * s + y * c) for x, y in outline]


def _weathered(picture: Image.Image, seed: int) -> Image.Image:
    """Light that falls off to one side, and the noise of a camera."""
    rng = np.random.default_rng(seed)
    levels = np.asarray(picture, dtype=np.float32)
    slope_y, slope_x = rng.uniform(-14, 14, size=2)
    ramp_y = np.linspace(-slope_y, slope_y, levels.shape[0], dtype=np.float32)[:, None, None]
    ramp_x = np.linspace(-slope_x, slope_x, levels.shape[1], dtype=np.float32)[None, :, None]
    noise = rng.standard_normal(levels.shape, dtype=np.float32) * _NOISE_LEVELS
    return Image.fromarray((levels + ramp_y + ramp_x + noise).clip(0, 255).astype(np.uint8))


def _outline(shape: str) -> list[Point]:
    """The polygon of a shape inside the unit circle; y grows downwards, as in images."""
    match shape:
        case "circle":
            return _arc(0, 360)
        case "square":
            return _corners(4, first_degrees=45)
        case "triangle":
            return _corners(3, first_degrees=-90)
        case "star":
            spikes = zip(_corners(5, -90), _corners(5, -54, radius=0.42), strict=True)
            return [point for pair in spikes for point in pair]
        case "cross":
            return _CROSS
        case "heart":
            return [_heart_point(math.radians(degrees)) for degrees in range(0, 360, 5)]
        case "ring":  # out along the rim, back along the hole
            return _arc(0, 360) + _arc(360, 0, radius=0.55)
        case "moon":
            return _arc(52.4, 307.6) + _arc(277.9, 82.1, radius=0.8, centre_x=0.5)
        case _:
            raise ValueError(f"there is no shape {shape!r}; the shapes are {', '.join(SHAPES)}")


_CROSS: list[Point] = [
    (-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3), (0.3, 0.3),
    (0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3), (-0.3, -0.3),
]  # fmt: skip


def _arc(
    from_degrees: float, to_degrees: float, radius: float = 1, centre_x: float = 0
) -> list[Point]:
    angles = np.radians(np.linspace(from_degrees, to_degrees, 60))
    return [(centre_x + radius * math.cos(a), radius * math.sin(a)) for a in angles.tolist()]


def _corners(count: int, first_degrees: float, radius: float = 1) -> list[Point]:
    angles = [math.radians(first_degrees + 360 * i / count) for i in range(count)]
    return [(radius * math.cos(a), radius * math.sin(a)) for a in angles]


def _heart_point(t: float) -> Point:
    """Source: the usual sextic heart curve, scaled into the unit circle."""
    y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
    return 16 * math.sin(t) ** 3 / 17, -y / 17
