"""What a drawn scene shows, said in Chinese, German, French and Czech.

Every sentence says "there is A here and B there", which needs no case but the nominative.
"""

from pipelines.demo.scenes import Scene, Thing

_PLACES = {  # language: where the first thing is, where the second is; the sentence
    "zh": (
        {"left of": ("左边", "右边"), "above": ("上面", "下面")},
        "图的{}有一个{}，{}有一个{}。",
    ),
    "de": (
        {"left of": ("Links", "rechts"), "above": ("Oben", "unten")},
        "{} ist {} und {} {}.",
    ),
    "fr": (
        {"left of": ("À gauche", "à droite"), "above": ("En haut", "en bas")},
        "{} de l'image il y a {} et {} {}.",
    ),
    "cs": (
        {"left of": ("vlevo", "vpravo"), "above": ("nahoře", "dole")},
        "Na obrázku je {} {} a {} {}.",
    ),
}

_SHAPES = {  # language: shape: article with a blank, or gender, and the noun
    "zh": {
        "circle": ("", "圆形"), "square": ("", "正方形"), "triangle": ("", "三角形"),
        "star": ("", "星星"), "cross": ("", "十字"), "heart": ("", "心形"),
        "ring": ("", "圆环"), "moon": ("", "月亮"),
    },
    "de": {
        "circle": ("m", "Kreis"), "square": ("n", "Quadrat"), "triangle": ("n", "Dreieck"),
        "star": ("m", "Stern"), "cross": ("n", "Kreuz"), "heart": ("n", "Herz"),
        "ring": ("m", "Ring"), "moon": ("m", "Mond"),
    },
    "fr": {
        "circle": ("m", "cercle"), "square": ("m", "carré"), "triangle": ("m", "triangle"),
        "star": ("f", "étoile"), "cross": ("f", "croix"), "heart": ("m", "cœur"),
        "ring": ("m", "anneau"), "moon": ("f", "lune"),
    },
    "cs": {
        "circle": ("m", "kruh"), "square": ("m", "čtverec"), "triangle": ("m", "trojúhelník"),
        "star": ("f", "hvězda"), "cross": ("m", "kříž"), "heart": ("n", "srdce"),
        "ring": ("m", "prsten"), "moon": ("m", "měsíc"),
    },
}  # fmt: skip

_COLOURS = {  # language: colour: the word, or its stem where an ending follows
    "zh": {
        "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色",
        "blue": "蓝色", "purple": "紫色", "pink": "粉红色", "black": "黑色",
    },
    "de": {
        "red": "rot", "orange": "orangefarben", "yellow": "gelb", "green": "grün",
        "blue": "blau", "purple": "violett", "pink": "rosafarben", "black": "schwarz",
    },
    "fr": {
        "red": "rouge", "orange": "orange", "yellow": "jaune", "green": "vert",
        "blue": "bleu", "purple": "violet", "pink": "rose", "black": "noir",
    },
    "cs": {
        "red": "červen", "orange": "oranžov", "yellow": "žlut", "green": "zelen",
        "blue": "modr", "purple": "fialov", "pink": "růžov", "black": "čern",
    },
}  # fmt: skip

_FRENCH_FEMININES = {"vert": "verte", "bleu": "bleue", "violet": "violette", "noir": "noire"}


def foreign_captions(scene: Scene) -> dict[str, str]:
    """One true caption in each language, by its code. Takes a scene in either wording."""
    a, b = scene.first, scene.second
    relation = scene.relation
    if relation in ("right of", "below"):
        a, b = b, a
        relation = {"right of": "left of", "below": "above"}[relation]
    captions = {}
    for language, (places, sentence) in _PLACES.items():
        here, there = places[relation]
        captions[language] = sentence.format(here, _name(a, language), there, _name(b, language))
    return captions


def _name(thing: Thing, language: str) -> str:
    gender, noun = _SHAPES[language][thing.shape]
    colour = _COLOURS[language][thing.colour]
    match language:
        case "zh":
            return f"{colour}的{noun}"
        case "de":
            ending = {"m": "er", "n": "es"}[gender]
            return f"ein {colour}{ending} {noun}"
        case "fr" if gender == "f":
            return f"une {noun} {_FRENCH_FEMININES.get(colour, colour)}"
        case "fr":
            return f"un {noun} {colour}"
        case _:
            ending = {"m": "ý", "f": "á", "n": "é"}[gender]
            return f"{colour}{ending} {noun}"
