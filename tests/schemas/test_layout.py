from pathlib import Path

from schemas.layout import Layout, pool_manifest, shard_name


def test_no_two_results_share_a_place() -> None:
    layout = Layout(Path("RUN"))
    places = [
        layout.identity,
        layout.job,
        layout.rows_manifest,
        layout.pool,
        layout.recipe("f"),
        layout.measure("n", "f"),
        layout.measure("n", "g"),
        layout.outcome("n", "f"),
        layout.decision("f"),
        layout.corpus("n", "f"),
        layout.corpus("m", "f"),
    ]
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to("RUN") for place in places)


def test_shards_have_the_names_that_img2dataset_gives() -> None:
    assert shard_name(12) == "00012"
    assert pool_manifest(Path("pool"), 12) == Path("pool/00012_stats.json")
