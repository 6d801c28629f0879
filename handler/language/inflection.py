"""Words in the forms that the leaves of a parse ask for: `condemned` is `condemns` for a VBZ, `dog` is `dogs` for an NNS."""

from collections import Counter
from collections.abc import Callable, Sequence

from handler.language.morphology import inflect, lemma
from handler.language.word_classes import AUXILIARIES

FAMILIES = (("VB", "VBD", "VBG", "VBN", "VBP", "VBZ"), ("NN", "NNS"), ("JJ", "JJR", "JJS"), ("RB", "RBR", "RBS"))
FAMILY = {tag: family for family in FAMILIES for tag in family}
# A leaf also takes words of these tags as they are.
ALSO = {"NN": "NNP", "NNP": "NN", "NNS": "NNPS", "NNPS": "NNS", "VB": "VBP", "VBP": "VB"}


def fitted(words: Sequence[str], tags: Sequence[str], leaves: Sequence[str], known: Callable[[str], bool]) -> list[tuple[str, str]] | None:
    """A sentence's words and tags, those that fit no leaf changed to what the leaves left over ask for; None if nothing is changed.

    words: lower-cased. leaves: tags of the leaves that take content words. known: whether a form may be used. First each word that has a
    leaf's very tag takes it; then, from left to right, words left over take leaves left over of their family.
    """
    wanted = Counter(leaves)
    left: list[int] = []  # words without a leaf
    for also in (False, True):
        todo = range(len(words)) if not also else left
        left = []
        for i in todo:
            tag = ALSO.get(tags[i], "") if also else tags[i]
            if wanted[tag] > 0:
                wanted[tag] -= 1
            else:
                left.append(i)
    open_leaves = [tag for tag in leaves if _take(wanted, tag)]
    made = list(zip(words, tags))
    for i in sorted(left, key=lambda i: words[i] not in AUXILIARIES):
        family = FAMILY.get(tags[i], ())
        for tag in open_leaves:
            if tag in family and (form := words[i] if words[i] in AUXILIARIES else form_of(words[i], tags[i], tag, known)):
                made[i] = form, tags[i] if words[i] in AUXILIARIES else tag
                open_leaves.remove(tag)
                break
    return made if made != list(zip(words, tags)) else None


def _take(wanted: Counter[str], tag: str) -> bool:
    """Whether one more of the tag is wanted; then it is wanted no more."""
    if wanted[tag] <= 0:
        return False
    wanted[tag] -= 1
    return True


def form_of(word: str, tag: str, wanted: str, known: Callable[[str], bool]) -> str:
    """A word of one tag in the form of another of its family; "" where it has none that may be used."""
    form = inflect(lemma(word, tag), wanted)
    return form if form == word or known(form) else ""
