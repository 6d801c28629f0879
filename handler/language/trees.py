"""Constituency trees in brackets: reads, checks, prints, prunes to templates, flattens to syntax tokens. Standard library only.

A tree is written `(ROOT (S (NP (PRP it)) (VP (VBZ rains)) (. .)))`: labels of the Penn Treebank, a word at each leaf.
A template is the top of a tree, labels only: `(ROOT (S (NP ) (VP ) (. )))`. Nothing here knows vocabulary ids.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from handler.errors import SyntaxTreeError

# The syntax tokens of the published vocabulary, in its order (ids 5 to 108 there, written `<X>`).
SYNTAX_TOKENS = tuple(
    "PAD ROOT ADJP -ADV ADVP -BNF CC CD -CLF -CLR CONJP -DIR DT -DTV EX -EXT FRAG FW -HLN IN INTJ JJ JJR JJS -LGS -LOC LS"
    " LST MD -MNR NAC NN NNS NNP NNPS -NOM NP NX PDT POS PP -PRD PRN PRP -PRP PRP$ PRP-S PRT -PUT QP RB RBR RBS RP RRC S"
    " SBAR SBARQ -SBJ SINV SQ SYM -TMP TO -TPC -TTL UCP UH VB VBD VBG VBN VBP VBZ -VOC VP WDT WHADJP WHADVP WHNP WHPP WP"
    " WP$ WP-S WRB X # `` '' . , : $ -LRB- -RRB- -NONE- * 0 T NUL > ( ) EOP".split()
)
# The labels among them that a node of a tree may have.
LABELS = (
    frozenset(SYNTAX_TOKENS)
    - {"PAD", "PRP-S", "WP-S", "*", "0", "T", "NUL", ">", "(", ")", "EOP", "-NONE-"}
    - {token for token in SYNTAX_TOKENS if re.fullmatch(r"-[A-Z]{3}", token)}
)

PHRASES = frozenset(
    "ROOT ADJP ADVP CONJP FRAG INTJ LST NAC NP NX PP PRN PRT QP RRC S SBAR SBARQ SINV SQ UCP VP WHADJP WHADVP WHNP WHPP X".split()
)  # have children
TAGS = LABELS - PHRASES  # parts of speech: a word, no children

# Labels of other treebanks and parsers, and the classic label for each.
SYNONYMS = {
    "TOP": "ROOT",
    "S1": "ROOT",
    "HYPH": ":",
    "NFP": ":",
    "ADD": "NN",
    "GW": "FW",
    "XX": "FW",
    "AFX": "JJ",
    "PRP-S": "PRP$",
    "WP-S": "WP$",
    "(": "-LRB-",
    ")": "-RRB-",
    "-LSB-": "-LRB-",
    "-RSB-": "-RRB-",
    "-LCB-": "-LRB-",
    "-RCB-": "-RRB-",
    '"': "''",
}
FLATTENED = frozenset({"NML", "EDITED"})  # phrases whose children move up to their parent
ESCAPES = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}", "``": '"', "''": '"', "\\/": "/", "\\*": "*"}

MAX_CHARACTERS = 20_000
MAX_DEPTH = 100
TEMPLATE_DEPTH = 3  # ROOT, the clause, the clause's children


Found = TypeVar("Found")


def memoized(function: Callable[["Tree"], Found]) -> Callable[["Tree"], Found]:
    """A function of a tree, which is called once for each tree. The tree keeps what was found, which must not be the tree itself."""

    @functools.wraps(function)
    def of(tree: "Tree") -> Found:
        memo = tree.memo
        if memo is None:
            memo = tree.memo = {}
        elif function in memo:
            return memo[function]
        found = memo[function] = function(tree)
        return found

    return of


@dataclass(slots=True)
class Tree:
    """A node: its label, and either its children or, at a leaf, its word. A leaf of a template has neither.

    A tree is not changed after it has been built, nor are the lists that it gives.
    """

    label: str
    children: list["Tree"] = field(default_factory=list)
    word: str | None = None
    memo: dict[Callable, Any] | None = field(default=None, init=False, repr=False, compare=False)  # see `memoized`

    def __str__(self) -> str:
        """One line, as the Penn Treebank prints it; a bare label prints as `(NP )`."""
        if not self.children:
            return f"({self.label} {escape(self.word) if self.word is not None else ''})"
        return f"({self.label} {' '.join(map(str, self.children))})"

    def leaves(self) -> list["Tree"]:
        """The nodes without children, left to right."""
        return _leaves(self) if self.children else [self]

    def first_leaf(self) -> "Tree":
        node = self
        while node.children:
            node = node.children[0]
        return node

    def depth(self) -> int:
        return 1 + max((child.depth() for child in self.children), default=0)


@memoized
def _leaves(node: Tree) -> list[Tree]:
    return [leaf for child in node.children for leaf in child.leaves()]


def escape(word: str) -> str:
    """A word as it is written in a tree: brackets become -LRB- and -RRB-."""
    return word.replace("(", "-LRB-").replace(")", "-RRB-")


def unescape(word: str) -> str:
    """The plain word for a leaf of a tree: -LRB- becomes `(`, doubled quotes become `"`."""
    return ESCAPES.get(word) or word.replace("-LRB-", "(").replace("-RRB-", ")").replace("\\/", "/").replace("\\*", "*")


def read_tree(text: str) -> Tree:
    """Read one tree and map its labels to the classic Penn Treebank set.

    Function tags and co-indices are removed (`NP-SBJ-1` becomes `NP`), and so are traces. A missing ROOT is added. Words are
    unescaped. Raises SyntaxTreeError if brackets do not match, if there is no tree or more than one, if a label is unknown, or if
    the text is longer than MAX_CHARACTERS or nested deeper than MAX_DEPTH.
    """
    if len(text) > MAX_CHARACTERS:
        raise SyntaxTreeError(f"a tree may have {MAX_CHARACTERS} characters, this one has {len(text)}")
    top = Tree("")
    path = [top]  # the open nodes
    awaiting_label, labels = False, 0
    for token in re.findall(r"[()]|[^\s()]+", text):
        node = path[-1]
        if token == "(":
            if node.word is not None:
                raise SyntaxTreeError(f"the node {describe(node)} has both a word and children")
            if len(path) > MAX_DEPTH:
                raise SyntaxTreeError(f"a tree may be {MAX_DEPTH} levels deep")
            path.append(Tree(""))
            node.children.append(path[-1])
            awaiting_label = True
        elif token == ")":
            if len(path) == 1:
                raise SyntaxTreeError("a closing bracket has no opening one")
            if not node.label and (len(path) > 2 or not node.children):
                raise SyntaxTreeError("a pair of brackets has no label")
            path.pop()
            awaiting_label = False
        elif awaiting_label:
            labels += 1
            node.label, awaiting_label = canonical_label(token), False
            if not node.label:
                raise SyntaxTreeError(f"label {labels} of the tree is not one of the Penn Treebank's")
        elif node is top:
            raise SyntaxTreeError("there is text outside the brackets")
        elif node.children or node.word is not None:
            raise SyntaxTreeError(f"the node {describe(node)} has {'both a word and children' if node.children else 'more than one word'}")
        else:
            node.word = unescape(token)
    if len(path) > 1:
        raise SyntaxTreeError(f"{len(path) - 1} opening bracket{'s have' if len(path) > 2 else ' has'} no closing one")
    if len(top.children) != 1:
        raise SyntaxTreeError(
            "there is no tree" if not top.children else f"there are {len(top.children)} trees, one is expected: send one sentence at a time"
        )
    return normalize(top.children[0])


def check_brackets(text: str, nodes: int) -> None:
    """Refuse a tree by its brackets alone, before anything is built. Raises SyntaxTreeError if it has more than this many nodes or if
    they do not match in number."""
    opening, closing = text.count("("), text.count(")")
    if opening > nodes:
        raise SyntaxTreeError(f"a tree may have {nodes} nodes, this one has {opening}")
    if opening > closing:
        raise SyntaxTreeError(f"{opening - closing} opening bracket{'s have' if opening - closing > 1 else ' has'} no closing one")
    if opening < closing:
        raise SyntaxTreeError("a closing bracket has no opening one")


def describe(node: Tree) -> str:
    """The name of a node for an error message: its label, which by then is one of the Penn Treebank's."""
    return node.label or "without a label"


