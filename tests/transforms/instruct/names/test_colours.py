import pytest

from transforms.instruct.names.colours import coloured


@pytest.mark.parametrize(
    ("captions", "found"),
    [
        (["A man in a red shirt and Blue hat"], {"shirt": "red", "hat": "blue"}),
        (["a black and white dog", "a white dog"], {}),
        (["a black, white dog"], {}),
        (["a brown dog and a white dog"], {}),
        (["a brown dog", "the brown dog"], {"dog": "brown"}),
        (["a grey car", "a gray car"], {"car": "gray"}),
        (["red shirts", "the orange juice"], {}),
        (["a boy and red ball"], {"ball": "red"}),
    ],
)
def test_a_thing_has_one_colour(captions: list[str], found: dict[str, str]) -> None:
    assert coloured(captions) == found
