"""Mistakes that parsers often make at the top of a sentence, undone before a source is read; a tree without them stays as it is."""

from handler.language.heads import CONJUNCTIONS
from handler.language.morphology import inflect, lemma
from handler.language.relations import TIMES
from handler.language.trees import Tree
from handler.language.wordlists import LEADS, UTTERING
from handler.movement.agreement import person
from handler.movement.clauses import QUOTES, first_word, head_lemma, is_negation, is_time, leaf, node, said, verb_at

AUXILIARY_TAGS = dict(
    pair.split(":")
    for pair in """do:VBP does:VBZ did:VBD is:VBZ are:VBP was:VBD were:VBD am:VBP have:VBP has:VBZ
had:VBD can:MD could:MD will:MD would:MD may:MD should:MD""".split()
)
FINITE_FOR = {"VBN": "VBD", "VB": "VBP"}


def repaired(top: Tree) -> Tree:
    """The constituent under ROOT as it should have been parsed."""
    for repair in REPAIRS:
        top = repair(top)
    return top


def with_finite_verb(top: Tree) -> Tree:
    """S whose verb has the tag of a participle, a base form, or a present that does not agree: `the woman cooked`, `Tom bet`."""
    if top.label != "S" or [child.label for child in top.children if child.label in ("NP", "VP")] != ["NP", "VP"]:
        return top
    place = next(i for i, child in enumerate(top.children) if child.label == "VP")
    vp = top.children[place]
    at = next((i for i, child in enumerate(vp.children) if child.label.startswith("VB") or child.label in ("MD", "TO")), None)
    subject = next(child for child in top.children if child.label == "NP")
    if (
        at is None
        and vp.children[0].label == ("NN" if person(subject) == "plural" else "NNS")
        and not any(child.label == "VP" for child in vp.children)
    ):
        verb = leaf("VBP" if person(subject) == "plural" else "VBZ", vp.children[0].word or "")  # two women gossip
        return Tree("S", [*top.children[:place], Tree("VP", [verb, *vp.children[1:]]), *top.children[place + 1 :]])
    if at is None or any(child.label in CONJUNCTIONS for child in vp.children):
        return top
    verb = vp.children[at]
    word = (verb.word or "").lower()
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
    labels = [child.label for child in children[1:3]]
    if top.label == "S" and labels == ["NP", "VP"] and said(first) in ("may", "can", "could", "will", "would"):
        vp = children[2] if children[2].children[0].label != "VBP" else _in_base_form(children[2])
        return node("SQ", leaf("MD", first.leaves()[0].word or ""), children[1], vp, *children[3:])
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
    """`let 's go`, of which parsers make a name and its possession, as the command that it is."""
    words = top.leaves()
    if top.label != "S" or said(top).split()[:2] != ["let", "'s"] or not words[2:]:
        return top
    inside = [child for child in _after(top, 2).children if child.label not in QUOTES | {"."}]
    while len(inside) == 1 and inside[0].label in ("S", "VP") and verb_at(inside[0]) is None and inside[0].children:
        inside = inside[0].children
    negation = [inside.pop(0)] if len(inside) > 1 and is_negation(inside[0]) else []
    vp = inside[0] if len(inside) == 1 and inside[0].label == "VP" else Tree("VP", inside)
    if not all(vp.children) or any(child.label in ("NP", "SBAR") for child in vp.children[:1]):
        return top
    small = node("S", node("NP", leaf("PRP", words[1].word or "")), *negation, _in_base_form(vp))
    return node("S", node("VP", leaf("VB", words[0].word or ""), small))


def _after(tree: Tree, count: int) -> Tree:
    """A tree without its first leaves; constituents that have lost all of theirs go."""
    left = []
    for child in tree.children:
        size = len(child.leaves())
        if count < size:
            left.append(_after(child, count) if count else child)
        count = max(0, count - size)
    return Tree(tree.label, left)


def _in_base_form(vp: Tree) -> Tree:
    """A verb phrase whose first word, or the first of each member, is a base form, whatever its tag."""
    if vp.children[0].label == "VP":
        return Tree("VP", [_in_base_form(child) if child.label == "VP" else child for child in vp.children])
    first = vp.children[0]
    return vp if first.children else Tree("VP", [leaf("VB", first.word or ""), *vp.children[1:]])


def fragment(top: Tree) -> Tree:
    """`a girl looking at a rock` parsed as a fragment of a noun phrase and a clause, or as a clause without a finite verb."""
    inside = [child for child in top.children if child.label != "."]
    labels = [child.label for child in inside]
    if top.label == "FRAG" and labels == ["NP", "S"] and [child.label for child in inside[1].children] == ["VP"]:
        vp = inside[1].children[0]
        return node("NP", inside[0], vp) if vp.children[0].label in ("VBG", "VBN") and not any(map(is_negation, vp.children)) else top
    if top.label == "S" and labels[:2] == ["NP", "VBG"]:
        return node("NP", inside[0], Tree("VP", inside[1:]))
    if top.label == "S" and labels == ["NP", "VP"] and inside[1].children[0].label == "VBG":
        return node("NP", *inside)
    return top


