"""Who does what to whom: head-dependent pairs of a constituency tree with its words, and how many of them an answer keeps.

    kept(relations(source), relations(answer))       # 0 to 1
    made_up(content(source), content(answer))        # content words of the answer that the source has not
    Meaning(source).relations                        # worked out once, where a tree is compared with several

Pairs are of lemmas, in three classes. Clauses are read alike whatever their order: a question's subject stands after its auxiliary,
the subject of a passive is an object and the noun of its `by` phrase a subject. Auxiliaries and copulas govern nothing: the main verb,
the adjective or the noun does. A preposition passes its noun on to what it belongs to. All members of a coordination have the relations of
the first. The subject of an infinitive is the object of the verb above it, or for want of one its subject.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from handler.language.heads import CONJUNCTIONS, PUNCTUATION, head_child, head_leaf
from handler.language.morphology import lemma
from handler.language.trees import Tree
from handler.language.trees import words as words_of

SUBJECT, OBJECT, OTHER = "subject", "object", "other"
CONTENT = frozenset("NN NNS NNP NNPS VB VBD VBG VBN VBP VBZ JJ JJR JJS RB RBR RBS CD FW UH".split())
PRONOMINAL = frozenset("PRP PRP$ WP WP$ MD".split())
VERBAL = frozenset("MD VB VBD VBG VBN VBP VBZ".split())
CLAUSES = frozenset("S SQ SINV".split())
LIGHT = frozenset({"be", "have", "do", "get"})  # as auxiliaries; `get` in passives
TIMES = frozenset(
    """second minute hour day night week weekend month year decade century morning afternoon evening noon midnight today
tomorrow yesterday tonight time moment monday tuesday wednesday thursday friday saturday sunday january february march april may june
july august september october november december spring summer autumn fall winter season""".split()
)
OWNED = {"my": "i", "your": "you", "his": "he", "her": "she", "its": "it", "our": "we", "their": "they"}
HAVE_PARTICIPLES = frozenset("been got gotten had become gone come".split())  # after 's these are perfects


@dataclass(frozen=True, slots=True)
class Relation:
    """One head-dependent pair, as lemmas."""

    head: str
    kind: str  # subject, object or other
    dependent: str


class Meaning:
    """What a parse says, to compare others with. Each part is worked out when it is first asked for. Case makes no difference."""

    def __init__(self, parse: Tree, said: Sequence[str] | None = None):
        """said: words of the parse's leaves, one each, where it has none or others."""
        self.parse, self._said = parse, said

    @cached_property
    def words(self) -> list[str]:
        return [word.lower() for word in (words_of(self.parse) if self._said is None else self._said)]

    @cached_property
    def content(self) -> Counter[str]:
        return content(self.parse, self._said)

    @cached_property
    def relations(self) -> list[Relation]:
        return relations(self.parse, self._said)


@dataclass(slots=True)
class _Predicate:
    """What a clause says of its subject: the parts of its verb phrases, nested ones opened."""

    verbs: list[Tree] = field(default_factory=list)  # auxiliaries and the main verb
    parts: list[Tree] = field(default_factory=list)  # all else, in order
    before: int = 0  # how many of these stand before the verb


def relations(tree: Tree, words: Sequence[str] | None = None) -> list[Relation]:
    """The pairs of a tree. words: what its leaves say, one each, where the tree has none or others."""
    return _Reader(tree, words).pairs


def content(tree: Tree, words: Sequence[str] | None = None) -> Counter[str]:
    """Lemmas of the content words, with their numbers: nouns, verbs but for auxiliaries, adjectives, adverbs, numbers."""
    leaves = tree.leaves()
    said = words if words is not None else [leaf.word or "" for leaf in leaves]
    found = ((lemma(word, leaf.label), leaf.label) for leaf, word in zip(leaves, said) if leaf.label in CONTENT)
    return Counter(word for word, tag in found if not (tag.startswith("VB") and word in ("be", "have", "do")))


