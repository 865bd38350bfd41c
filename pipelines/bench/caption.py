"""`make bench-caption`: how fast BLIP writes captions, against transformers' own loops.

The same pictures, seeds, weights and machine for all, in turn and several times over. The model has
BLIP-base's architecture at 384 px and seeded random weights, and every caption has 20 tokens: its
speed is that of the published weights, its captions mean nothing.
"""

import statistics
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated, Any

import torch
import typer
from PIL import Image
from transformers.utils import logging

from pipelines.bench.caption_loops import (
    Pictures,
    Seeds,
    Write,
    blip_base,
    load_bare,
    save_seeded,
)
from pipelines.bench.contest import at_least, at_most, in_turn, ratio, say, timed
from pipelines.bench.machine import Mark, print_marks
from pipelines.demo.scenes import draw, sample_scene
from schemas.errors import RunFailedError
from transforms.capfilt.blip import load_blip_captioner
from transforms.capfilt.policy import CaptionerPolicy
from transforms.capfilt.seeds import seeds_of

BATCH = 8
TOKENS = 20
MANY = 10  # candidates
PAIRS = 100  # of a picture and a seed: so many captions are set against the plain loop's
BARE_MANY = 2  # pictures for the bare loop's ten candidates, which take it long
SIDE_PX = 384
# A precision that takes one picture so many times as long as fp32 is imitated by this machine.
SENSIBLE = 1.5

PLAIN = "documented loop fp32, one at a time"


@dataclass
class Turns:
    """A contestant, and the captions of each of its rounds. A round has seeds of its own."""

    write: Write
    pictures: Pictures
    each: int = 1
    told: list[list[list[str]]] = field(default_factory=list)

    def seeds(self, number: int) -> Seeds:
        return [seeds_of(picture.tobytes(), number, self.each) for picture in self.pictures]

    def run(self) -> float:
        """Seconds of one round more.

        Raises: RunFailedError: a caption is shorter or longer than all should be."""
        seeds, found = self.seeds(len(self.told)), []
        seconds = timed(lambda: found.extend(self.write(self.pictures, seeds)))
        _check_lengths(found)
        self.told.append(found)
        return seconds


Field = Mapping[str, Turns]


def main(
    rounds: Annotated[int, typer.Option(min=1, help="The medians count.")] = 5,
    pictures: Annotated[int, typer.Option(min=1, help="Drawn scenes a round.")] = BATCH,
    threads: Annotated[int, typer.Option(min=1, help="Of torch, for all.")] = 2,
) -> None:
    """Print images a second of each contestant, their ratios, and how many captions are alike."""
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        say("BLIP-base with seeded weights")
        model = save_seeded(blip_base(), Path(folder))
        marks = compete(model, drawn(pictures, SIDE_PX), rounds, threads)
    print_marks(
        f"caption (BLIP-base, {SIDE_PX} px, nucleus 0.9, {TOKENS} tokens; seeded weights, for speed"
        f" only; {threads} threads)",
        marks,
    )


def compete(model: Path, pictures: Pictures, rounds: int, threads: int) -> list[Mark]:
    """All figures, for a captioner in a folder."""
    trial = {p: _seconds_of_one(_policy(model, threads, p), pictures) for p in ("fp32", "bf16")}
    precisions = ["fp32", "int8"]
    if trial["bf16"] <= SENSIBLE * trial["fp32"]:
        precisions.insert(1, "bf16")
    turns = _contestants(model, pictures, threads, precisions)
    for name, contestant in turns.items():
        say(f"one picture before the rounds: {name}")
        contestant.write(pictures[:1], [[0] * contestant.each])
    seconds = in_turn({name: one.run for name, one in turns.items()}, rounds)
    return [
        *_speeds(seconds, turns),
        *_left_out(trial, precisions),
        *_ratios(seconds, precisions),
        *_ten(seconds),
        _alike_plain(turns, rounds),
        *_alike_fp32(model, threads, turns),
    ]


