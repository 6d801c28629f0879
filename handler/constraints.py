"""What may come next while decoding: parses that are trees with the asked top, texts that are words.

`ParseConstraint` and `TextConstraint` are `decoding.Constraint`s. Their state is kept in tensors, so that a batch of rows is
one set of operations on any device. Shapes: B rows, V vocabulary, P template tokens, N nodes, C edges.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from handler.model import EOS, UNK
from handler.syntax import PHRASES, TAGS
from handler.text import SEPARATOR, SPECIALS, Vocabulary

# What the last token of a parse was.
OPENED, PHRASE, TAG, CLOSED = range(4)
# Rows of the table of what may come inside a slot: one bracket, either, a tag, any label.
OPEN, CLOSE, EITHER, ANY_TAG, ANY_LABEL = range(5)


class ParseGrammar:
    """The ids of brackets, phrase labels and tags in one network's vocabulary, as tables on a device."""

    def __init__(self, vocabulary: Vocabulary, vocab_size: int, device: torch.device):
        ids = vocabulary.syntax_ids
        self.open, self.close = ids["("], ids[")"]
        self.syntax_end = max(ids.values()) + 1  # special and syntax tokens come first in the vocabulary
        self.is_phrase = torch.zeros(vocab_size, dtype=torch.bool, device=device)
        self.is_phrase[[ids[label] for label in PHRASES]] = True
        self.table = torch.zeros(5, vocab_size, dtype=torch.bool, device=device)
        self.table[[OPEN, EITHER], self.open] = True
        self.table[[CLOSE, EITHER], self.close] = True
        tags = [ids[label] for label in TAGS]
        self.table[ANY_TAG, tags] = self.table[ANY_LABEL, tags] = True
        self.table[ANY_LABEL, [ids[label] for label in PHRASES - {"ROOT"}]] = True


class ParseConstraint:
    """Every parse is balanced, has a tag at each leaf and nowhere else, ends in time, and its top is the template.

    A bare phrase of the template, `(NP )`, is a slot: the network fills it with at least one child. All else of the
    template is forced. Tokens are only offered if the parse can still be closed within the steps left.
    """

    def __init__(self, grammar: ParseGrammar, templates: list[list[int]], max_steps: int):
        """templates: the rows' tokens `( ROOT … )` as ids, without <sos> and <eos>. See `shortest` for what fits."""
        device = grammar.table.device
        rows = [self.slots(ids, grammar) for ids in templates]
        width = max(len(ids) for ids, _, _ in rows)
        self.grammar, self.left = grammar, max_steps
        self.template = torch.tensor([ids + [EOS] * (width - len(ids)) for ids, _, _ in rows], device=device)  # (B, P)
        self.slot = torch.tensor([s + [False] * (width - len(s)) for _, s, _ in rows], device=device)  # (B, P)
        self.rest = torch.tensor([r + [1] * (width - len(r)) for _, _, r in rows], device=device)  # (B, P)
        self.place = torch.zeros(len(rows), dtype=torch.long, device=device)  # next template token
        self.depth = torch.zeros_like(self.place)  # open brackets inside the current slot
        self.last = torch.full_like(self.place, CLOSED)  # kind of the last token

    @staticmethod
    def slots(ids: list[int], grammar: ParseGrammar) -> tuple[list[int], list[bool], list[int]]:
        """The template with <eos>; which places close a slot; tokens needed from each place on, slots after it filled."""
        ids = [*ids, EOS]
        slot = [i > 1 and ids[i] == grammar.close and ids[i - 2] == grammar.open and bool(grammar.is_phrase[ids[i - 1]])
                for i in range(len(ids))]
        rest = [0] * len(ids)
        for i in reversed(range(len(ids))):
            rest[i] = 1 + (rest[i + 1] + 3 * slot[i + 1] if i + 1 < len(ids) else 0)
        return ids, slot, rest

    @staticmethod
    def shortest(ids: list[int], grammar: ParseGrammar) -> int:
        """Length of the shortest parse under a template, <eos> included."""
        _, slot, rest = ParseConstraint.slots(ids, grammar)
        return rest[0] + 3 * slot[0]

    def _at(self, table: Tensor) -> Tensor:
        return table.gather(1, self.place[:, None])[:, 0]  # (B,)

    def adjust(self, scores: Tensor) -> Tensor:
        return scores.masked_fill(~self.allowed(), -math.inf)

    def allowed(self) -> Tensor:
        """Mask (B, V): True where the token may come next; at least one per row."""
        rest, inside = self._at(self.rest), self.depth > 0
        free = inside | (self._at(self.slot) & ((self.last == PHRASE) | (self.last == CLOSED)))
        closing = self.depth + rest  # tokens needed if nothing more is opened
        may_open = closing + 3 <= self.left  # bracket, tag, bracket
        may_phrase = closing + 4 <= self.left  # label, then the same
        choice = torch.where(self.last == OPENED, torch.where(may_phrase, ANY_LABEL, ANY_TAG),
                 torch.where(self.last == PHRASE, OPEN,
                 torch.where((self.last == CLOSED) & may_open, EITHER, CLOSE)))
        forced = F.one_hot(self._at(self.template), self.grammar.table.shape[1]).bool()  # (B, V)
        return torch.where(free[:, None], self.grammar.table[choice], forced)

    def advance(self, tokens: Tensor) -> None:
        inside = self.depth > 0
        opened, closed = tokens == self.grammar.open, tokens == self.grammar.close
        follows = ~inside & ~(self._at(self.slot) & opened)  # the token was the template's own
        self.place = (self.place + follows).clamp_max(self.template.shape[1] - 1)
        self.depth = self.depth + torch.where(follows, 0, opened.long() - closed.long())
        self.last = torch.where(opened, OPENED, torch.where(closed, CLOSED,
                    torch.where(self.grammar.is_phrase[tokens], PHRASE, TAG)))
        self.left -= 1

    def keep(self, rows: Tensor) -> None:
        for name in ("template", "slot", "rest", "place", "depth", "last"):
            setattr(self, name, getattr(self, name).index_select(0, rows))


