"""Mistakes that parsers often make at the top of a sentence, undone before a source is read; a tree without them stays as it is."""

from handler.language.heads import CONJUNCTIONS
from handler.language.morphology import inflect, lemma
from handler.language.relations import TIMES
from handler.language.trees import Tree
from handler.movement.clauses import QUOTES, first_word, head_lemma, is_negation, is_time, leaf, node, person, said

AUXILIARY_TAGS = dict(
    pair.split(":")
    for pair in """do:VBP does:VBZ did:VBD is:VBZ are:VBP was:VBD were:VBD am:VBP have:VBP has:VBZ
had:VBD can:MD could:MD will:MD would:MD may:MD should:MD""".split()
)
FINITE_FOR = {"VBN": "VBD", "VB": "VBP"}


def repaired(top: Tree) -> Tree:
    """The constituent under ROOT as it should have been parsed."""
    for repair in (without_tag_question, with_auxiliary, opened_question, lets, fragment, with_finite_verb, with_times_free):
        top = repair(top)
    return top


def with_finite_verb(top: Tree) -> Tree:
    """S whose verb has the tag of a participle, a base form, or a present that does not agree: `the woman cooked`, `Tom bet`."""
    if top.label != "S" or [child.label for child in top.children if child.label in ("NP", "VP")] != ["NP", "VP"]:
        return top
    place = next(i for i, child in enumerate(top.children) if child.label == "VP")
    vp = top.children[place]
    at = next((i for i, child in enumerate(vp.children) if child.label.startswith("VB") or child.label in ("MD", "TO")), None)
    if at is None or any(child.label in CONJUNCTIONS for child in vp.children):
        return top
    verb = vp.children[at]
    word = (verb.word or "").lower()
    subject = next(child for child in top.children if child.label == "NP")
    past = verb.label == "VBP" and person(subject) == "singular" and inflect(lemma(word, "VBP"), "VBD") == word
    if verb.label not in FINITE_FOR and not past:
        return top
    found = leaf("VBD" if past else FINITE_FOR[verb.label], verb.word or "")
    new = Tree("VP", [*vp.children[:at], found, *vp.children[at + 1 :]])
    return Tree("S", [*top.children[:place], new, *top.children[place + 1 :]])


def without_tag_question(top: Tree) -> Tree:
    """`you are late , are n't you ?` parsed as a question."""
    inside = [child for child in top.children if child.label not in (",", ".")]
    labels = [child.label for child in inside]
    tag = labels == ["S", "SQ"] or labels == ["S", "VP", "NP"]
    short = sum(len(child.leaves()) for child in inside[1:]) <= 3
    spoken = labels == ["S", "VP", "NP"] and first_word(inside[1]) not in AUXILIARY_TAGS
    return inside[0] if top.label in ("SQ", "SINV") and tag and short and not spoken else top


def with_auxiliary(top: Tree) -> Tree:
    """A question whose auxiliary was taken for a name, as it begins the sentence."""
    children = top.children
    first = children[0]
    if top.label == "SQ" and len(children) > 1 and first.label in ("NNP", "NN", "VB") and said(first) in AUXILIARY_TAGS:
        return Tree("SQ", [leaf(AUXILIARY_TAGS[said(first)], first.word or ""), *children[1:]])
    labels = [child.label for child in children[:3]]
    if top.label == "S" and labels == ["NP", "NP", "VP"] and said(first) in ("may", "can", "could", "will"):
        return node("SQ", leaf("MD", first.leaves()[0].word or ""), *children[1:])
    return top


def opened_question(top: Tree) -> Tree:
    """`Are you going …` parsed as a verb and a clause of its own."""
    inside = [child for child in top.children if child.label != "."]
    if top.label != "SQ" or len(inside) != 1 or inside[0].label != "VP" or len(inside[0].children) != 2:
        return top
    verb, clause = inside[0].children
    while clause.label == "SBAR" and len(clause.children) == 1:
        clause = clause.children[0]
    if clause.label != "S" or said(verb) not in AUXILIARY_TAGS or [child.label for child in clause.children] != ["NP", "VP"]:
        return top
    vp = clause.children[1]
    first = vp.children[0]
    if said(verb) in ("do", "does", "did") and first.label in ("VBP", "VBD", "VBZ"):
        vp = Tree("VP", [leaf("VB", first.word or ""), *vp.children[1:]])
    return node("SQ", leaf(AUXILIARY_TAGS[said(verb)], verb.word or ""), clause.children[0], vp)


def lets(top: Tree) -> Tree:
    """`let 's go` parsed with `let 's` as its subject."""
    inside = [child for child in top.children if child.label not in QUOTES | {"."}]
    if len(inside) == 1 and inside[0].label == "VP":
        inside = inside[0].children
    if top.label != "S" or [child.label for child in inside] != ["NP", "VP"] or said(inside[0]) != "let 's":
        return top
    words = inside[0].leaves()
    first = inside[1].children[0]
    vp = Tree("VP", [leaf("VB", first.word or ""), *inside[1].children[1:]]) if first.label == "VBP" else inside[1]
    small = node("S", node("NP", leaf("PRP", words[1].word or "")), vp)
    return node("S", node("VP", leaf("VB", words[0].word or ""), small))


def fragment(top: Tree) -> Tree:
    """`a girl looking at a rock` parsed as a fragment of a noun phrase and a clause."""
    inside = [child for child in top.children if child.label != "."]
    if top.label != "FRAG" or [child.label for child in inside] != ["NP", "S"] or [child.label for child in inside[1].children] != ["VP"]:
        return top
    vp = inside[1].children[0]
    return node("NP", inside[0], vp) if vp.children[0].label in ("VBG", "VBN") and not any(map(is_negation, vp.children)) else top


def with_times_free(tree: Tree) -> Tree:
    """Times that a verb phrase's object or place took in: `have [a picnic tomorrow]`, `send [the report before Friday]`."""
    if not tree.children:
        return tree
    children = [with_times_free(child) for child in tree.children]
    if tree.label == "VP":
        children = [part for child in _with_time_phrases(children) for part in _time_apart(child)]
    same = len(children) == len(tree.children) and all(new is old for new, old in zip(children, tree.children))
    return tree if same else Tree(tree.label, children)


def _time_apart(phrase: Tree) -> list[Tree]:
    """An object or a place, and the time at its end by itself."""
    if phrase.label not in ("NP", "PP") or len(phrase.children) != 2:
        return [phrase]
    first, last = phrase.children
    if first.label != phrase.label or is_time(first):
        return [phrase]
    return [first, last] if is_time(last) or phrase.label == "NP" and _is_dated(last) else [phrase]


def _is_dated(pp: Tree) -> bool:
    """`before Friday`, `on Monday`."""
    plain = pp.label == "PP" and len(pp.children) == 2 and said(pp.children[0]) in ("on", "before", "after", "until")
    return plain and pp.children[1].label == "NP" and head_lemma(pp.children[1]) in TIMES and len(pp.leaves()) < 4


def _with_time_phrases(children: list[Tree]) -> list[Tree]:
    """`next year`, loose in a verb phrase, as the noun phrase that it is."""
    for i in range(len(children) - 1):
        pair = Tree("NP", children[i : i + 2])
        if [child.label for child in pair.children] in (["JJ", "NN"], ["DT", "NN"]) and is_time(pair):
            return [*children[:i], pair, *_with_time_phrases(children[i + 2 :])]
    return children
