import pytest
from pydantic import ValidationError

from transforms.fetch.policy import FetchPolicy


def test_identity_holds_what_changes_a_pool_and_nothing_else():
    base = FetchPolicy()
    assert FetchPolicy(resolve={"a.test": "127.0.0.1:80"}).identity() == base.identity()
    assert FetchPolicy(concurrency=7).identity() == base.identity()
    assert set(FetchPolicy.model_fields) - set(base.identity()) == {"resolve", "concurrency"}
    assert FetchPolicy(jpeg_quality=90).identity() != base.identity()


def test_every_setting_says_what_it_is_and_has_a_default():
    for name, setting in FetchPolicy.model_fields.items():
        assert setting.description, name
        assert not setting.is_required(), name


@pytest.mark.parametrize(
    "settings",
    [
        {"resolve": {"http://a.test": "127.0.0.1:80"}},
        {"resolve": {"a.test:80": "127.0.0.1:80"}},
        {"resolve": {"A.test": "127.0.0.1:80"}},
        {"resolve": {"*": "127.0.0.1:80"}},
        {"resolve": {"a.test": "localhost:80"}},
        {"resolve": {"a.test": "127.0.0.1"}},
        {"timeout_s": 0},
        {"user_agent": "two\nlines"},
        {"resize_mode": "stretch"},
        {"time_out": 3},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        FetchPolicy.model_validate(settings)


@pytest.mark.parametrize("host", ["a.test", "*.a.test", "xn--bcher-kva.test", "a_b.test", "a"])
def test_hosts_and_wildcards_can_be_resolved(host):
    assert FetchPolicy(resolve={host: "[::1]:8080"}).resolve == {host: "[::1]:8080"}
