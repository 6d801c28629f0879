"""Agreement and case: the verb that goes with a subject, the case of a pronoun, how a noun phrase is said again, `a` or `an`."""

from handler.language.heads import CONJUNCTIONS, head_leaf
from handler.language.morphology import inflect, lemma
from handler.language.relations import coordinated
from handler.language.trees import Tree
from handler.language.wordlists import ANIMATE, COLLECTIVES, HE, SHE
from handler.movement.clauses import first_word, head_lemma, leaf, node, said, swapped, verb_at

ACCUSATIVE = {"i": "me", "he": "him", "she": "her", "we": "us", "they": "them"}
NOMINATIVE = {value: key for key, value in ACCUSATIVE.items()}


def person(subject: Tree) -> str:
    """`i`, `plural` (with you) or `singular`."""
    word = said(subject)
    if word == "i":
        return "i"
    if word in ("you", "we", "they", "these", "those", "many", "few", "several", "both", "us", "them"):
        return "plural"
    members = coordinated(subject)
    if members:
        conjunction = next(said(child) for child in subject.children if child.label in CONJUNCTIONS)
        return person(members[-1]) if conjunction in ("or", "nor") and members[-1].children else "plural"
    head = head_leaf(subject)
    if head.label in ("NNS", "NNPS"):
        return "singular" if lemma(head.word or "", head.label) in ("news", "politics", "physics", "mathematics", "economics") else "plural"
    if (head.word or "").lower() in ("people", "police", "cattle"):
        return "plural"
    if head_lemma(subject) in COLLECTIVES and " of " in word:
        return "plural"
    if head.label in ("CD", "DT", "JJ") and word.split()[0] not in ("one", "this", "that", "each", "everything", "another"):
        return "plural"
    if word.split()[:2] in (["a", "lot"], ["a", "number"], ["a", "couple"]) or word.startswith(("lots of", "a majority of", "half of")):
        below = [one for one in subject.leaves() if one.label in ("NN", "NNS", "NNP")]
        return "plural" if below and below[-1].label == "NNS" else "singular"
    return "singular"


def agreeing(verb: Tree, subject: Tree) -> Tree:
    """A finite verb in the form that a subject asks for."""
    word = lemma(verb.word or "", verb.label)
    who = person(subject)
    if verb.label == "VBD" and word == "be":
        return leaf("VBD", "were" if who == "plural" else "was")
    if verb.label not in ("VBZ", "VBP"):
        return verb
    if word == "be":
        return leaf("VBZ", "is") if who == "singular" else leaf("VBP", "am" if who == "i" else "are")
    tag = "VBZ" if who == "singular" else "VBP"
    return verb if verb.label == tag else leaf(tag, inflect(word, tag))


def agreed(vp: Tree, subject: Tree) -> Tree:
    """A verb phrase whose finite verb agrees, those of all members of a coordination."""
    verb = verb_at(vp)
    if verb is None:
        return Tree(vp.label, [agreed(child, subject) if child.label == "VP" else child for child in vp.children])
    return swapped(vp, verb, agreeing(vp.children[verb], subject))


def in_case(noun: Tree, forms: dict[str, str]) -> Tree:
    """A noun phrase that is a pronoun alone in another case; any other as it is."""
    word = said(noun)
    if word not in forms or len(noun.leaves()) != 1:
        return noun
    form = forms[word]
    return node("NP", leaf("PRP", "I" if form == "i" else form))


def taken_up(noun: Tree) -> Tree:
    """How a noun phrase is said again: by a pronoun where that is sure, else by its noun."""
    head = head_leaf(noun)
    word = lemma(head.word or "", head.label)
    if head.label in ("PRP", "DT", "EX", "CD", "JJ"):
        return (
            {"this": pronoun("it"), "that": pronoun("it"), "these": pronoun("they"), "those": pronoun("they")}.get(said(noun), noun)
            if head.label in ("PRP", "DT", "EX")
            else pronoun("they")
        )
    if person(noun) == "plural":
        return pronoun("they")
    if coordinated(noun):
        return noun
    if word in HE or word in SHE:
        return pronoun("he" if word in HE else "she")
    if head.label in ("NNP", "NNPS"):
        if first_word(noun) in ("a", "an") and not any(child.children for child in noun.children):
            return node("NP", leaf("DT", "the"), *noun.children[1:])
        simple = noun if not any(child.label in ("SBAR", "VP", "PP", ",") for child in noun.children) else None
        return simple or (noun.children[0] if noun.children[0].label == "NP" else noun)
    if head.label == "NN":
        return node("NP", leaf("DT", "the"), *_compound(noun, head))
    return pronoun("it")


def is_animate(noun: Tree) -> bool:
    head = head_leaf(noun)
    if coordinated(noun):
        return any(is_animate(child) for child in noun.children if child.children)
    return head.label == "NNP" or head_lemma(noun) in ANIMATE


def _compound(noun: Tree, head: Tree) -> list[Tree]:
    """A noun with the nouns right before it: `flower bed`."""
    leaves = noun.leaves()
    last = first = next(i for i, one in enumerate(leaves) if one is head)
    while first and leaves[first - 1].label == "NN":
        first -= 1
    return leaves[first : last + 1]


def with_article(noun: Tree) -> Tree:
    """A noun phrase whose first word, `a` or `an`, fits the next one."""
    leaves = noun.children
    if len(leaves) < 2 or leaves[0].children or said(leaves[0]) not in ("a", "an"):
        return noun
    after = first_word(leaves[1])
    vowel = after.startswith(tuple("aeiou")) and not after.startswith(("uni", "use", "usu", "eu", "one", "once"))
    fit = "an" if vowel or after in ("hour", "honest", "honor", "heir", "honorable") else "a"
    word = leaves[0].word or ""
    return noun if word.lower() == fit else Tree(noun.label, [leaf("DT", fit), *leaves[1:]])


def pronoun(word: str) -> Tree:
    return node("NP", leaf("PRP", word))
