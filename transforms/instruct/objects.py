"""Objects that a text names: COCO's 80 categories by everyday words, and the labels of boxes.

The words are our own choice, after the idea of CHAIR (Rohrbach et al. 2018). A word that may mean
several categories (`bike`) stands for all of them; one that mostly means something else in captions
(`orange`, `mouse`, `sink`, `glass`) is left out, so that what is found can be relied on.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

# A category, then its other names.
_CATEGORIES = """
person: man, woman, boy, girl, child, kid, baby, toddler, lady, guy, gentleman, adult, teenager,
    player, skier, snowboarder, surfer, skateboarder, rider, cyclist, pedestrian, batter,
    pitcher, catcher, umpire, chef, worker, student, passenger, driver, couple, crowd, human
bicycle: bike
car: sedan, taxi, cab, suv, van, minivan
motorcycle: motorbike, scooter, moped, bike
airplane: plane, aeroplane, aircraft, jet, jetliner, airliner
bus
train: locomotive, tram, subway
truck: lorry, pickup, van
boat: ship, canoe, kayak, sailboat, ferry, raft, yacht
traffic light: stoplight, traffic signal
fire hydrant: hydrant
stop sign
parking meter
bench
bird: pigeon, seagull, gull, duck, goose, swan, parrot, owl, eagle, crow, ostrich, penguin,
    rooster, hen, chicken
cat: kitten
dog: puppy, poodle, beagle, terrier, dachshund
horse: pony, foal
sheep: lamb, ram, ewe
cow: cattle, bull, calf, ox
elephant
bear
zebra
giraffe
backpack: rucksack, knapsack, bag
umbrella: parasol
handbag: purse, tote bag
tie: necktie
suitcase: luggage, briefcase, bag
frisbee
skis: ski
snowboard
sports ball: ball, soccer ball, football, basketball, baseball, tennis ball, volleyball
kite
baseball bat
baseball glove: baseball mitt, mitt
skateboard
surfboard
tennis racket: racket, racquet
bottle
wine glass
cup: mug
fork
knife
spoon
bowl
banana
apple
sandwich: burger, hamburger
broccoli
carrot
hot dog: hotdog
pizza
donut: doughnut
cake: cupcake
chair: armchair, stool
couch: sofa, loveseat
potted plant: houseplant
bed
dining table
toilet: urinal
tv: television
laptop
remote: remote control
keyboard
cell phone: cellphone, smartphone, mobile phone, phone
microwave
oven
toaster
refrigerator: fridge
vase
clock
book
scissors: scissor
teddy bear: stuffed bear
hair drier: hair dryer
toothbrush
"""
_IRREGULAR = {
    "people": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "geese": "goose",
    "oxen": "ox",
    "calves": "calf",
    "knives": "knife",
    "ladies": "lady",
    "buses": "bus",
    "skis": "ski",
    "scissors": "scissor",
    "cattle": "cattle",
}
NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_NUMBERS = {word: value for value, word in enumerate(NUMBER_WORDS)}
# After these a thing is named that is not there.
_DENYING = frozenset(
    {
        "no",
        "not",
        "never",
        "without",
        "neither",
        "nor",
        "none",
        "lack",
        "lacks",
        "lacking",
        "absent",
    }
)
_CLAUSE_ENDS = re.compile(r"[.!?;:\n]|,? but |, (?=and |while |though )")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+")
_BETWEEN = 2  # words at most between a number and what it counts: `two small dogs`
_LONGEST = 3  # words of a name
# Between a number and a noun these show that the number counts something else.
_PARTING = frozenset(
    {
        "of",
        "in",
        "on",
        "at",
        "with",
        "and",
        "or",
        "to",
        "by",
        "for",
        "from",
        "is",
        "are",
        "was",
        "were",
        "a",
        "an",
        "the",
        "has",
        "have",
        "that",
        "who",
        "which",
    }
)


@dataclass(frozen=True, slots=True)
class Mention:
    """One place where a text names a thing."""

    name: str  # in the singular
    categories: frozenset[str]  # that it may mean
    count: int | None  # how many there are, where the text says it
    denied: bool  # the text says that it is not there


class Vocabulary:
    """Names of things, singular, and the categories that each may mean."""

    def __init__(self, labels: Iterable[str] = ()) -> None:
        """COCO's categories, and `labels`, each a category of its own unless it is COCO's."""
        self._names: dict[tuple[str, ...], frozenset[str]] = {}
        for category, names in _coco().items():
            for name in names:
                self._add(name, category)
        for label in labels:
            if _key(label) not in self._names:
                self._add(label, label)

    def categories(self, label: str) -> frozenset[str]:
        """What a box's label may mean; itself where the vocabulary does not know it."""
        return self._names.get(_key(label), frozenset({label}))

    def mentions(self, text: str) -> Iterator[Mention]:
        """What a text names, in its order; of names within names only the longest."""
        for clause in _CLAUSE_ENDS.split(text.lower().replace("’", "'")):
            words = _WORD.findall(clause)
            at = 0
            while at < len(words):
                length = self._length_at(words, at)
                if length:
                    yield self._mention(words, at, length)
                at += length or 1

    def _add(self, name: str, category: str) -> None:
        key = _key(name)
        self._names[key] = self._names.get(key, frozenset()) | {category}

    def _length_at(self, words: Sequence[str], at: int) -> int:
        """Words of the longest name that begins there; 0 for none."""
        lengths = range(min(_LONGEST, len(words) - at), 0, -1)
        return next((n for n in lengths if _singular_key(words[at : at + n]) in self._names), 0)

    def _mention(self, words: Sequence[str], at: int, length: int) -> Mention:
        key = _singular_key(words[at : at + length])
        before = words[:at]
        denied = any(word in _DENYING or word.endswith("n't") for word in before)
        return Mention(" ".join(key), self._names[key], _count_before(before), denied)


def number_in(text: str) -> int | None:
    """The first number in a text, in digits or in words up to twelve."""
    return next(filter(lambda n: n is not None, map(_number, _WORD.findall(text.lower()))), None)


def _count_before(words: Sequence[str]) -> int | None:
    for word in reversed(words[-1 - _BETWEEN :]):
        if word in _PARTING:
            return None
        if (number := _number(word)) is not None:
            return number
    return None


def _number(word: str) -> int | None:
    return int(word) if word.isdecimal() and len(word) < 5 else _NUMBERS.get(word)


def _key(name: str) -> tuple[str, ...]:
    return _singular_key(_WORD.findall(name.lower()))


def _singular_key(words: Sequence[str]) -> tuple[str, ...]:
    return (*words[:-1], singular(words[-1])) if words else ()


def singular(word: str) -> str:
    """An English noun in the singular, by rule."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "sses", "xes", "oes")):
        return word[:-2]
    if len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def plural(noun: str) -> str:
    """The plural of an English noun or noun phrase, by rule."""
    head, _, last = noun.rpartition(" ")
    return f"{head} {_plural_of(last)}".strip()


def _plural_of(word: str) -> str:
    for many, one in _IRREGULAR.items():
        if word == one:
            return many
    if word in ("sheep", "skis", "scissors", "cattle", "broccoli", "aircraft", "luggage"):
        return word
    if word.endswith(("s", "ch", "sh", "x", "z")):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"


def _coco() -> dict[str, list[str]]:
    """{category: its names, its own first}."""
    found: dict[str, list[str]] = {}
    for line in re.sub(r"\n\s+", " ", _CATEGORIES.strip()).splitlines():
        category, _, others = line.partition(": ")
        found[category] = [category, *filter(None, others.split(", "))]
    return found
