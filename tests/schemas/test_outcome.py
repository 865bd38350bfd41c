from schemas.outcome import LEDGER_SCHEMA, Stage


def test_stages_come_in_the_order_of_the_funnel() -> None:
    assert [stage.value for stage in Stage] == [
        "read",
        "fetch",
        "basic",
        "dedupe",
        "clip",
        "capfilt",
        "select",
    ]


def test_a_ledgers_line_says_who_and_how_it_ended() -> None:
    assert LEDGER_SCHEMA.names == [
        "row",
        "uid",
        "kept",
        "stage",
        "reason",
        "rule",
        "value",
        "limit",
        "detail",
    ]
