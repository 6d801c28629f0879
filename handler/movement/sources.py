"""What a source says as declarative clauses: questions and commands undone, fragments completed, clauses joined.

`clauses_of` gives all that movement starts from.
"""

from handler.language.heads import CONJUNCTIONS, head_leaf
from handler.language.morphology import lemma
from handler.language.relations import VERBAL
from handler.language.trees import Tree
from handler.language.wordlists import ASKED_WORDS, PLACES
from handler.movement.agreement import person, pronoun, taken_up
from handler.movement.clauses import (
    FINITE,
    MARKS,
    QUOTES,
    Clause,
    first_word,
    folded,
    full_form,
    head_lemma,
    is_auxiliary,
    is_negation,
    leaf,
    node,
    read_clause,
    reformed,
    said,
    statement_of,
    swapped,
    verb_at,
)
from handler.movement.restating import dative, lowered_negation
from handler.movement.voice import activated, passivated


def clauses_of(top: Tree, mark: str) -> list[Clause]:
    """Declarative clauses with the content of a source's top constituent, plainest first, each in both voices if it can."""
    found = plain_clauses(top, mark if mark != "?" else ".")
    for clause in found[:4]:
        for change in (activated, passivated):
            changed = change(clause)
            if changed:
                found.append(changed)
    return found + [other for change in (dative, lowered_negation) for clause in found[:1] if (other := change(clause))]


def plain_clauses(top: Tree, mark: str) -> list[Clause]:
    children = unquoted(top)
    if top.label in ("S", "SINV"):
        found = [read_clause(top, mark), read_command(top, mark), read_inversion(top, mark)]
        return [clause for clause in found if clause][:1] or joined(children, mark)
    if top.label == "SQ":
        question = read_question(top, mark) or question_beside(top, mark)
        if question and not any(map(is_negation, question.vp.children)):
            question = question.but(vp=asserted(question.vp) or question.vp)
        return [question] if question else []
    if top.label == "SBARQ":
        told = why_not(top, mark)
        if told:
            return [told]
        asked = embedded(top)
        wonder = asked and Clause(pronoun("I"), node("VP", leaf("VBP", "wonder"), asked), (), ".", ("wonder",))
        return [wonder] if wonder else []
    if top.label in ("NP", "FRAG"):
        fragment = read_fragment(top, mark)
        return [fragment] if fragment else []
    return []


def unquoted(tree: Tree) -> list[Tree]:
    """Children but for quotation marks and final marks."""
    return [child for child in tree.children if child.label not in QUOTES and child.label != "."]


def read_inversion(top: Tree, mark: str) -> Clause | None:
    """`… , said Tom`."""
    if top.label != "SINV":
        return None
    children = [child for child in unquoted(top) if child.label != ","]
    if [child.label for child in children] != ["S", "VP", "NP"] or len(children[1].children) != 1:
        return None
    quoted, verb, subject = children
    vp = Tree("VP", [*verb.children, node("SBAR", quoted)])
    return Clause(subject, vp, (), mark, ("uninvert",)) if verb.children[0].label in FINITE else None