def canonical_label(label: str) -> str:
    """The label of LABELS or FLATTENED, or -NONE-, that this label stands for; "" if there is none."""
    for candidate in (label, re.split(r"[-=|]", label)[0] or label):  # as it is, then without function tags
        if candidate in LABELS or candidate in FLATTENED or candidate == "-NONE-":
            return candidate
        if candidate in SYNONYMS:
            return SYNONYMS[candidate]
    return ""


def normalize(tree: Tree) -> Tree:
    """The tree under one ROOT, without traces and flattened phrases. Raises SyntaxTreeError if nothing is left."""
    kept = _kept(tree)
    if not kept:
        raise SyntaxTreeError("there is nothing but traces in the tree")
    return kept[0] if len(kept) == 1 and kept[0].label == "ROOT" else Tree("ROOT", kept)


def _kept(node: Tree) -> list[Tree]:
    """What replaces a node: the node itself, its children if it is flattened, nothing if it is a trace."""
    if node.label == "-NONE-":
        return []
    if node.label in FLATTENED and not node.children:
        raise SyntaxTreeError(f"the node {node.label} has no children")
    children = [kept for child in node.children for kept in _kept(child)]
    if node.children and (not children or node.label in FLATTENED):
        return children
    return [Tree(node.label or "ROOT", children, node.word)]


def tags(tree: Tree) -> list[str]:
    """Part-of-speech tags, left to right."""
    return [leaf.label for leaf in tree.leaves()]


def words(tree: Tree) -> list[str]:
    """The unescaped words at the leaves, left to right. Leaves without a word are skipped."""
    return [leaf.word for leaf in tree.leaves() if leaf.word is not None]


def template_of(tree: Tree, depth: int = TEMPLATE_DEPTH) -> Tree:
    """The top `depth` levels of a tree, with labels only."""
    return Tree(tree.label, [template_of(child, depth - 1) for child in tree.children] if depth > 1 else [])


def syntax_tokens(tree: Tree) -> list[str]:
    """Brackets and labels in order, without words: `( ROOT ( S ( NP ) ) )`."""
    tokens = ["(", tree.label]
    for child in tree.children:
        tokens += syntax_tokens(child)
    tokens.append(")")
    return tokens


def from_syntax_tokens(tokens: list[str]) -> str:
    """Syntax tokens as one line of text. `read_tree` accepts it if the tokens are well-formed."""
    return re.sub(r"\( ", "(", " ".join(tokens)).replace(" )", ")") if tokens else ""
