"""Which captions of an image survive: BLIP's CapFilt, BLIP-2's top captions, and recaptioning.

Each looks at the web captions of an image's rows and at its candidates alike. A row stays if a text
that it bears does; the candidates of an image are borne by the first of its rows.
"""

from typing import Any, ClassVar, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pydantic import Field, StrictFloat, StrictInt

from schemas.outcome import Reason, Stage
from schemas.texts import CHOSEN_SCHEMA, WEB, WEB_SOURCE
from transforms.decide.rule import F64, Rule, Verdict

Columns = dict[str, npt.NDArray[Any]]  # of texts: (texts,) each
_MODEL = "A name under `clip`"


class CaptionsRule(Rule):
    """Base of the rules that choose among all texts of an image."""

    stage = Stage.CAPFILT
    chooses_texts: ClassVar[bool] = True
    reason: ClassVar[Reason]
    captioner: str = Field(default="pocket", description="A name under `captioners`.")

    @property
    def columns(self) -> tuple[str, ...]:
        return ("caption", "image")

    @property
    def measured(self) -> tuple[str, ...]:
        measures = [measure for measure in (self.matches, self.cosines) if measure]
        scores = [f"{m}.{column}" for m in measures for column in ("score", "synthetic")]
        return (f"{self.candidates}.texts", *scores)

    @property
    def candidates(self) -> str:
        """The measure that holds the candidates."""
        return f"captions-{self.captioner}"

    @property
    def matches(self) -> str | None:
        """The measure with the ITM probability of each text, where the rule goes by it."""
        return None

    @property
    def cosines(self) -> str | None:
        """The measure with the CLIP score of each text, where there is one."""
        return None

    def choose(self, texts: pd.DataFrame) -> pd.DataFrame:
        """The texts that survive, from all of them: columns place, image, text, caption, itm,
        clip_score, rank, sorted by image and text."""
        raise NotImplementedError

    def told(self, best: float) -> str:
        """Why a row is dropped whose best text has this score."""
        raise NotImplementedError

    @property
    def scored_by(self) -> str:
        """The column that the rule compares."""
        return "itm"

    @property
    def least(self) -> float | None:
        """The limit it is compared with."""
        return None

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        texts = self._texts(rows)
        chosen = self.choose(_distinct(texts))
        dropped = np.ones(rows.num_rows, np.bool_)
        dropped[chosen["place"]] = False
        best = np.full(rows.num_rows, np.nan)
        of_rows = texts.groupby("place")[self.scored_by].max()
        best[of_rows.index] = of_rows
        return [
            Verdict(
                reason=self.reason,
                dropped=dropped,
                detail=lambda i: self.told(best[i]),
                value=best,
                limit=self.least,
                chosen=_as_table(chosen),
            )
        ]

    def _texts(self, rows: pa.Table) -> pd.DataFrame:
        """All texts of each image: the web captions of its rows, then its candidates. Empty ones
        are none."""
        _, firsts = np.unique(rows["image"].to_numpy(), return_index=True)
        web, candidates = self._web(rows), self._candidates(rows.take(firsts), firsts)
        texts = pd.DataFrame({name: np.concatenate([web[name], candidates[name]]) for name in web})
        texts["said"] = texts["caption"].fillna("").str.strip()
        texts = _only(texts, texts["said"] != "")
        texts = texts.sort_values(["image", "text", "place"], kind="stable")
        return texts.assign(rank=pd.array([pd.NA] * len(texts), "Int32"))

    def _web(self, rows: pa.Table) -> Columns:
        count = rows.num_rows
        return {
            "place": np.arange(count),
            "image": rows["image"].to_numpy(),
            "text": np.full(count, WEB),
            "source": np.full(count, WEB_SOURCE, object),
            "caption": rows["caption"].to_numpy(),
            "itm": _scores(rows, self.matches),
            "clip_score": _scores(rows, self.cosines),
        }

    def _candidates(self, rows: pa.Table, places: npt.NDArray[np.intp]) -> Columns:
        """A line for each candidate, from a row an image."""
        texts = rows[f"{self.candidates}.texts"].to_pylist()
        counts = np.array([len(own) for own in texts], np.intp)
        owner = np.repeat(np.arange(rows.num_rows), counts)
        return {
            "place": places[owner],
            "image": rows["image"].to_numpy()[owner],
            "text": np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner] + 1,
            "source": np.full(len(owner), self.candidates, object),
            "caption": np.array([text for own in texts for text in own], object),
            "itm": _lists_of_scores(rows, self.matches, counts),
            "clip_score": _lists_of_scores(rows, self.cosines, counts),
        }


def _distinct(texts: pd.DataFrame) -> pd.DataFrame:
    """Of equal texts of an image the first."""
    return texts.drop_duplicates(["image", "said"])


def _as_table(chosen: pd.DataFrame) -> pa.Table:
    """CHOSEN_SCHEMA; the web captions are in the pool already."""
    said = chosen["caption"].where(chosen["text"] != WEB, None)
    return pa.Table.from_pandas(chosen.assign(caption=said), CHOSEN_SCHEMA, preserve_index=False)


