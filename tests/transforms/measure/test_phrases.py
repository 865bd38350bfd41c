import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadInputError
from transforms.measure.phrases import PHRASES_TYPE, noun_phrases, phrases_identity
from transforms.measure.policy import PhrasesPolicy
from transforms.measure.stop_words import STOP_WORDS

BY_STOP_WORDS = PhrasesPolicy()


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        (
            "A little girl in a pink dress going into a wooden cabin .",
            ["little girl", "pink dress", "wooden cabin"],
        ),
        ("Two dogs on pavement moving toward each other.", ["dogs", "pavement"]),
        ("The tri-colored dog's ball, a Frisbee", ["tri-colored dog's ball", "frisbee"]),
        ("the dog and THE DOG", ["dog"]),
        ("It doesn’t bark, don't worry", ["bark", "worry"]),
        ("3, 1,000 and 20 % in 2008 ፩", []),
        ("Canon EOS 5D | $ 2,499.00", ["canon eos 5d"]),
        ("red❤️hearts 👩‍💻 coder", ["red", "hearts", "coder"]),
        ("ein Mann läuft", ["ein mann läuft"]),
        ("एक लाल गाड़ी।", ["एक लाल गाड़ी"]),  # vowel signs are parts of words
        ("می‌خواهم", ["می‌خواهم"]),  # so is the joiner of Persian
        ("穿着连衣裙的小女孩。", []),
        ("赤いカメラ Canon の写真", ["canon"]),
        ("แมวสองตัว", []),
        ("a yellow taxi\nNew York", ["yellow taxi new york"]),
        ("", []),
    ],
)
def test_stop_word_phrases(caption, phrases):
    assert noun_phrases([caption], BY_STOP_WORDS).to_pylist() == [phrases]


@pytest.mark.parametrize(
    ("max_words", "phrase"), [(1, "cat"), (3, "old grey cat"), (20, "big sleepy old grey cat")]
)
def test_a_long_phrase_keeps_its_last_words(max_words, phrase):
    policy = PhrasesPolicy(max_words=max_words)
    assert noun_phrases(["My big sleepy old grey cat"], policy).to_pylist() == [[phrase]]


def test_phrases_that_are_cut_to_the_same_words_are_one():
    policy = PhrasesPolicy(max_words=1)
    assert noun_phrases(["a red car and a blue car"], policy).to_pylist() == [["car"]]


# Letters, marks, stop words, other scripts, lone surrogates, and whatever else there is.
TEXTS = st.lists(
    st.sampled_from(["a ", "dog", "DOG ", "2 ", ", ", "'", "-", "犬", "\ud800", "\0", "İ"])
    | st.text()
).map("".join)


@given(st.lists(TEXTS, max_size=3), st.integers(1, 4))
def test_any_text_gives_distinct_short_lower_case_phrases(captions, max_words):
    found = noun_phrases(captions, PhrasesPolicy(max_words=max_words))
    assert found.type == PHRASES_TYPE
    assert len(found) == len(captions)
    for phrases in found.to_pylist():
        assert len(set(phrases)) == len(phrases)
        for phrase in phrases:
            words = phrase.split(" ")
            assert len(words) <= max_words
            assert phrase == phrase.lower()
            assert not STOP_WORDS.intersection(words)
            assert any(character.isalpha() for character in phrase)


def test_stop_words_are_words_as_phrases_has_them():
    """A capital or a curly apostrophe in the list would never match."""
    assert all(word == word.lower() and "’" not in word for word in STOP_WORDS)
    assert noun_phrases(sorted(STOP_WORDS), BY_STOP_WORDS).to_pylist() == [[]] * len(STOP_WORDS)


def test_identity_has_all_that_the_phrases_depend_on(monkeypatch):
    identity = phrases_identity(BY_STOP_WORDS)
    assert identity != phrases_identity(PhrasesPolicy(max_words=5))
    monkeypatch.setattr("transforms.measure.phrases.STOP_WORDS", STOP_WORDS | {"dog"})
    assert identity != phrases_identity(BY_STOP_WORDS)


def test_without_spacy_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)  # as Python itself marks what cannot be had
    with pytest.raises(
        BadInputError, match=r"by en_core_web_sm need spaCy, which is not installed"
    ):
        noun_phrases(["a cat"], PhrasesPolicy(spacy="en_core_web_sm"))


# What a tiny parser learns by heart: words, parts of speech, heads, dependencies.
LESSONS = [
    (["a", "Red", "dog", "sees", "the", "cat"], "DET ADJ NOUN VERB DET NOUN", [2, 2, 3, 3, 5, 3]),
    (["the", "cat", "sees", "a", "dog"], "DET NOUN VERB DET NOUN", [1, 2, 2, 4, 2]),
]
RELATIONS = ["det amod nsubj ROOT det dobj", "det nsubj ROOT det dobj"]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Path:
    """A real spaCy pipeline, trained on two sentences: no model is downloaded for a test."""
    spacy = pytest.importorskip("spacy", reason="spaCy is not installed")
    from spacy.tokens import Doc
    from spacy.training import Example

    nlp = spacy.blank("en")
    nlp.add_pipe("morphologizer")
    nlp.add_pipe("parser", config={"min_action_freq": 1})  # else rare relations are not learnt
    examples = []
    for (words, parts, heads), relations in zip(LESSONS, RELATIONS, strict=True):
        pos, deps = parts.split(), relations.split()
        gold = Doc(nlp.vocab, words=words, pos=pos, heads=heads, deps=deps)
        examples.append(Example(Doc(nlp.vocab, words=words), gold))
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(40):
        nlp.update(examples, sgd=optimizer)
    nlp.to_disk(folder := tmp_path_factory.mktemp("pipeline") / "tiny")
    return folder


def test_noun_chunks_of_spacy(pipeline):
    policy = PhrasesPolicy(spacy=str(pipeline), max_words=2)
    captions = ["a Red dog sees the cat", "", "the cat sees a dog", "\ud800"]
    found = noun_phrases(captions, policy)
    assert found.type == PHRASES_TYPE
    assert found.to_pylist()[:3] == [["red dog", "the cat"], [], ["the cat", "a dog"]]
    identity = {"max_words": 2, "pipeline": "en_pipeline 0.0.0", "spacy": version("spacy")}
    assert phrases_identity(policy) == identity


def test_a_pipeline_without_a_parser_is_refused(tmp_path):
    spacy = pytest.importorskip("spacy", reason="spaCy is not installed")
    spacy.blank("en").to_disk(tmp_path / "blank")
    for name in (str(tmp_path / "blank"), str(tmp_path / "none"), "no_such_pipeline"):
        with pytest.raises(BadInputError, match="gives no noun phrases"):
            noun_phrases(["a cat"], PhrasesPolicy(spacy=name))
