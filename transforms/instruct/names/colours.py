"""What captions say of colours: `a red shirt` is a shirt, and it is red."""

import re
from collections.abc import Iterable

COLOURS = frozenset(
    {
        *("red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "white", "brown"),
        *("gray", "grey", "tan", "beige", "golden", "silver", "maroon", "turquoise"),
    }
)
# Things that have one colour, if a caption gives them one.
_THINGS = (
    "shirt|t-shirt|sweater|sweatshirt|jacket|coat|dress|skirt|hat|cap|helmet|vest|jersey|uniform|"
    "swimsuit|bikini|suit|scarf|hoodie|tie|umbrella|ball|kite|frisbee|balloon|flag|toy|"
    "dog|puppy|cat|kitten|horse|cow|bird|car|truck|bus|van|bike|bicycle|motorcycle|boat|kayak|canoe|"
    "raft|sled|slide|tent|chair|couch|bench|door|wall|building|bag|backpack|"
    "circle|square|triangle|star|cross|heart|ring|moon"
)
_COLOURED = re.compile(
    rf"\b(?P<before>\w+ and |\w+, )?(?P<colour>{'|'.join(sorted(COLOURS))}) (?P<thing>{_THINGS})\b",
    re.IGNORECASE,
)


def coloured(captions: Iterable[str]) -> dict[str, str]:
    """{thing: its colour}, of things to which all of an image's captions give one and the same.

    Nothing of two colours (`black and white`), and nothing that comes in two."""
    found: dict[str, set[str]] = {}
    for caption in captions:
        for match in _COLOURED.finditer(caption):
            thing, before = match["thing"].lower(), (match["before"] or "").split(maxsplit=1)
            mixed = bool(before) and before[0].strip(",").lower() in COLOURS
            colour = "?" if mixed else match["colour"].lower()
            found.setdefault(thing, set()).add({"grey": "gray"}.get(colour, colour))
    return {
        thing: colours.pop()
        for thing, colours in found.items()
        if len(colours) == 1 and "?" not in colours
    }