def read_question(top: Tree, mark: str = ".", bare: bool = False) -> Clause | None:
    """A yes/no question as a statement. bare: as after a wh-phrase, where nothing need follow the subject."""
    children = unquoted(top)
    at = next((i for i, child in enumerate(children) if child.label in VERBAL), None)
    if at is None or any(child.label not in ("PP", "ADVP", "SBAR", "INTJ", "CC", ",", "S", "UH") for child in children[:at]):
        return None
    front = tuple(child for child in children[:at] if child.label in ("PP", "ADVP", "SBAR"))
    verb, rest = children[at], children[at + 1 :]
    negation = [rest.pop(0)] if rest and is_negation(rest[0]) else []
    if not rest or rest[0].label != "NP" or verb.label not in FINITE | {"VB"}:
        return None
    subject, rest = rest[0], rest[1:]
    if not rest and len(subject.children) > 1 and subject.children[0].label == "NP" and subject.children[-1].label in ("VP", "ADJP"):
        subject, rest = subject.children[0], subject.children[1:]  # was Tom seen: parsers take `Tom seen` for a noun phrase
    parts = [child.label for child in subject.children]
    if bare and not rest and parts == ["NP", "PP"] and first_word(subject.children[1]) == "like":
        subject, rest = subject.children[0], [subject.children[1]]  # what is [the weather like today]
    word = lemma(verb.word or "", verb.label)
    if len([child for child in rest if child.label == "VP"]) > 1 or any(child.label in ("S", ":") for child in rest):
        return None
    if verb.label != "MD" and word not in ("be", "have", "do") or not rest and not bare:
        return None
    at = next((i for i, child in enumerate(rest) if child.label == "VP"), None)
    if word == "do" and not negation:
        if at is None:
            return None
        tag = {"did": "VBD", "does": "VBZ"}.get((verb.word or "").lower(), "VBP")
        vp = reformed(rest[at], "VB", tag) or reformed(rest[at], "VBP", tag)
        if vp is None:
            return None
        inside = vp.children if verb_at(vp) is not None else [vp]
        return Clause(subject, Tree("VP", [*rest[:at], *inside, *rest[at + 1 :]]), front, mark, ("undo_question",))
    return Clause(subject, Tree("VP", [verb, *negation, *rest]), front, mark, ("undo_question",))


def question_beside(top: Tree, mark: str) -> Clause | None:
    """A statement and a question, `I know it , but could you wait ?`, as the question with the statement under it."""
    children = [child for child in unquoted(top) if child.label != ","]
    labels = [child.label for child in children]
    if labels not in (["S", "SQ"], ["S", "CC", "SQ"]) or len(children[-1].leaves()) < 4:
        return None
    word = said(children[1]) if len(children) == 3 else ""
    first = children[0].children[-1] if children[0].children[-1].label == "S" else children[0]  # sorry , but …
    told, asked = read_clause(first, mark), read_question(children[-1], mark)
    marker = {"but": "although", "": "since", "so": "since"}.get(word)
    if told is None or asked is None or marker is None:
        return None
    below = node("SBAR", leaf("IN", marker), statement_of(told))
    return asked.but("subordinate", front=(below, *asked.front))


def asserted(tree: Tree) -> Tree | None:
    """A part of a question with the words of a statement: `any` becomes `some`, `ever` goes."""
    if not tree.children:
        word = (tree.word or "").lower()
        return None if word == "ever" else leaf(tree.label, ASKED_WORDS[word]) if word in ASKED_WORDS else tree
    children = [child if child.label == "SBAR" else asserted(child) for child in tree.children]
    left = [child for child in children if child is not None]
    return Tree(tree.label, left) if left else None


def embedded(top: Tree) -> Tree | None:
    """A wh-question as a subordinate clause: `what the dog bit`."""
    children = [child for child in unquoted(top) if child.label not in ("CC", "INTJ", ",")]
    if len(children) != 2 or children[0].label not in ("WHNP", "WHADVP", "WHADJP", "WHPP") or children[1].label not in ("SQ", "S"):
        return None
    wh, clause = children
    inside = unquoted(clause)
    if not inside:
        return None
    if inside[0].label == "VP" and len(inside) == 1:
        return node("SBAR", wh, node("S", inside[0]))
    if inside[0].label not in VERBAL:
        return None
    question = read_question(clause, bare=True)
    if question:
        vp = question.vp
        if verb_at(vp) is not None and is_auxiliary(vp):
            at = verb_at(vp) or 0
            vp = Tree("VP", [*vp.children[:at], full_form(vp.children[at], vp), *vp.children[at + 1 :]])
        return node("SBAR", wh, node("S", question.subject, vp))
    if not any(child.label == "NP" for child in inside[1:2]) or not is_auxiliary(Tree("VP", inside)):
        return node("SBAR", wh, node("S", Tree("VP", inside))) if wh.label == "WHNP" else None
    return None


def is_command(vp: Tree) -> bool:
    verb = verb_at(vp)
    if any(child.label == "TO" for child in vp.children):
        return False
    if verb is None:
        below = [child for child in vp.children if child.label == "VP"]
        return bool(below) and all(map(is_command, below))
    word = vp.children[verb]
    return word.label == "VB" or word.label == "VBP" and lemma(word.word or "", "VBP") not in ("be", "have")


