"""Tags split by where they stand in a tree. No words.

The tag of a leaf says which words may come there, and its place says more: a VBD beside a verb phrase is an auxiliary's, one before a
noun phrase is a transitive verb's, and a DT before an NNS is no `a`. (Klein and Manning, 2003, split tags in this way to parse.)
"""

from handler.language.inflection import FAMILY
from handler.language.relations import CLAUSES
from handler.language.trees import Tree

VERBS = FAMILY["VB"]
FRAMES = ("aux", "object", "adjective", "clause", "phrase", "alone", "modifier")  # what a verb has beside it
PLURAL, SINGULAR = frozenset({"NNS", "NNPS"}), frozenset({"NN", "NNP"})
# What the places of a tag are called; every other tag has one kind of place only.
PLACES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(VERBS, FRAMES),
    "VBD": tuple(f"{frame}{number}" for frame in FRAMES for number in ("", " of one", " of many")),
    "MD": ("aux", "alone"),
    "PRP": ("object", "before VBP", "before VBZ", "before another"),
    "DT": ("alone", "of one", "of many"),
    "CD": ("alone", "of one", "of many"),
    "JJ": ("predicate", "of one", "of many"),
    "IN": ("clause", "gerund", "of a noun", "of a verb", "of a sentence"),
    "RB": ("verb", "sentence", "adjective", "noun", "adverb", "auxiliary"),
    "CC": ("sentence", "verb", "noun"),
    "WDT": ("relative", "question"),
    "WP": ("relative", "question"),
    "WRB": ("relative", "question"),
}
ELSEWHERE = "elsewhere"
SPLIT = tuple((tag, place) for tag, places in sorted(PLACES.items()) for place in (*places, ELSEWHERE))
NUMBERS = {split: number for number, split in enumerate(SPLIT)}
NONE = -1
OF_A_NOUN = {"NP": "of a noun", "NX": "of a noun", "VP": "of a verb", "S": "of a sentence", "SINV": "of a sentence"}
OF_AN_ADVERB = {"VP": "verb", "S": "sentence", "SINV": "sentence", "SQ": "sentence", "ADJP": "adjective", "NP": "noun", "QP": "noun"}
OF_A_CONJUNCTION = {"S": "sentence", "SINV": "sentence", "SBAR": "sentence", "VP": "verb", "NP": "noun", "NX": "noun"}


def split_tags(tokens: list[str]) -> list[int]:
    """Of each leaf of a parse, left to right, the number of its tag and place in `SPLIT`; NONE where the tag is not split.

    tokens: the brackets and labels of the parse, as `trees.syntax_tokens` makes them.
    """
    return _numbers(tree_of(tokens))


def content_tags(tokens: list[str]) -> list[str]:
    """The tags of a parse's leaves, left to right, but for those beside a verb phrase, which are an auxiliary's."""
    tree = tree_of(tokens)
    numbered = zip(tree.leaves(), _numbers(tree))
    return [leaf.label for leaf, number in numbered if number == NONE or not SPLIT[number][1].startswith("aux")]


def tree_of(tokens: list[str]) -> Tree:
    """A parse without words from its balanced brackets and labels."""
    path = [Tree("")]
    for token in tokens:
        if token == "(":
            child = Tree("")
            path[-1].children.append(child)
            path.append(child)
        elif token == ")":
            path.pop()
        else:
            path[-1].label = token
    return path[0].children[0]


def _numbers(tree: Tree) -> list[int]:
    found: list[int] = []
    _visit(tree, Tree(""), "", found)
    return found


def _visit(node: Tree, above: Tree, number: str, found: list[int]) -> None:
    """Note the places of a node's leaves. above: its parent. number: of the subject, where the node is its verb phrase."""
    if node.label in CLAUSES:
        number = _number_of_subject(node)
    for place, child in enumerate(node.children):
        if child.children:
            inherits = child.label in ("VP", "SQ") and (node.label in CLAUSES or node.label == "VP")
            _visit(child, node, number if inherits else "", found)
        else:
            found.append(NUMBERS.get((child.label, _place(node, place, above, number) or ELSEWHERE), NONE))


def _place(node: Tree, place: int, above: Tree, number: str) -> str:
    """What the place of a leaf is called, if its tag is split. node: its parent; above: the parent's parent."""
    tag = node.children[place].label
    if tag in VERBS or tag == "MD":
        frame = _frame(node, place)
        if tag == "MD":
            return frame if frame == "aux" else "alone"
        return frame + (number if tag == "VBD" else "")
    if tag in ("DT", "CD", "JJ"):
        return _of_how_many(node, tag)
    if tag == "PRP":
        return _of_pronoun(node, above)
    if tag == "IN":
        if node.label == "SBAR":
            return "clause"
        gerund = any(child.label in ("S", "SBAR") for child in node.children[place + 1 :])
        return "gerund" if gerund else OF_A_NOUN.get(above.label, "")
    if tag == "RB":
        if node.label == "ADVP":
            return OF_AN_ADVERB.get(above.label, "adverb")
        return "auxiliary" if node.label in ("VP", "SQ") else OF_AN_ADVERB.get(node.label, "adverb")
    if tag == "CC":
        return OF_A_CONJUNCTION.get(node.label, "")
    if tag in ("WDT", "WP", "WRB"):
        return "question" if above.label == "SBARQ" else "relative"
    return ""


def _frame(node: Tree, place: int) -> str:
    """What a verb has beside it."""
    if node.label not in ("VP", "SQ", "SINV"):
        return "modifier"
    after = [child.label for child in node.children[place + 1 :]]
    if "VP" in after:
        return "aux"
    if node.label != "VP" and after[:1] == ["NP"]:  # after the subject of a question
        after = after[1:]
    for label in after:
        if label == "NP":
            return "object"
        if label == "ADJP":
            return "adjective"
        if label in ("S", "SBAR"):
            return "clause"
        if label in ("PP", "PRT"):
            return "phrase"
    return "alone"


def _number_of_subject(clause: Tree) -> str:
    labels = [child.label for child in clause.children]
    if clause.label == "S":
        verb = labels.index("VP") if "VP" in labels else 0
        subjects = [child for child in clause.children[:verb] if child.label == "NP"][-1:]
    else:
        subjects = [child for child in clause.children if child.label == "NP"][:1]
    return {"one": " of one", "many": " of many"}.get(_number(subjects[0]), "") if subjects else ""


def _number(noun: Tree) -> str:
    """`one` or `many` things, or "" where labels do not tell."""
    labels = [child.label for child in noun.children]
    if "CC" in labels:
        return "many"
    if labels[:1] == ["NP"]:
        return _number(noun.children[0])
    last = next((label for label in reversed(labels) if label in PLURAL or label in SINGULAR), "")
    return "many" if last in PLURAL else "one" if last else ""


def _of_how_many(node: Tree, tag: str) -> str:
    if tag == "JJ" and node.label not in ("NP", "NX"):
        return "predicate"
    if len(node.children) == 1:
        return "alone"
    number = _number(node)
    return f"of {number}" if number else ""


def _of_pronoun(node: Tree, above: Tree) -> str:
    if above.label in CLAUSES:
        verb = next((child for child in above.children if child.label in ("VP", "VBZ", "VBP", "VBD", "MD")), None)
        while verb is not None and verb.children and verb.children[0].label in ("VP", "ADVP", "VBZ", "VBP", "VBD", "MD"):
            verb = next((child for child in verb.children if child.label != "ADVP"), None)
        label = verb.label if verb is not None else ""
        return f"before {label}" if label in ("VBP", "VBZ") else "before another"
    return "object"
