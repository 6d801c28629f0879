"""Head rules: which child of a constituent it is named after, and so which word of a tree governs which.

The table is that of Collins (1999, appendix A) in the variant of Stanford's parser, where the head of a clause is its
verb's content: an auxiliary or a copula gives way to the verb phrase, adjective or noun phrase that it goes with only in
`relations`, not here; here the head of a verb phrase is the inner verb phrase where there is one. Coordination is headed by
its first member. Every node has a head, whatever its label and children.
"""

from functools import lru_cache

from handler.language.trees import PHRASES, Tree

# For a label: where to search from, and the labels sought, first come first served. `left` takes for each label in turn the first
# child of that label; `right` the last; `leftdis` and `rightdis` the first or last child of any of the labels.
RULES: dict[str, list[tuple[str, str]]] = {
    "ROOT": [("left", "S SQ SBARQ SINV SBAR FRAG UCP VP NP X")],
    "S": [("left", "VP S SBAR ADJP UCP NP PP SQ SINV FRAG ADVP")],
    "SINV": [("left", "VP VBZ VBD VBP VB MD S SINV ADJP NP")],
    "SQ": [("left", "VP SQ ADJP NP VBZ VBD VBP VB MD S PP ADVP")],
    "SBARQ": [("left", "SQ S SINV SBARQ SBAR FRAG VP")],
    "SBAR": [("left", "S SQ SINV SBAR FRAG VP X WHNP WHPP WHADVP WHADJP NP ADJP IN DT")],
    "VP": [("left", "VP VBD VBN MD VBZ VB VBG VBP TO NN NNS ADJP NP S PP")],
    "ADJP": [("rightdis", "JJ JJR JJS VBN VBG"), ("left", "ADJP QP NN NNS CD NP DT FW RBR RBS SBAR RB")],
    "ADVP": [("right", "RB RBR RBS FW ADVP TO CD JJR JJ IN NP JJS NN")],
    "CONJP": [("right", "CC RB IN")],
    "FRAG": [("left", "S VP NP ADJP PP SBAR ADVP WHNP WHADVP")],
    "INTJ": [("left", "UH INTJ VB JJ RB")],
    "LST": [("right", "LS :")],
    "PP": [("left", "IN TO VBG VBN RP FW PP")],
    "PRN": [("left", "VP S SBAR SINV NP PP ADJP ADVP")],
    "PRT": [("right", "RP RB IN")],
    "QP": [("left", "$ NN NNS CD JJ RB DT NCD QP JJR JJS")],
    "RRC": [("right", "VP NP ADVP ADJP PP")],
    "UCP": [("left", "VP S NP ADJP PP ADVP")],
    "WHADJP": [("left", "WRB JJ ADJP CC"), ("rightdis", "JJ")],
    "WHADVP": [("right", "RB WRB CC")],
    "WHNP": [("rightdis", "NN NNS NNP NNPS"), ("left", "WHNP NP WDT WP WP$ WHADJP WHPP")],
    "WHPP": [("right", "IN TO FW PP")],
    "X": [("left", "S VP NP PP ADJP")],
}
NOMINAL = [
    ("rightdis", "NN NNP NNPS NNS NX JJR"),
    ("left", "NP"),
    ("rightdis", "$ ADJP PRN"),
    ("rightdis", "CD"),
    ("rightdis", "JJ JJS RB QP DT PRP WP EX VBG"),
]
PUNCTUATION = frozenset(", : . `` '' -LRB- -RRB-".split())  # not $ and #, which are words
CONJUNCTIONS = frozenset({"CC", "CONJP"})
CACHED_EXPANSIONS = 4096  # labels of nodes with those of their children; few of the many there are make up nearly all of a text
CACHED_CHILDREN = 16  # of a node at most, so that they take little memory whatever trees requests have


def head_child(node: Tree) -> int:
    """Which child is the head, by number; a leaf has none to ask for."""
    labels = tuple([child.label for child in node.children])
    return _known_head(node.label, labels) if len(labels) <= CACHED_CHILDREN else _head_among(node.label, labels)


@lru_cache(CACHED_EXPANSIONS)
def _known_head(label: str, labels: tuple[str, ...]) -> int:
    return _head_among(label, labels)


def _head_among(label: str, labels: tuple[str, ...]) -> int:
    """The head among the labels of a node's children, by number."""
    first = _coordinated(label, labels)
    if first is not None:
        return first
    if label in ("NP", "NX", "NAC"):
        return _nominal(labels)
    for way, sought in RULES.get(label, ()):
        found = _search(labels, way, sought.split())
        if found is not None:
            if label == "SQ" and labels[found] == "NP":  # is he a man: the last noun phrase
                found = len(labels) - 1 - labels[::-1].index("NP")
            return found
    return _fallback(labels)


def _coordinated(label: str, labels: tuple[str, ...]) -> int | None:
    """The first member of a coordination of like phrases."""
    places = [i for i, one in enumerate(labels) if one in CONJUNCTIONS]
    if not places or not places[0]:
        return None
    members = [i for i in range(places[0]) if labels[i] in PHRASES and labels[i] not in ("ADVP", "PRN", "INTJ")]
    if label in ("NP", "NX") and not (members and labels[members[-1]] in ("NP", "NX", "QP")):
        nouns = [i for i in range(places[0]) if labels[i].startswith("NN")]  # salt and pepper
        return nouns[-1] if nouns else None
    after = {one for one in labels[places[0] + 1 :] if one in PHRASES}
    alike = [i for i in members if labels[i] in after]
    return alike[0] if alike else None


def _search(labels: tuple[str, ...], way: str, sought: list[str]) -> int | None:
    order = range(len(labels)) if way.startswith("left") else range(len(labels) - 1, -1, -1)
    if way.endswith("dis"):
        return next((i for i in order if labels[i] in sought), None)
    return next((i for label in sought for i in order if labels[i] == label), None)


def _nominal(labels: tuple[str, ...]) -> int:
    """Collins' rules for noun phrases; a possessive's head is not its POS but the noun before it."""
    for way, sought in NOMINAL:
        found = _search(labels, way, sought.split())
        if found is not None and not (found + 1 < len(labels) and labels[found + 1] == "POS" and found + 2 < len(labels)):
            return found
    return _fallback(labels)


def _fallback(labels: tuple[str, ...]) -> int:
    """The last child that is no punctuation, whatever it is."""
    return next((i for i in range(len(labels) - 1, -1, -1) if labels[i] not in PUNCTUATION), len(labels) - 1)


def head_leaf(node: Tree) -> Tree:
    """The leaf that a node is named after; a leaf's own is itself."""
    while node.children:
        node = node.children[head_child(node)]
    return node


def heads(tree: Tree) -> dict[int, int]:
    """The number of the head leaf of every node, left to right from 0, by the node's `id`; of a leaf its own."""
    found: dict[int, int] = {}
    count = 0

    def visit(node: Tree) -> int:
        nonlocal count
        if not node.children:
            found[id(node)] = count
            count += 1
            return found[id(node)]
        below = [visit(child) for child in node.children]
        found[id(node)] = below[head_child(node)]
        return found[id(node)]

    visit(tree)
    return found


def head(tree: Tree) -> int:
    """The number of the leaf that governs the whole tree."""
    return heads(tree)[id(tree)]