class TextGrammar:
    """Which ids of one network's vocabulary are whole words, and which are pieces that need another after them."""

    def __init__(self, vocabulary: Vocabulary, vocab_size: int, device: torch.device):
        first = len(SPECIALS) + len(vocabulary.syntax_ids)
        self.continued = [token.endswith(SEPARATOR) for token in vocabulary.tokens[:vocab_size]]
        self.words = torch.tensor([i >= first and not more for i, more in enumerate(self.continued)], device=device)  # (V,)

    def split_words(self, pieces: list[int]) -> list[tuple[int, ...]]:
        """The words of a sentence that have several pieces, each as its ids; none with a piece the vocabulary lacks."""
        found, word = [], []
        for piece in pieces:
            word.append(piece)
            if not self.continued[piece]:
                if len(word) > 1 and UNK not in word:
                    found.append(tuple(word))
                word = []
        return found


class TextConstraint:
    """Every text is made of real words: those of the vocabulary, and of the sentence where a word has several pieces.

    The network reads the sentence as a bag of pieces, so it knows which pieces there were but not which belonged
    together; left alone it joins them to words that do not exist. No syntax token, no <unk>, no empty text, and a word
    is only begun if it can be finished within the steps left.

    Of the pieces that may come, those of the sentence that are not yet written are made likelier, and those written as
    often as the sentence has them (or once, if it does not) less likely: small networks otherwise say one word again and
    again and leave others out.

    The split words of a row are a trie: node 0 stands between words, each of at most C edges is a piece.
    """

    def __init__(self, grammar: TextGrammar, sentences: list[list[int]], max_steps: int, source_bonus: float = 0.0,
                 repetition_penalty: float = 0.0):
        """sentences: the rows' piece ids. source_bonus, repetition_penalty: added to and taken off logits, in nats."""
        tries = [trie_of(grammar.split_words(pieces)) for pieces in sentences]
        nodes, edges = max(map(len, tries)), max(1, *(len(node) for trie in tries for node in trie))
        # A padding edge needs more steps than there are, so that it is never taken.
        table = [[(node + [(EOS, 0, max_steps + 1)] * edges)[:edges] for node in trie + [[]] * (nodes - len(trie))] for trie in tries]
        packed = torch.tensor(table, device=grammar.words.device).view(len(tries), nodes, edges, 3)
        self.piece, self.next, self.need = packed.unbind(-1)  # (B, N, C) each
        self.grammar, self.left, self.first = grammar, max_steps, True
        self.bonus, self.penalty = source_bonus, repetition_penalty
        self.node = torch.zeros(len(tries), dtype=torch.long, device=packed.device)  # (B,)
        counts = torch.zeros(len(tries), len(grammar.words), device=packed.device)  # (B, V): of pieces in the sentence
        for row, pieces in zip(counts, sentences):
            row.index_add_(0, torch.tensor(pieces, device=row.device), torch.ones(len(pieces), device=row.device))
        self.source, self.unused = counts > 0, counts.clamp_min(1)  # (B, V): unused: times left without penalty

    def _edges(self, table: Tensor) -> Tensor:
        return table[torch.arange(len(self.node), device=self.node.device), self.node]  # (B, C)

    def adjust(self, scores: Tensor) -> Tensor:
        unused = self.unused > 0
        scores = scores + self.bonus * (self.source & unused) - self.penalty * ~unused
        return scores.masked_fill(~self.allowed(), -math.inf)

    def allowed(self) -> Tensor:
        """Mask (B, V): True where the token may come next; at least one per row."""
        between = self.node == 0  # (B,)
        mask = between[:, None] & self.grammar.words  # (B, V)
        mask[:, EOS] = between & (not self.first)
        takeable = self._edges(self.need) <= self.left
        return mask.scatter(1, self._edges(self.piece), takeable | mask.gather(1, self._edges(self.piece)))

    def advance(self, tokens: Tensor) -> None:
        taken = (self._edges(self.piece) == tokens[:, None]) & (self._edges(self.need) <= self.left)  # at most one a row
        self.node = (self._edges(self.next) * taken).sum(1)
        self.unused.scatter_add_(1, tokens[:, None], -torch.ones_like(tokens[:, None], dtype=self.unused.dtype))
        self.left, self.first = self.left - 1, False

    def keep(self, rows: Tensor) -> None:
        for name in ("piece", "next", "need", "node", "source", "unused"):
            setattr(self, name, getattr(self, name).index_select(0, rows))


def trie_of(words: list[tuple[int, ...]]) -> list[list[tuple[int, int, int]]]:
    """Nodes, each a list of edges (piece, next node, fewest steps to the end of a word, this one included)."""
    nodes: list[dict[int, list[int]]] = [{}]
    for word in words:
        node = 0
        for left, piece in zip(range(len(word), 0, -1), word):
            if piece not in nodes[node]:
                if left > 1:
                    nodes.append({})
                nodes[node][piece] = [len(nodes) - 1 if left > 1 else 0, left]
            edge = nodes[node][piece]
            edge[1] = min(edge[1], left)
            node = edge[0]
    return [[(piece, *edge) for piece, edge in node.items()] for node in nodes]