def read_command(top: Tree, mark: str) -> Clause | None:
    """`open the door` as `you should open the door`, `let's go` as `we should go`."""
    children = [child for child in unquoted(top) if not (child.label in ("INTJ", "UH", "CC") or child.label == ",")]
    front = tuple(child for child in children if child.label in ("PP", "ADVP", "SBAR"))
    vps = [child for child in children if child.label == "VP"]
    if len(vps) != 1 or len(front) + 1 != len(children) or not is_command(vps[0]):
        return None
    vp, subject, negation = vps[0], pronoun("you"), []
    front = tuple(piece for piece in front if said(piece) != "please")
    verb = verb_at(vp)
    word, after = ("", []) if verb is None else (said(vp.children[verb]), vp.children[verb + 1 :])
    if word == "let":
        small = after[0] if after else None
        inner = small.children if small is not None and small.label == "S" else []
        if len(inner) == 3 and is_negation(inner[1]):
            negation, inner = [inner[1]], [inner[0], inner[2]]
        if len(inner) == 2 and said(inner[0]) in ("'s", "us") and inner[1].label == "VP":
            subject, vp = pronoun("we"), inner[1]
        elif said(vp).split()[1:2] == ["'s"]:
            return None
    elif word == "thank":
        return None
    elif word == "do":
        if len(after) == 2 and is_negation(after[0]) and after[1].label == "VP":
            negation, vp = [leaf("RB", "not")], after[1]
    base = reformed(vp, "VBP", "VB") or vp
    if negation and said(base).startswith("forget to "):  # don't forget to: remember to
        negation, base = [], Tree("VP", [leaf("VB", "remember"), *base.children[1:]])
    return Clause(subject, Tree("VP", [leaf("MD", "should"), *negation, base]), front, mark, ("should",))


def read_fragment(top: Tree, mark: str) -> Clause | None:
    """A noun phrase as a clause: `a man riding a horse` is doing so, `a dog in the house` is there; `cold movie` is one."""
    children = [child for child in unquoted(top) if child.label != ","]
    if top.label == "FRAG":
        return read_fragment(children[0], mark) if len(children) == 1 and children[0].label == "NP" else None
    spoken = any(one.label == "PRP" and said(one) in "i he she we they".split() for one in top.leaves())
    if not children or spoken or any(child.label in CONJUNCTIONS | {"NNP", ":", "SBAR", "PRN"} for child in children):
        return None
    sentence = misread(children)
    if sentence:
        return Clause(*sentence, (), mark, ("complete",))
    first, rest = children[0], children[1:]
    if first.label == "NP" and len(children) < 5 and len(rest) + 1 == len(unquoted(top)):
        be = be_for(first)
        verbal = [child for child in rest if child.label == "VP"]
        if len(verbal) == 1 and all(child.label in ("VP", "PP", "ADVP") for child in rest):
            at = rest.index(verbal[0])
            form = verb_at(verbal[0])
            if form is not None and verbal[0].children[form].label in ("VBG", "VBN"):
                noun = node("NP", first, *rest[:at]) if at else first
                return Clause(noun, Tree("VP", [be, *rest[at:]]), (), mark, ("complete",))
        if rest and all(child.label == "PP" for child in rest):
            place = said(rest[-1].children[0]) in PLACES
            noun = node("NP", first, *rest[:-1]) if len(rest) > 1 else first
            if place:
                return Clause(noun, Tree("VP", [be, rest[-1]]), (), mark, ("complete",))
    if head_leaf(top).label in ("NN", "NNS") and all(child.label in ("NP", "PP") or not child.children for child in children):
        noun = Tree("NP", children)
        if head_leaf(noun).label == "NNS" and first_word(noun) in ("a", "an"):
            return None  # a man dances: a clause that its parse takes for a noun phrase
        be = be_for(noun)
        return Clause(node("NP", leaf("EX", "there")), node("VP", be, noun), (), mark, ("complete",))
    return None