def drawn(count: int, size_px: int) -> list[Image.Image]:
    """Scenes, the same ones every time."""
    rng = Random(0)
    return [draw(sample_scene(rng, held_out=False), size_px) for _ in range(count)]


def _policy(
    model: Path, threads: int, precision: Any = "fp32", device: str = "cpu"
) -> CaptionerPolicy:
    """With `min_tokens` at `max_tokens`, the end of a caption cannot be drawn before."""
    return CaptionerPolicy(
        model=str(model),
        batch_size=BATCH,
        threads=threads,
        precision=precision,
        device=device,
        top_p=0.9,
        min_tokens=TOKENS,
        max_tokens=TOKENS,
    )


def _contestants(
    model: Path, pictures: Pictures, threads: int, precisions: Sequence[str]
) -> dict[str, Turns]:
    fp32 = load_bare(_policy(model, threads))
    turns = {PLAIN: Turns(fp32.one_at_a_time, pictures)}
    for precision in precisions:
        policy = _policy(model, threads, precision)
        bare = fp32 if precision == "fp32" else load_bare(policy)
        if precision == "bf16":
            turns["bare bf16, one at a time"] = Turns(bare.one_at_a_time, pictures)
        turns[_bare(precision)] = Turns(bare.in_batches, pictures)
        turns[_ours(precision)] = Turns(_pairmill(policy), pictures)
    few = pictures[:BARE_MANY]
    turns[_bare("fp32", "one caption of few pictures")] = Turns(fp32.in_batches, few)
    turns[_bare("fp32", "ten captions of few pictures")] = Turns(fp32.in_batches, few, MANY)
    ours = turns[_ours("fp32")].write
    turns[_ours("fp32", "ten captions")] = Turns(ours, pictures, MANY)
    if torch.cuda.is_available():
        policy = _policy(model, threads, "bf16", "cuda")
        turns["GPU, bare bf16, batches of 8"] = Turns(load_bare(policy).in_batches, pictures)
        turns["GPU, Pairmill bf16"] = Turns(_pairmill(policy), pictures)
    return turns


def _bare(precision: str, what: str = f"batches of {BATCH}") -> str:
    return f"bare {precision}, {what}"


def _ours(precision: str, what: str = f"batches of {BATCH}") -> str:
    return f"Pairmill {precision}, {what}"


def _pairmill(policy: CaptionerPolicy) -> Write:
    """The stage's own captioner, in batches."""
    captioner = load_blip_captioner(policy)

    def write(pictures: Pictures, seeds: Seeds) -> list[list[str]]:
        starts = range(0, len(pictures), BATCH)
        batches = [captioner.caption(pictures[n : n + BATCH], seeds[n : n + BATCH]) for n in starts]
        return [own for batch in batches for own in batch]

    return write


def _seconds_of_one(policy: CaptionerPolicy, pictures: Pictures) -> float:
    """For one picture by Pairmill, once warm."""
    say(f"one picture in {policy.precision}")
    one = Turns(_pairmill(policy), pictures[:1])
    return [one.run() for _ in range(2)][-1]


def _speeds(seconds: Mapping[str, list[float]], turns: Field) -> list[Mark]:
    return [
        at_least(f"{name}, images/s", len(one.pictures) / statistics.median(seconds[name]))
        for name, one in turns.items()
    ]


def _left_out(trial: Mapping[str, float], precisions: Sequence[str]) -> list[Mark]:
    """How long a precision took that was given no turns."""
    return [
        at_most(f"{p} left out: one picture takes so many times fp32's time", s / trial["fp32"])
        for p, s in trial.items()
        if p not in precisions
    ]