def made_up(source: Counter[str], answer: Counter[str]) -> int:
    """How many content words the answer has that the source has not, or not as often."""
    return (answer - source).total()


def missing(source: Counter[str], answer: Counter[str]) -> int:
    """How many content words of the source the answer lacks."""
    return (source - answer).total()


def kept(source: Iterable[Relation], answer: Iterable[Relation]) -> float:
    """F1 of the pairs of both: half of it with the class, half without class and direction."""
    source, answer = list(source), list(answer)
    if not source or not answer:
        return float(not source and not answer)
    plain = [Counter(frozenset((pair.head, pair.dependent)) for pair in pairs) for pairs in (source, answer)]
    return (_f1(Counter(source), Counter(answer)) + _f1(*plain)) / 2


def _f1(a: Counter, b: Counter) -> float:
    return 2 * (a & b).total() / (a.total() + b.total())


class _Reader:
    """Reads one tree. Its methods return the heads of what they read, leaves, several where it is a coordination."""

    def __init__(self, tree: Tree, words: Sequence[str] | None):
        self.pairs: list[Relation] = []
        self.tails: dict[int, list[Tree]] = {}  # noun phrases that end in a clause or an adjective -> the heads of that
        self.owners: set[int] = set()  # owners that are subjects: my leaving
        self.alone: set[int] = set()  # determiners that are noun phrases by themselves: this, those
        self.words = {id(leaf): word for leaf, word in zip(tree.leaves(), words)} if words is not None else {}
        self.read(tree)

    def word(self, leaf: Tree) -> str:
        return (self.words.get(id(leaf)) if self.words else leaf.word) or ""

    def lemma(self, leaf: Tree) -> str:
        if id(leaf) in self.owners:
            return OWNED.get(self.word(leaf).lower(), self.word(leaf).lower())
        return lemma(self.word(leaf), leaf.label)

    def emit(self, heads: list[Tree], kind: str, dependents: list[Tree]) -> None:
        for head in heads:
            for dependent in dependents:
                if head is not dependent and self.counts(dependent) and self.word(head):
                    self.pairs.append(Relation(self.lemma(head), kind, self.lemma(dependent)))

    def counts(self, leaf: Tree) -> bool:
        if not self.word(leaf):
            return False
        if leaf.label == "DT":
            return id(leaf) in self.alone
        if leaf.label == "MD":
            return self.lemma(leaf) not in LIGHT  # do-support may stand in the place of a modal
        return leaf.label in CONTENT or leaf.label in PRONOMINAL

    def read(self, node: Tree) -> list[Tree]:
        if not node.children:
            return [node]
        members = coordinated(node)
        if node.label in CLAUSES:
            return self.members(node, members) if members else self.clause(node)
        if node.label == "SBARQ" or node.label == "SBAR":
            return self.members(node, members) if members else self.subordinate(node)
        if node.label == "VP":
            return self.predicate(opened(node), [])
        if node.label in ("PP", "WHPP"):
            return self.members(node, members) if members else self.preposition(node)
        if node.label in ("NP", "WHNP", "NX", "NAC"):
            return self.nominal(node, members)
        return self.members(node, members) if members else self.headed(node, node.children[head_child(node)])

    def members(self, node: Tree, members: list[Tree]) -> list[Tree]:
        """A coordination: its members' heads, those of clauses joined to each other as well."""
        heads = [self.read(member) for member in members]
        if node.label in CLAUSES or node.label in ("SBAR", "SBARQ", "ROOT", "FRAG"):
            for later in heads[1:]:
                self.emit(heads[0][:1], OTHER, later[:1])
            heads = heads[:1]
        found = [leaf for some in heads for leaf in some]
        for child in node.children:
            if not any(child is member for member in members):
                self.emit(found, OTHER, self.read(child))
        return found

    def headed(self, node: Tree, head: Tree) -> list[Tree]:
        heads = self.read(head)
        for child in node.children:
            if child is not head:
                self.emit(heads, OTHER, self.read(child))
        return heads

    def preposition(self, node: Tree) -> list[Tree]:
        """The heads of what the preposition governs."""
        inner = [child for child in node.children if child.children]
        if not inner:
            return self.headed(node, node.children[head_child(node)])
        main = next((child for child in inner if child.label in ("NP", "S", "SBAR", "PP", "WHNP", "VP", "NX")), inner[-1])
        return self.headed(node, main)

    def nominal(self, node: Tree, members: list[Tree]) -> list[Tree]:
        if members:
            heads = [leaf for member in members for leaf in self.read(member)]
            for child in node.children:
                if not any(child is member for member in members):
                    self.emit(heads, OTHER, self.read(child))
            return heads
        head = node.children[head_child(node)]
        if len(node.children) == 1 and head.label == "DT":
            self.alone.add(id(head))
        heads = self.read(head)
        for child in node.children:
            if child is head:
                continue
            if child.label == "SBAR":
                self.tails[id(node)] = self.relative(child, heads)
            elif child.label == "VP":
                self.tails[id(node)] = self.predicate(opened(child), heads)
            elif child.label == "S" and not subject_of(child):
                self.emit(heads, OTHER, self.clause(child))
            elif child.label == "PP" and self.tails.get(id(head)):  # the man who slept | on the sofa
                self.emit(self.tails[id(head)], OTHER, self.read(child))
            else:
                found = self.read(child)
                self.emit(heads, OTHER, found)
                if child.label == "ADJP":
                    self.tails[id(node)] = found
        return heads

    def relative(self, node: Tree, antecedent: list[Tree]) -> list[Tree]:
        """A relative clause's verb has the noun that it belongs to for a subject or object."""
        clause = next((child for child in node.children if child.label in CLAUSES), None)
        wh = node.children[0].label
        if clause is None or wh in ("IN", "WHPP", "WHADVP") and head_leaf(node.children[0]).word not in ("that", None):
            heads = self.read(node)
            self.emit(antecedent, OTHER, heads)
            return heads
        whose = node.children[0] if wh == "WHNP" and len(node.children[0].children) > 1 else None
        filler = self.read(whose) if whose else antecedent
        if whose:
            self.emit(filler, OTHER, antecedent)
        return self.clause(clause, filler=filler)

    def subordinate(self, node: Tree) -> list[Tree]:
        """SBAR and SBARQ: a wh-phrase is the clause's subject or object where it lacks one."""
        clause = next((child for child in node.children if child.label in CLAUSES), None)
        wh = next((child for child in node.children if child.label in ("WHNP", "WHADJP", "WHADVP", "WHPP")), None)
        if clause is None:
            return self.headed(node, node.children[head_child(node)])
        filler = self.read(wh) if wh else []
        heads = self.clause(clause, filler=filler if wh and wh.label == "WHNP" else [])
        if wh and wh.label != "WHNP":
            self.emit(heads, OTHER, filler)
        for child in node.children:
            if child is not clause and child is not wh:
                self.emit(heads, OTHER, self.read(child))
        return heads

    def clause(self, node: Tree, subjects: list[Tree] | None = None, filler: list[Tree] | None = None) -> list[Tree]:
        """subjects: whom an infinitive is about. filler: what fills the place of a subject or object that is missing."""
        members = coordinated(node)
        if members:
            return self.members(node, members)
        cleft = self.cleft(node)
        if cleft:
            return cleft
        subject = subject_of(node)
        above = self.read(subject) if subject else subjects or []
        self.owners |= {id(leaf) for leaf in above if leaf.label == "PRP$"}
        if not subject and filler:
            above, filler = filler, []
        return self.predicate(opened(node, subject), above, filler or [])

    def cleft(self, node: Tree) -> list[Tree]:
        """`it was in May that she left` and `it was Ann that left` say what they would without `it was … that`. Empty: no cleft."""
        subject = subject_of(node)
        vp = next((child for child in node.children if child.label == "VP"), None)
        if subject is None or vp is None or [child.label for child in subject.children] != ["PRP"] or len(vp.children) != 3:
            return []
        verb, focus, that = vp.children
        if self.word(subject.children[0]).lower() != "it" or verb.children or self.lemma(verb) != "be" or that.label != "SBAR":
            return []
        if len(that.children) != 2 or that.children[1].label != "S" or not focus.children:
            return []
        asked, clause = that.children
        if asked.label == "WHNP" and focus.label == "NP" and subject_of(clause) is None:
            return self.clause(clause, filler=self.read(focus))
        if asked.label == "IN" and (focus.label in ("PP", "SBAR") or focus.label == "NP" and self.is_time(focus)):
            heads = self.clause(clause)
            self.emit(heads, OTHER, self.read(focus))
            return heads
        return []

    def predicate(self, found: _Predicate, subjects: list[Tree], filler: Iterable[Tree] = (), passive: bool = False) -> list[Tree]:
        verbs, parts, filler = found.verbs, found.parts, list(filler)
        joined = next((part for part in parts if part.label == "VP"), None)
        if joined:
            return self.joined(found, joined, subjects, filler)
        main = verbs[-1] if verbs else None
        passive = main is not None and main.label == "VBN" and (passive or self.is_passive(verbs))
        heads, rest = self.governor(main, parts, filler, found.before)
        for leaf in verbs:
            self.emit(heads, OTHER, [leaf] if leaf.label == "MD" else [])
        self.emit(heads, OBJECT if passive else SUBJECT, subjects)
        objects: list[Tree] = []
        for part in rest:
            objects += self.part(part, heads, subjects, objects, passive)
        if filler and not objects and filler[0] not in heads:
            self.emit(heads, OBJECT, filler)
        return heads

    def governor(self, main: Tree | None, parts: list[Tree], filler: list[Tree], before: int) -> tuple[list[Tree], list[Tree]]:
        """The heads of a predicate, and the parts that are not in them: the verb, or what a copula goes with."""
        if main is not None and self.lemma(main) != "be":
            return [main], parts
        for labels in (("ADJP", "NP", "UCP", "JJ", "VBN", "VBG"), ("PP", "S", "SBAR", "ADVP", "RP", "PRT")):
            for part in parts[before:]:
                if part.label in labels and not self.is_time(part) and not (part.label == "ADVP" and labels[0] == "ADJP"):
                    return self.read(part), [other for other in parts if other is not part]
        if filler:
            return filler, parts
        if main is not None:
            return [main], parts
        return (self.read(parts[0]), parts[1:]) if parts else ([], [])

    def part(self, part: Tree, heads: list[Tree], subjects: list[Tree], objects: list[Tree], passive: bool) -> list[Tree]:
        """One part of a predicate; returns the objects that it adds."""
        if part.label == "NP" and not self.is_time(part):
            found = self.read(part)
            self.emit(heads, OBJECT, found)
            return found
        if part.label == "S" and not coordinated(part):
            small = subject_of(part)
            controller = objects or subjects
            below = self.clause(part, subjects=controller)
            self.emit(heads, OTHER, below)
            return [small] if small else []  # the verb above has no room for another object
        if part.label == "PP" and passive and self.word(head_leaf(part)).lower() == "by":
            found = self.read(part)
            self.emit(heads, OTHER if self.is_time(part) else SUBJECT, found)
            return []
        self.emit(heads, OTHER, self.read(part))
        return []

    def joined(self, found: _Predicate, joined: Tree, subjects: list[Tree], filler: list[Tree]) -> list[Tree]:
        """Verb phrases joined by a conjunction: the subject and the auxiliaries are of each of them."""
        heads: list[Tree] = []
        passive = bool(found.verbs) and self.lemma(found.verbs[-1]) in ("be", "get")
        for member in coordinated(joined):
            below = self.predicate(opened(member), subjects, filler, passive)
            self.emit(heads[:1], OTHER, below[:1])
            heads += below[:1]
        for leaf in found.verbs:
            self.emit(heads, OTHER, [leaf] if leaf.label == "MD" else [])
        for part in (*found.parts, *joined.children):
            if part is not joined and part.label not in ("VP", "CC") and part.label not in PUNCTUATION:
                self.emit(heads[:1], OTHER, self.read(part))
        return heads

    def is_passive(self, verbs: list[Tree]) -> bool:
        if len(verbs) < 2:
            return True  # a participle by itself: a book written by him
        before = verbs[-2]
        if self.word(before).lower() == "'s" and self.word(verbs[-1]).lower() in HAVE_PARTICIPLES:
            return False
        return self.lemma(before) in ("be", "get")

    def is_time(self, node: Tree) -> bool:
        inner = node
        if node.label == "PP":
            inner = next((child for child in node.children if child.label == "NP"), node)
        return inner.label in ("NP", "PP") and self.lemma(head_leaf(inner)) in TIMES


