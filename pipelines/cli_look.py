"""The commands that look at what a RUN holds. They fetch and measure nothing."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.cli_options import Debug, Decision, Json, Run


def why(
    run: Run,
    what: Annotated[str, typer.Argument(help="A uid, or a URL.", metavar="UID-or-URL")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell what became of a row, and why."""
    from pipelines.look.why import explain, print_explanations

    lines = explain(run, what)
    if as_json:
        print(json.dumps(lines, ensure_ascii=False))
    else:
        print_explanations(lines, Console())


def diff(
    run: Run,
    a: Annotated[
        str, typer.Argument(help="A recipe, a decision's fingerprint, or a file of uids.")
    ],
    b: Annotated[str, typer.Argument(help="Another one.")],
    samples: Annotated[int, typer.Option(min=0, help="Samples of each side.")] = 5,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare two selections: what each keeps that the other drops, and how they shift."""
    from pipelines.look.diff import diff as compare
    from pipelines.look.diff_report import print_difference

    found = compare(run, a, b, samples)
    if as_json:
        print(found.model_dump_json())
    else:
        print_difference(found, Console())


def curve(
    run: Run,
    measure: Annotated[
        str, typer.Option(help="clip, MEASURE.COLUMN, or MEASURE for its column `value`.")
    ] = "clip",
    by_top: Annotated[
        int, typer.Option(min=1, help="So many languages and sources; the rest are `other`.")
    ] = 5,
    out: Annotated[Path | None, typer.Option("--out", help="Where to; default RUN/curves.")] = None,
    decision: Decision = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell how much each threshold of a measure keeps: in all, by language and by source."""
    from pipelines.look.curve import draw_curve
    from pipelines.look.curve_report import curve_json, print_curve, write_curve

    found = draw_curve(run, measure=measure, by_top=by_top, decision=decision)
    picture, numbers = write_curve(found, out or run / "curves")
    if as_json:
        print(curve_json(found))
    else:
        print_curve(found, Console())
        print(f"{picture}\n{numbers}")


def audit(
    run: Run,
    n: Annotated[int, typer.Option("--n", min=1, help="Rows to judge.")] = 200,
    seed: Annotated[int, typer.Option(help="Another seed draws other rows.")] = 0,
    of: Annotated[
        str, typer.Option(help="kept, dropped, or a reason for which rows are dropped.")
    ] = "kept",
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to; default RUN/audits/OF-N-SEED.")
    ] = None,
    judged: Annotated[
        Path | None, typer.Option(help="A judged file: tell the precision, draw nothing.")
    ] = None,
    decision: Decision = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw a seeded sample for a person to judge; with --judged, tell what they found."""
    from pipelines.look.audit import as_line, draw_audit, print_audit
    from pipelines.look.audit_judge import judge_audit, print_judged

    if judged is not None:
        found = judge_audit(run, judged, decision)
        print(as_line(found)) if as_json else print_judged(found, Console())
        return
    drawn = draw_audit(run, n=n, seed=seed, of=of, out=out, decision=decision)
    print(as_line(drawn)) if as_json else print_audit(drawn, run)


def search(
    run: Run,
    text: Annotated[str | None, typer.Option(help="What the pictures should show.")] = None,
    image: Annotated[
        str | None, typer.Option(help="A picture: a file, or a row's uid.", metavar="FILE-or-UID")
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="With both: from 0, only the image, to 1, only the text.")
    ] = 0.5,
    top: Annotated[int, typer.Option(help="Pictures wanted.")] = 20,
    model: Annotated[
        str | None, typer.Option(help="A CLIP model of the recipe.", show_default="the last")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Search all that is embedded, not only what is kept.")
    ] = False,
    decision: Decision = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find pictures by a text, by a picture, or by both, among the embeddings that a run keeps."""
    from pipelines.job import Job
    from pipelines.look.search import search as search_run
    from pipelines.look.thumbnails import print_found

    found = search_run(
        run,
        text=text,
        image=image,
        alpha=alpha,
        top=top,
        model=model,
        everything=everything,
        decision=decision,
    )
    if as_json:
        print(json.dumps([asdict(hit) for hit in found.hits], ensure_ascii=False))
    else:
        print_found(found, Job.open(run), Console())
    if found.unembedded:
        print(
            f"{found.unembedded:,} kept images have no embedding by {found.model} and were not"
            " searched: run a recipe that scores with it.",
            file=sys.stderr,
        )