def _scores(rows: pa.Table, measure: str | None) -> F64:
    """(rows,): of the web captions; NaN for none."""
    if measure is None:
        return np.full(rows.num_rows, np.nan)
    return rows[f"{measure}.score"].cast(pa.float64()).to_numpy()


def _lists_of_scores(rows: pa.Table, measure: str | None, counts: npt.NDArray[np.intp]) -> F64:
    """(candidates,): where a row has not a score for each of its candidates, all have NaN."""
    lists = [None] * len(counts) if measure is None else rows[f"{measure}.synthetic"].to_pylist()
    fitting = [
        items if items is not None and len(items) == count else [np.nan] * count
        for items, count in zip(lists, counts.tolist(), strict=True)
    ]
    return np.array([item for items in fitting for item in items], np.float64)


def _only(texts: pd.DataFrame, chosen: Any) -> pd.DataFrame:
    return cast(pd.DataFrame, texts[chosen])


class MatchRule(CaptionsRule):
    """Base of the rules by ITM."""

    reason = Reason.LOW_ITM
    itm: str = Field(default="pocket", description="A name under `itm`: another model's weights.")
    clip: str | None = Field(
        default=None,
        description=f"{_MODEL}, whose score is noted of every text, and breaks ties; that of the"
        " recipe's first CLIP rule unless said.",
    )
    at_least: StrictFloat = Field(
        default=0.5, ge=0, le=1, description="Least ITM probability that is kept."
    )

    def with_default_clip(self, model: str) -> Self:
        """The same, where nothing is said, with the scores of a CLIP model."""
        return self.model_copy(update={"clip": self.clip or model})

    @property
    def matches(self) -> str | None:
        return f"itm-{self.itm}+{self.captioner}"

    @property
    def cosines(self) -> str | None:
        return None if self.clip is None else f"clip-{self.clip}+{self.captioner}"

    @property
    def least(self) -> float | None:
        return self.at_least

    def passing(self, texts: pd.DataFrame) -> pd.DataFrame:
        """Those that match; what has no probability does not."""
        return _only(texts, texts["itm"] >= self.at_least)

    def told(self, best: float) -> str:
        if np.isnan(best):
            return "none of its texts has a probability"
        if best >= self.at_least:
            return "another row of the image bears its caption"
        return f"itm-{self.itm} {best:.4f} for the best text it bears, limit {self.at_least:g}"


class CapFiltRule(MatchRule):
    """BLIP's filter: of web captions and candidates, whatever matches the image survives.

    Source: Li et al. 2022, BLIP, section 3.3; 0.5 is where its ITM head says "matched"."""

    def choose(self, texts: pd.DataFrame) -> pd.DataFrame:
        return self.passing(texts)


class RecaptionRule(MatchRule):
    """A candidate takes the place of the web captions of an image where none of these matches and
    it does: the best by ITM, then by CLIP score."""

    def choose(self, texts: pd.DataFrame) -> pd.DataFrame:
        passing = self.passing(texts)
        web = _only(passing, passing["text"] == WEB)
        others = _only(passing, ~passing["image"].isin(web["image"].tolist()))
        best = others.sort_values(["itm", "clip_score"], ascending=False, kind="stable")
        chosen = [*web.index, *best.drop_duplicates("image").index]
        return _only(texts, texts.index.isin(chosen))


class TopCaptionsRule(CaptionsRule):
    """BLIP-2's bootstrapping: the best `keep` of all texts of an image by CLIP score, ranked.

    Source: Li et al. 2023, BLIP-2, section 3.4: ten candidates and the web caption, the best two
    kept, one of them drawn at each training step."""

    reason = Reason.NO_TOP_CAPTION
    clip: str = Field(
        default="pocket",
        description=f"{_MODEL}, which ranks the texts; that of the recipe's first CLIP rule unless"
        " said.",
    )
    keep: StrictInt = Field(default=2, ge=1, description="Texts of an image that survive.")

    def with_default_clip(self, model: str) -> Self:
        """The same, where nothing is said, ranked by a CLIP model."""
        return self if "clip" in self.model_fields_set else self.model_copy(update={"clip": model})

    @property
    def cosines(self) -> str | None:
        return f"clip-{self.clip}+{self.captioner}"

    @property
    def scored_by(self) -> str:
        return "clip_score"

    def choose(self, texts: pd.DataFrame) -> pd.DataFrame:
        scored = _only(texts, texts["clip_score"].notna())
        ranks = scored.groupby("image")["clip_score"].rank(ascending=False, method="first")
        return _only(scored.assign(rank=ranks.astype("Int32")), ranks <= self.keep)

    def told(self, best: float) -> str:
        if np.isnan(best):
            return "none of its texts has a score"
        return f"not among the best {self.keep} texts of its image; clip-{self.clip} {best:.4f}"
