"""Which dialogues about which images: shares or counts per kind, met over the whole pool.

What an image can give depends on what is known of it. Kinds that few images can give are planned
first; what they must leave over goes to the other kinds. Within a kind images are taken in the
order of a seeded draw over their uids, so that a pool that grows keeps nearly all that was planned.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.dialogue import Kind
from transforms.instruct.policy import InstructPolicy
from transforms.shards.uids import draws

Mask = npt.NDArray[np.bool_]

SURVEY_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),  # of the image's first kept row
        ("shard", pa.int32()),  # of the pool
        ("possible", pa.list_(pa.string())),  # kinds that what is known of it gives
    ]
)
PLAN_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("shard", pa.int32()),
        ("kind", pa.string()),
        ("number", pa.int32()),  # of this kind, about this image
    ]
)


def plan_dialogues(survey: pa.Table, policy: InstructPolicy) -> pa.Table:
    """PLAN_SCHEMA, by shard and uid, from SURVEY_SCHEMA of all images."""
    survey = survey.sort_by([("shard", "ascending"), ("uid", "ascending")])
    possible = _matrix(survey["possible"].to_pylist(), policy.kinds)
    targets = _targets(possible, policy)
    chosen = np.zeros_like(possible)
    orders = [np.argsort(draws(survey["uid"], "dialogues", policy.seed, k)) for k in policy.kinds]
    _choose(chosen, possible, targets, orders, policy.per_image)
    if policy.counts is None:
        _fill(chosen, possible, targets, orders, policy.per_image)
    images, kinds = np.nonzero(chosen)
    return pa.table(
        {
            "uid": survey["uid"].take(images),
            "shard": survey["shard"].take(images),
            "kind": [policy.kinds[kind].value for kind in kinds.tolist()],
            "number": np.zeros(len(images), np.int32),
        },
        schema=PLAN_SCHEMA,
    )


def _matrix(possible: Sequence[Sequence[str]], kinds: Sequence[Kind]) -> Mask:
    """(images, kinds)."""
    rows = [[kind in own for kind in kinds] for own in possible]
    return np.array(rows, bool).reshape(len(rows), len(kinds))


def _targets(possible: Mask, policy: InstructPolicy) -> npt.NDArray[np.int64]:
    """(kinds,): how many of each; of shares, those that add up to all that images can give."""
    weights = np.array(policy.weights)
    if policy.counts is not None:
        return weights.astype(np.int64)
    total = int(np.minimum(possible.sum(axis=1), policy.per_image).sum())
    exact = weights / weights.sum() * total
    targets = np.floor(exact).astype(np.int64)
    most_left = np.argsort(targets - exact, kind="stable")[: total - int(targets.sum())]
    targets[most_left] += 1
    return targets


def _choose(
    chosen: Mask,
    possible: Mask,
    targets: npt.NDArray[np.int64],
    orders: Sequence[npt.NDArray[np.int64]],
    per_image: int,
) -> None:
    """Mark up to `targets` images of each kind, the scarcest kind first."""
    scarce = possible.sum(axis=0) / np.maximum(targets, 1)
    for kind in np.argsort(scarce, kind="stable").tolist():
        free = possible[:, kind] & ~chosen[:, kind] & (chosen.sum(axis=1) < per_image)
        wanted = targets[kind] - int(chosen[:, kind].sum())
        order = orders[kind]
        chosen[order[free[order]][: max(0, wanted)], kind] = True


def _fill(
    chosen: Mask,
    possible: Mask,
    targets: npt.NDArray[np.int64],
    orders: Sequence[npt.NDArray[np.int64]],
    per_image: int,
) -> None:
    """Give what is left over to kinds that images still can give, by their shares."""
    while (left := int(targets.sum()) - int(chosen.sum())) > 0:
        room = chosen.sum(axis=1) < per_image
        free = (possible & ~chosen & room[:, None]).sum(axis=0)
        if not free.any():
            return
        shares = np.where(free > 0, targets, 0).astype(float)
        more = np.ceil(left * shares / max(1.0, shares.sum())).astype(np.int64)
        if not more.any():
            more = (free > 0).astype(np.int64)
        before = chosen.sum()
        _choose(chosen, possible, chosen.sum(axis=0) + more, orders, per_image)
        if chosen.sum() == before:
            return