def _ratios(seconds: Mapping[str, list[float]], precisions: Sequence[str]) -> list[Mark]:
    """Medians of the ratios within a round."""

    def best(of: Sequence[str]) -> str:
        return min(of, key=lambda name: statistics.median(seconds[name]))

    ours = best([_ours(p) for p in precisions])
    bare = best([_bare(p) for p in precisions])
    each = [
        at_least(f"Pairmill / bare in batches, {p}", ratio(seconds, _bare(p), _ours(p)))
        for p in precisions
    ]
    plain = [
        at_least(f"Pairmill / documented loop, {p}", ratio(seconds, PLAIN, _ours(p)))
        for p in precisions
    ]
    return [
        at_least(f"best ({ours}) / documented loop", ratio(seconds, PLAIN, ours), 2.5),
        at_least(f"best ({ours}) / best bare ({bare})", ratio(seconds, bare, ours), 0.95),
        *plain,
        *each,
    ]


def _ten(seconds: Mapping[str, list[float]]) -> list[Mark]:
    """What ten captions of a picture cost, one caption being 1."""
    ours = ratio(seconds, _ours("fp32", "ten captions"), _ours("fp32"))
    bare = ratio(
        seconds,
        _bare("fp32", "ten captions of few pictures"),
        _bare("fp32", "one caption of few pictures"),
    )
    return [
        at_most("ten captions / one, Pairmill fp32", ours, 3.0),
        at_most("ten captions / one, bare fp32", bare),
    ]


def _alike_plain(turns: Field, rounds: int) -> Mark:
    """The share of Pairmill's captions that are the plain loop's of the same picture and seed."""
    plain, ours = turns[PLAIN], turns[_ours("fp32")]
    pairs = _pairs(plain.told, ours.told)
    ten = turns[_ours("fp32", "ten captions")]
    for number in range(rounds):
        pairs += _more_pairs(plain, ten, number, PAIRS - len(pairs))
    return at_least(
        f"share of fp32 captions equal to the documented loop's, of {len(pairs)}",
        _share(pairs),
        0.99,
    )


def _more_pairs(plain: Turns, ten: Turns, number: int, count: int) -> list[tuple[str, str]]:
    """Up to `count` of a round's further candidates, beside what the plain loop says; untimed."""
    wanted = [
        (picture, seed, told)
        for picture, seeds, own in zip(
            ten.pictures, ten.seeds(number), ten.told[number], strict=True
        )
        for seed, told in list(zip(seeds, own, strict=True))[1:]
    ][: max(count, 0)]
    if wanted:
        say(f"the documented loop on {len(wanted)} further pairs of picture and seed")
    return [(plain.write([picture], [[seed]])[0][0], told) for picture, seed, told in wanted]


def _alike_fp32(model: Path, threads: int, turns: dict[str, Turns]) -> list[Mark]:
    """The share of captions that another precision leaves as they are; on seeded weights."""
    fp32 = turns[_ours("fp32")]
    marks = []
    for precision in ("bf16", "int8"):
        other = turns.get(_ours(precision))
        if other is None:
            say(f"one round in {precision}, untimed")
            other = Turns(_pairmill(_policy(model, threads, precision)), fp32.pictures)
            other.run()
        pairs = _pairs(fp32.told[: len(other.told)], other.told)
        marks.append(
            at_least(
                f"share of {precision} captions equal to fp32's, of {len(pairs)}", _share(pairs)
            )
        )
    return marks


def _pairs(a: list[list[list[str]]], b: list[list[list[str]]]) -> list[tuple[str, str]]:
    """Captions of the same round, picture and place."""
    return list(zip(_flat(a), _flat(b), strict=True))


def _flat(told: list[list[list[str]]]) -> list[str]:
    return [text for rounds in told for own in rounds for text in own]


def _share(pairs: Sequence[tuple[str, str]]) -> float:
    return statistics.fmean(a == b for a, b in pairs)


def _check_lengths(told: list[list[str]]) -> None:
    """A token is a word here, so a caption that ended early shows."""
    lengths = {len(text.split()) for own in told for text in own}
    if lengths != {TOKENS}:
        raise RunFailedError(f"Captions of {sorted(lengths)} tokens: all should have {TOKENS}.")


if __name__ == "__main__":
    typer.run(main)