def coordinated(node: Tree) -> list[Tree]:
    """The members of a coordination, or of clauses that a comma or semicolon joins; none where the node is something else."""
    labels = [child.label for child in node.children]
    if not CONJUNCTIONS & set(labels):
        return (
            [child for child in node.children if child.label == "S"]
            if node.label == "S" and labels.count("S") > 1 and not ({"VP", "NP"} & set(labels))
            else []
        )
    first = next(i for i, label in enumerate(labels) if label in CONJUNCTIONS)
    if not first:
        return []
    phrasal = [child for child in node.children if child.children and child.label not in CONJUNCTIONS]
    if node.label in ("NP", "WHNP", "NX", "QP", "ADJP", "ADVP") and not any(child.children for child in node.children[first + 1 :]):
        kinds = {labels[first - 1][:2]}
        return [child for child in node.children if child.label[:2] in kinds and child.label != "DT"] if len(labels) > first + 1 else []
    after = [child.label for child in node.children[first + 1 :] if child.children]
    same = [child for child in phrasal if child.label in after or child.label == node.label]
    return same if len(same) > 1 and any(node.children[i] is same[0] for i in range(first)) else []


def subject_of(clause: Tree) -> Tree | None:
    """The noun phrase that a clause is about: the last one before its verb, or the first after the auxiliary of a question."""
    children = clause.children
    first = next((i for i, child in enumerate(children) if child.label == "VP" or child.label in VERBAL), None)
    if clause.label in ("SQ", "SINV") and first is not None:
        later = next((child for child in children[first + 1 :] if child.label == "NP"), None)
        if later is not None:
            return later
        return None if clause.label == "SQ" else next((child for child in children if child.label == "NP"), None)
    nominal = [child for child in children[:first] if child.label in ("NP", "EX")]
    if nominal:
        return nominal[-1] if len(nominal) == 1 or first is not None else nominal[0]
    if first is not None and children[first].label == "VP":  # that he comes is good; to see is to believe
        return next((child for child in children[:first] if child.label in ("SBAR", "S") and children[first - 1] is child), None)
    return None


def opened(node: Tree, subject: Tree | None = None) -> _Predicate:
    """The parts of a clause but its subject, and of its verb phrases; those joined by a conjunction stay together."""
    found = _Predicate()
    if node.label == "VP" and coordinated(node):
        found.parts.append(node)
    else:
        _add_parts(found, node, subject)
    return found


def _add_parts(found: _Predicate, node: Tree, subject: Tree | None) -> None:
    for child in node.children:
        if child is subject or child.label in PUNCTUATION or child.label == "TO":
            continue
        if child.label in VERBAL:
            if not found.verbs:
                found.before = len(found.parts)
            found.verbs.append(child)
        elif child.label == "VP" and not coordinated(child):
            _add_parts(found, child, subject)
        else:
            found.parts.append(child)
