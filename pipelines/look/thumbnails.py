"""What a search found, in a terminal: a table with small pictures of half-block characters."""

import io

import numpy as np
from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from pipelines.job import Job
from pipelines.look.console import printable
from pipelines.look.search import Found, Hit
from schemas.layout import shard_name
from transforms.fetch.decode import DECODER_ERRORS
from transforms.shards.pool import PoolImages

UPPER_HALF = "▀"
MOST_COLUMNS = 24
LEAST_COLUMNS = 8  # a smaller picture tells nothing


def thumbnail(image: Image.Image, columns: int, lines: int) -> Text:
    """The image as large as fits into `columns` x `lines` cells, its proportions kept.

    A cell is about twice as high as wide, so each holds two square pixels: the upper one in the
    colour of the character, the lower one in that of its background."""
    pixels: list[list[list[int]]] = np.asarray(_fit(image, columns, 2 * lines)).tolist()
    text = Text(no_wrap=True, end="")
    for y in range(0, len(pixels), 2):
        if y:
            text.append("\n")
        below = pixels[y + 1] if y + 1 < len(pixels) else [None] * len(pixels[y])
        for upper, lower in zip(pixels[y], below, strict=True):
            ground = None if lower is None else Color.from_rgb(*lower)
            text.append(UPPER_HALF, Style(color=Color.from_rgb(*upper), bgcolor=ground))
    return text


def print_found(found: Found, job: Job, console: Console) -> None:
    """A table of the hits; with their pictures where the terminal has colours and the room."""
    columns = min(MOST_COLUMNS, console.width // 4)
    drawn = console.color_system is not None and columns >= LEAST_COLUMNS
    pictures = _thumbnails(found.hits, job, columns) if drawn else {}
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(justify="right")
    if drawn:
        table.add_column(width=columns)
    table.add_column(overflow="fold")
    for hit in found.hits:
        picture = [pictures[hit.rank]] if drawn else []
        table.add_row(Text(f"{hit.rank}\n{hit.score:.4f}"), *picture, _told(hit))
        table.add_row()  # else the pictures touch
    console.print(table)
    images = "1 image" if found.images == 1 else f"{found.images:,} images"
    console.print(f"Searched {images} by {found.model}.", highlight=False, markup=False)


def _told(hit: Hit) -> Text:
    """Captions first; a stranger's control characters do not reach the terminal."""
    score = "" if hit.clip_score is None else f"  CLIP score {hit.clip_score:.4f}"
    ending = {True: "", None: "  not decided yet"}.get(
        hit.kept, f"  dropped at {hit.stage}: {hit.reason}"
    )
    text = Text(end="")
    for caption in hit.captions:
        text.append(printable(caption) + "\n", Style(bold=True))
    text.append(printable(hit.url) + "\n", Style(dim=True))
    text.append(f"{hit.uid}  row {hit.row}\n", Style(dim=True))
    text.append(f"shard {shard_name(hit.shard)}  key {hit.key}{score}", Style(dim=True))
    text.append(ending, Style(color="red"))
    return text


def _thumbnails(hits: tuple[Hit, ...], job: Job, columns: int) -> dict[int, Text]:
    """By rank; a shard is opened once."""
    drawn: dict[int, Text] = {}
    for shard in sorted({hit.shard for hit in hits}):
        with PoolImages(job.layout.pool, shard) as images:
            for hit in hits:
                if hit.shard == shard:
                    drawn[hit.rank] = thumbnail(_open(images, hit.key), columns, columns // 2)
    return drawn


def _open(images: PoolImages, key: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(images.read(key)[1])).convert("RGB")
    except DECODER_ERRORS as err:
        raise images.broken(f"its image {key} is damaged") from err


def _fit(image: Image.Image, width_px: int, height_px: int) -> Image.Image:
    scale = min(width_px / image.width, height_px / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