def why_not(top: Tree, mark: str) -> Clause | None:
    """`why don't you sit` as `you should sit`."""
    children = unquoted(top)
    if len(children) != 2 or said(children[0]) != "why" or children[1].label != "SQ":
        return None
    inside = unquoted(children[1])
    if (
        [child.label for child in inside] not in (["VBP", "RB", "NP", "VP"], ["VB", "RB", "NP", "VP"])
        or said(inside[0]) != "do"
        or said(inside[2]) not in ("you", "we")
        or verb_at(inside[3]) is None
        or inside[3].children[verb_at(inside[3]) or 0].label != "VB"
        or (first_word(inside[3]) in ("know", "like", "want", "have", "believe", "understand", "think", "love"))
    ):
        return None
    return Clause(inside[2], node("VP", leaf("MD", "should"), inside[3]), (), mark, ("should",))


def misread(children: list[Tree]) -> tuple[Tree, Tree] | None:
    """`a man dances on a roof`, which parsers may take for a noun phrase, as subject and verb phrase."""
    first = children[0]
    noun, rest = (first, children[1:]) if first.label == "NP" else (Tree("NP", children), [])
    parts = noun.children
    if (
        len(parts) < 3
        or first_word(noun) not in ("a", "an")
        or [part.label for part in parts[-2:]] != ["NN", "NNS"]
        or any(part.children for part in parts)
    ):
        return None
    return Tree("NP", parts[:-1]), Tree("VP", [leaf("VBZ", parts[-1].word or ""), *rest])


def be_for(noun: Tree) -> Tree:
    return leaf("VBZ", "is") if person(noun) == "singular" else leaf("VBP", "are")


# Clauses joined by a conjunction


def parts_of(children: list[Tree]) -> tuple[list[Tree], str] | None:
    """Two clauses and their conjunction; a comma or semicolon counts as `and`."""
    inside = [child for child in children if child.label not in MARKS or child.label == ":"]
    labels = [child.label for child in inside]
    if labels and labels[0] in ("CC", "INTJ"):
        inside, labels = inside[1:], labels[1:]
    if labels in (["S", "CC", "S"], ["S", "IN", "S"]):
        return [inside[0], inside[2]], said(inside[1])
    if labels == ["S", ":", "S"] or labels == ["S", "S"]:
        return [inside[0], inside[-1]], "and" if labels == ["S", "S"] or said(inside[1]) in (";", "--", ":") else ""
    return None


def joined(children: list[Tree], mark: str) -> list[Clause]:
    """Two clauses as one with a subordinate clause: `A but B` is `B although A`."""
    found = parts_of(children)
    if not found:
        return []
    (one, other), word = found
    first, second = read_clause(one, mark), read_clause(other, mark)
    if not first or not second:
        return []
    merged = merge(first, second, word)
    if merged:
        return [merged]
    if word == "but":
        first, second, marker = second, first, "although"
    elif word == "so":
        first, second, marker = second, first, "because"
    else:
        marker = {"and": "while", "for": "because"}.get(word, "")
    if not marker:
        return []
    below = node("SBAR", leaf("IN", marker), statement_of(second))
    if word in ("but", "so"):
        return [
            first.but("subordinate", front=(below, *first.front)),
        ]
    first = folded(first)
    return [first.but("subordinate", vp=Tree("VP", [*first.vp.children, below]))]


def merge(first: Clause, second: Clause, word: str) -> Clause | None:
    """Two clauses of one subject as one with joined verb phrases."""
    same = said(second.subject) in (said(first.subject), said(taken_up(first.subject)))
    if (
        not same
        or word not in ("and", "but", "or")
        or second.front
        or head_lemma(first.subject) == "there"
        or first_word(first.subject) == "it"
        or verb_at(first.vp) is None
        or verb_at(second.vp) is None
    ):
        return None
    at = verb_at(second.vp) or 0
    later = second.vp if not is_auxiliary(second.vp) else swapped(second.vp, at, full_form(second.vp.children[at], second.vp))
    return first.but("merge", vp=node("VP", first.vp, leaf("CC", word), later))
