"""English names of COCO's 80 categories in everyday words, and how nouns and numbers are formed.

The words are our own choice, after the idea of CHAIR (Rohrbach et al. 2018). A word that may mean
several categories (`bike`) stands for all of them; one that mostly means something else in captions
(`orange`, `mouse`, `sink`, `glass`) is left out, so that what is found can be relied on.
"""

import functools
import re

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


def categories() -> dict[str, list[str]]:
    """{category: its names, its own first}."""
    found: dict[str, list[str]] = {}
    for line in re.sub(r"\n\s+", " ", _CATEGORIES.strip()).splitlines():
        category, _, others = line.partition(": ")
        found[category] = [category, *filter(None, others.split(", "))]
    return found


def number(word: str) -> int | None:
    """The value of digits, or of a number word up to twelve."""
    return int(word) if word.isdecimal() and len(word) < 5 else _NUMBERS.get(word)


@functools.lru_cache(maxsize=1 << 14)
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
