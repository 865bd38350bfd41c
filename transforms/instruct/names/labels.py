"""How often which labels come, alone and together, among all images whose boxes are known."""

import random
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Literal

from schemas.context import Context
from transforms.instruct.names.vocabulary import Vocabulary

Negatives = Literal["random", "popular", "adversarial"]


class Labels:
    """Draws things that are not in an image (POPE, Li et al. 2023): any, often seen ones, or ones
    often seen together with what is there."""

    def __init__(self, contexts: Iterable[Context]) -> None:
        self._often: Counter[str] = Counter()
        self._together: dict[str, Counter[str]] = {}
        for context in contexts:
            labels = {thing.label for thing in context.things or ()}
            self._often.update(labels)
            for label in labels:
                self._together.setdefault(label, Counter()).update(labels - {label})

    @cached_property
    def names(self) -> list[str]:
        """Every label there is."""
        return sorted(self._often)

    def absent(
        self, context: Context, vocabulary: Vocabulary, how: Negatives, rng: random.Random
    ) -> str | None:
        """A thing that neither boxes nor captions hold; None if there is no such."""
        held = {thing.label for thing in context.things or ()}
        told = frozenset[str]().union(
            *(m.categories for text in context.captions for m in vocabulary.mentions(text))
        )
        weights = self._weights(held, how)
        names = [n for n in self.names if n not in held and not vocabulary.categories(n) & told]
        if not names:
            return None
        return rng.choices(names, [weights[name] + 1e-9 for name in names])[0]

    def _weights(self, held: Iterable[str], how: Negatives) -> Counter[str]:
        match how:
            case "random":
                return Counter(dict.fromkeys(self._often, 1))
            case "popular":
                return self._often
            case "adversarial":
                found: Counter[str] = Counter()
                for label in held:
                    found.update(self._together.get(label, Counter()))
                return found