def spoken(top: Tree) -> Tree:
    """What someone says, in quotation marks before or after who says it, as the object of the verb: `Ann said , " it is late "`."""
    labels = [child.label for child in top.children if child.label != "."]
    if top.label not in ("S", "SINV") or labels.count("``") != 1 and "``" not in [one.label for one in top.leaves()]:
        return top
    if "''" in labels and labels[:1] == ["``"]:
        end = next(i for i, child in enumerate(top.children) if child.label == "''")
        said_so = [child for child in top.children[end + 1 :] if child.label not in (".", ",")]
        what = _quoted(top.children[1:end])
        speakers = [pair for pair in (said_so, said_so[::-1]) if len(pair) == 2 and _speaks(*pair)]
        if not speakers or what is None:
            return top
        who, vp = speakers[0]
        return node("S", who, Tree("VP", [*vp.children, leaf(",", ","), top.children[0], *what, top.children[end]]))
    if labels == ["NP", "VP", "''"] and [one.label for one in top.leaves()].count("''") == 1:
        who, vp, close = (child for child in top.children if child.label != ".")
        opened = [child.label for child in vp.children]
        return node("S", who, Tree("VP", [*vp.children, close])) if "``" in opened else top
    return top


def _speaks(who: Tree, vp: Tree) -> bool:
    """Whether these are the subject and the verb phrase of `he said`."""
    verb = vp.children[0] if vp.label == "VP" else vp
    return who.label == "NP" and vp.label == "VP" and lemma(verb.word or "", verb.label) in UTTERING


def _quoted(parts: list[Tree]) -> list[Tree] | None:
    """What stands within quotation marks as a clause, with the mark of a question; None where it is none."""
    mark = [child for child in parts if child.label == "." and child.word == "?"]
    parts = [child for child in parts if child.label not in (",", ".")]
    labels = [child.label for child in parts]
    if not parts or any(label in QUOTES for label in labels):
        return None
    if len(parts) == 1 and parts[0].label in ("S", "SQ", "SBARQ"):
        return [*parts, *mark]
    if labels[0] == "VB":
        return [node("S", Tree("VP", parts)), *mark]
    label = "SBARQ" if labels[0].startswith("WH") and labels[-1] == "SQ" else "S" if "VP" in labels and labels[0] != "MD" else ""
    return [Tree(label, parts), *mark] if label else None


def without_lead(top: Tree) -> Tree:
    """A question without `okay` or `thanks` before its wh-phrase."""
    at = next((i for i, child in enumerate(top.children) if child.label == "SQ"), 0)
    if top.label != "SBARQ" or at < 2 or not top.children[at - 1].label.startswith("WH"):
        return top
    leads = top.children[: at - 1]
    return Tree("SBARQ", top.children[at - 1 :]) if all(said(child) in LEADS or child.label == "," for child in leads) else top


def joined_commands(top: Tree) -> Tree:
    """`peel it and cut it`, whose later verbs are taken for pasts because they look alike."""
    inside = [child for child in top.children if child.label != "."]
    if top.label != "S" or [child.label for child in inside] != ["VP"] or inside[0].children[0].label != "VP":
        return top
    members = [child for child in inside[0].children if child.label == "VP"]
    firsts = [child.children[0] for child in members]
    if firsts[0].label != "VB" or any(one.children or lemma(one.word or "", one.label) != (one.word or "").lower() for one in firsts):
        return top
    return node("S", _in_base_form(inside[0]))


def flat_clause(top: Tree) -> Tree:
    """A second clause whose parts hang beside the first one: `(S …) but (ADVP now) (NP he) (VP slipped)`."""
    inside = [child for child in top.children if child.label not in QUOTES | {"."}]
    at = next((i for i, child in enumerate(inside) if child.label == "CC"), 0)
    rest = [child.label for child in inside[at + 1 :]]
    if (
        top.label != "S"
        or at < 1
        or inside[0].label != "S"
        or rest[-2:] != ["NP", "VP"]
        or not set(rest[:-2]) <= {"ADVP", "PP", "SBAR", ","}
    ):
        return top
    return node("S", *inside[: at + 1], Tree("S", inside[at + 1 :]))


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


REPAIRS = (
    spoken,
    without_tag_question,
    with_auxiliary,
    opened_question,
    without_lead,
    lets,
    joined_commands,
    flat_clause,
    fragment,
    with_finite_verb,
    with_times_free,
)  # in this order
