"""Wire the build into the graph: a decision's texts, cut to shards, written, and named at last."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsIter

from schemas.layout import TEXTS_FILE, Layout, decision_manifest, shard_name
from transforms.corpora.card import card
from transforms.corpora.policy import CorpusPolicy
from transforms.corpora.samples import make_samples
from transforms.shards.commit import Draft, committed
from transforms.shards.corpus import finish_corpus
from transforms.shards.tables import read_committed
from transforms.shards.tar import sample_writer
from transforms.shards.work import at_work

Slice = tuple[int, pa.RecordBatch]  # number of a corpus shard, and its texts


@dataclass(eq=False)
class Build(beam.PTransform):
    """Write one corpus from the decision's folder; gives one element, the corpus's folder."""

    run: Path
    name: str
    corpus: Path
    policy: CorpusPolicy

    def expand(self, input_or_inputs):
        shards = (
            input_or_inputs
            | "cut" >> beam.FlatMap(cut_texts, self.policy.samples_per_shard)
            | beam.Reshuffle()
            | "write" >> beam.Map(write_corpus_shard, self.run, self.corpus)
        )
        return (
            input_or_inputs.pipeline
            | beam.Create([None])
            | "finish" >> beam.Map(finish, self.run, self.name, self.corpus, AsIter(shards))
        )


def cut_texts(decision: str, samples_per_shard: int) -> Iterator[Slice]:
    """Slices of texts.parquet with `samples_per_shard` images each, in input order."""
    texts = read_committed(decision_manifest(Path(decision)), TEXTS_FILE).combine_chunks()
    _, firsts = np.unique(texts["image"].to_numpy(), return_index=True)
    bounds = [*firsts[::samples_per_shard].tolist(), texts.num_rows]
    for shard, (begin, end) in enumerate(itertools.pairwise(bounds)):
        yield shard, texts.slice(begin, end - begin).to_batches()[0]


def write_corpus_shard(piece: Slice, run: Path, corpus: Path) -> int:
    """Commit one corpus shard. Returns its number."""
    shard, texts = piece
    manifest = corpus_shard_manifest(run, corpus, shard)
    if committed(manifest, corpus) is None:
        with at_work(run, "build", shard_name(shard)) as work, Draft(manifest, corpus) as draft:
            with sample_writer(draft.path(f"{shard_name(shard)}.tar")) as writer:
                for sample in make_samples(pa.Table.from_batches([texts]), Layout(run).pool):
                    writer.write(sample.key, sample.members())
                    work.images += 1
            draft.facts["samples"] = work.images
            draft.facts["texts"] = texts.num_rows
            draft.facts["images"] = work.images
            draft.facts["seconds"] = work.seconds
    return shard


def finish(_: None, run: Path, name: str, corpus: Path, shards: Iterable[int]) -> str:
    """Commit the corpus as a whole: its manifest names every shard. Returns its folder."""
    with at_work(run, "build", name):
        manifests = [corpus_shard_manifest(run, corpus, shard) for shard in sorted(shards)]
        finish_corpus(name, corpus, manifests, holds="pairs", card=card)
    return str(corpus)


def corpus_shard_manifest(run: Path, corpus: Path, shard: int) -> Path:
    """The commit record of one corpus shard."""
    return Layout(run).corpus_commits(corpus) / f"{shard_name(shard)}.json"
