"""What may come next while decoding: parses that are trees with the asked top, texts that are words.

`ParseConstraint` and `TextConstraint` are `decoding.Constraint`s. Their state is kept in tensors, so that a batch of rows is
one set of operations on any device, and the tensors are changed in place and never read by the host, so that a CUDA graph can
record these operations (`graphs.py`). Each is a launch on a GPU: what can be looked up in a table is.
Shapes: B rows, V vocabulary, P template tokens, N nodes, C edges, A words or pieces of a sentence, L leaves, T tags.
"""

import copy
import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from handler.lexicon import FILL, NO_TAG, Alignment
from handler.model import EOS, UNK, ModelConfig
from handler.syntax import PHRASES, TAGS
from handler.text import SEPARATOR, SPECIALS, Vocabulary

# What the last token of a parse was.
OPENED, PHRASE, TAG, CLOSED = range(4)
# Rows of the table of what may come inside a slot: one bracket, either, a tag, any label.
OPEN, CLOSE, EITHER, ANY_TAG, ANY_LABEL = range(5)
FORCED = 5  # not in a slot: the template's own token


class Tensors:
    """What the constraints have in common: state in tensors that can lose rows, or move into others of a fixed size."""

    ROWS: tuple[str, ...]  # names of the tensors with an entry per row
    SHARED: tuple[str, ...]  # names of those without
    beyond: dict[str, Tensor]  # of those that hold inputs: what stands where a row's input has ended

    def keep(self, rows: Tensor) -> None:
        for name in self.ROWS:
            setattr(self, name, getattr(self, name).index_select(0, rows))

    def roomy(self, rows: int, config: ModelConfig) -> "Tensors":
        """A constraint of `rows` rows with tensors of its own, large enough for every input of the network; see `take`."""
        other, sizes = copy.copy(self), self.sizes(config)
        for name in self.ROWS:
            tensor = getattr(self, name)
            setattr(other, name, tensor.new_zeros(rows, *sizes.get(name, tensor.shape[1:])))
        for name in self.SHARED:
            setattr(other, name, getattr(self, name).clone())
        other.take(self)
        return other

    def take(self, other: "Tensors") -> None:
        """Copy another constraint's state into the first rows of these tensors, which stay where they are."""
        for name in self.ROWS:
            mine, theirs = getattr(self, name), getattr(other, name)
            if name in self.beyond:
                mine.copy_(self.beyond[name].expand_as(mine))
            mine[tuple(map(slice, theirs.shape))].copy_(theirs)
        for name in self.SHARED:
            getattr(self, name).copy_(getattr(other, name))


class ParseGrammar:
    """The ids of brackets, phrase labels and tags in one network's vocabulary, as tables on a device."""

    def __init__(self, vocabulary: Vocabulary, vocab_size: int, device: torch.device):
        ids = vocabulary.syntax_ids
        self.open, self.close = ids["("], ids[")"]
        self.syntax_end = max(ids.values()) + 1  # special and syntax tokens come first in the vocabulary
        self.phrases = frozenset(ids[label] for label in PHRASES)
        self.is_phrase = torch.zeros(vocab_size, dtype=torch.bool, device=device)
        self.is_phrase[list(self.phrases)] = True
        self.table = torch.zeros(5, vocab_size, dtype=torch.bool, device=device)
        self.table[[OPEN, EITHER], self.open] = True
        self.table[[CLOSE, EITHER], self.close] = True
        tags = [ids[label] for label in TAGS]
        self.table[ANY_TAG, tags] = self.table[ANY_LABEL, tags] = True
        self.table[ANY_LABEL, [ids[label] for label in PHRASES - {"ROOT"}]] = True
        forced = torch.eye(self.syntax_end, vocab_size, dtype=torch.bool, device=device)
        self.masks = torch.cat([self.table, forced])  # (5 + syntax tokens, V): and one for each token that can be forced
        self.kinds = torch.where(self.is_phrase, PHRASE, TAG)  # (V,)
        self.kinds[self.open], self.kinds[self.close] = OPENED, CLOSED
        self.turns = torch.zeros_like(self.kinds)  # (V,): by how much a token changes the depth
        self.turns[self.open], self.turns[self.close] = 1, -1
        self.rules = torch.tensor([[[[self.rule(inside, slot, last, room) for room in range(5)] for last in range(4)]
                                    for slot in (False, True)] for inside in (False, True)], device=device)  # (2, 2, 4, 5)

    def leaves(self, ids: list[int]) -> list[int]:
        """Labels of a parse's leaves, left to right: those right between two brackets."""
        return [label for before, label, after in zip(ids, ids[1:], ids[2:]) if before == self.open and after == self.close]

    @staticmethod
    def rule(inside: bool, slot: bool, last: int, room: int) -> int:
        """What may come next.

        inside: brackets are open within a slot; slot: the template's next token closes one; last: kind of the last token;
        room: how many tokens fit beside those that closing everything takes, at most 4.
        """
        if not (inside or slot and last in (PHRASE, CLOSED)):
            return FORCED
        if last == OPENED:
            return ANY_LABEL if room >= 4 else ANY_TAG  # a label needs itself and what an opened bracket needs
        if last == PHRASE:
            return OPEN
        return EITHER if last == CLOSED and room >= 3 else CLOSE  # bracket, tag, bracket


class ParseConstraint(Tensors):
    """Every parse is balanced, has a tag at each leaf and nowhere else, ends in time, and its top is the template.

    A bare phrase of the template, `(NP )`, is a slot: the network fills it with at least one child. All else of the
    template is forced. Tokens are only offered if the parse can still be closed within the steps left.
    """

    ROWS, SHARED = ("template", "place", "depth", "last"), ("left",)

    def __init__(self, grammar: ParseGrammar, templates: list[list[int]], max_steps: int):
        """templates: the rows' tokens `( ROOT … )` as ids, without <sos> and <eos>. See `shortest` for what fits."""
        device = grammar.table.device
        rows = [list(zip(*self.slots(ids, grammar))) for ids in templates]
        width = max(map(len, rows))
        self.grammar, self.fixed = grammar, (grammar,)
        self.beyond = {"template": torch.tensor([EOS, 0, 1], device=device)}
        # Per place of the template: its token, whether it closes a slot, how many tokens are needed from there on.
        self.template = torch.tensor([row + [(EOS, 0, 1)] * (width - len(row)) for row in rows], device=device)  # (B, P, 3)
        self.place = torch.zeros(len(rows), dtype=torch.long, device=device)  # next template token
        self.depth = torch.zeros_like(self.place)  # open brackets inside the current slot
        self.last = torch.full_like(self.place, CLOSED)  # kind of the last token
        self.left = torch.tensor(max_steps, device=device)  # steps

    def sizes(self, config: ModelConfig) -> dict[str, tuple[int, ...]]:
        return {"template": (config.syntax_width, 3)}

    @staticmethod
    def slots(ids: list[int], grammar: ParseGrammar) -> tuple[list[int], list[bool], list[int]]:
        """The template with <eos>; which places close a slot; tokens needed from each place on, slots after it filled."""
        ids = [*ids, EOS]
        slot = [i > 1 and ids[i] == grammar.close and ids[i - 2] == grammar.open and ids[i - 1] in grammar.phrases
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

    def _next(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of each row's place in the template: token, whether it closes a slot (0 or 1), tokens needed; (B,) each."""
        return self.template.gather(1, self.place[:, None, None].expand(-1, 1, 3))[:, 0].unbind(1)

    def adjust(self, scores: Tensor) -> Tensor:
        return scores.masked_fill(~self.allowed(), -math.inf)

    def allowed(self) -> Tensor:
        """Mask (B, V): True where the token may come next; at least one per row."""
        token, slot, rest = self._next()
        room = (self.left - self.depth - rest).clamp(0, 4)
        rule = self.grammar.rules[self.depth.clamp(0, 1), slot, self.last, room]
        return self.grammar.masks.index_select(0, rule + token * (rule == FORCED))

    def advance(self, tokens: Tensor) -> None:
        kind = self.grammar.kinds[tokens]
        stays = (self.depth > 0) | (self._next()[1] * (kind == OPENED))  # 0 where the token was the template's own
        self.place.add_(1 - stays).clamp_(max=self.template.shape[1] - 1)
        self.depth.add_(self.grammar.turns[tokens] * stays)
        self.last.copy_(kind)
        self.left.sub_(1)


class TextGrammar:
    """Which tokens of the paraphraser are whole words, and which are pieces that need another after them.

    What is told of a sentence is told in its own numbering, columns of the scores: see `model.Copies`.
    """

    def __init__(self, vocabulary: Vocabulary, vocab_size: int, device: torch.device, endings: Iterable[int] = (),
                 written: int | None = None):
        """endings: ids that are the last piece of words and never a word; nothing in their spelling tells. written: how many tokens
        are freely written, as in `model.ModelConfig`."""
        first, endings = len(SPECIALS) + len(vocabulary.syntax_ids), frozenset(endings)
        self.written, self.copies = written or vocab_size, written is not None
        self.continued = [token.endswith(SEPARATOR) for token in vocabulary.tokens[:vocab_size]]
        self.is_word = [i >= first and not more and i not in endings for i, more in enumerate(self.continued[: self.written])]
        self.words = torch.tensor(self.is_word, device=device)  # (W,)

    def width(self, sentences: list[list[int]]) -> int:
        """How many columns the scores of a batch of sentences have."""
        return self.written + (max(map(len, sentences)) if self.copies else 0)

    def columns(self, pieces: list[int]) -> list[int]:
        """A sentence's pieces, numbered as in its row."""
        return [piece if piece < self.written else self.written + pieces.index(piece) for piece in pieces]

    def tokens(self, columns: list[int], pieces: list[int]) -> list[int]:
        """The ids of what a sentence's row has written."""
        return [column if column < self.written else pieces[column - self.written] for column in columns]

    def split_words(self, pieces: list[int]) -> list[tuple[int, ...]]:
        """The words of a sentence that have several pieces, each as its pieces; none with a piece the vocabulary lacks."""
        found, word = [], []
        for piece, column in zip(pieces, self.columns(pieces)):
            word.append(column)
            if not self.continued[piece]:
                if len(word) > 1 and UNK not in word:
                    found.append(tuple(word))
                word = []
        return found

    def said(self, pieces: list[int]) -> set[int]:
        """The words of a sentence that are one piece. They may come again, whatever the vocabulary takes them for."""
        return {column for a, b, column in zip([UNK, *pieces], pieces, self.columns(pieces))
                if b != UNK and not self.continued[a] and not self.continued[b]}

    def endings(self, pieces: list[int]) -> list[int]:
        """Last pieces of a sentence's split words, but for those that are words of it as well.

        The network knows that `tions` of `secre@@ tions` was in the sentence: without a rule it is written alone.
        """
        return sorted({column for a, b, column in zip(pieces, pieces[1:], self.columns(pieces)[1:])
                       if self.continued[a] and not self.continued[b]} - self.said(pieces))

    def begin(self, pieces: list[int]) -> list[int]:
        """First pieces of a sentence's words. An unknown piece counts as a word, though it may be a part of one."""
        return [column for a, column in zip([UNK, *pieces], self.columns(pieces)) if not self.continued[a]]

    def follow(self, pieces: list[int]) -> list[tuple[int, int]]:
        """The last piece of each word of a sentence but the last, and the first piece of the word after it."""
        columns = self.columns(pieces)
        return [(a, b) for piece, a, b in zip(pieces, columns, columns[1:]) if not self.continued[piece]]


class TextConstraint(Tensors):
    """Every text is made of real words: those of the vocabulary, and of the sentence where a word has several pieces.

    The network reads the sentence as a bag of pieces, so it knows which pieces there were but not which belonged
    together; left alone it joins them to words that do not exist. An ending of the sentence's split words comes in its
    word only. No syntax token, no <unk>, no empty text, and a word is only begun if it can be finished within the steps left.

    Of the pieces that may come, those of the sentence that are not yet written are made likelier, and those written as
    often as the sentence has them (or once, if it does not) less likely: small networks otherwise say one word again and
    again and leave others out.

    The split words of a row are a trie: node 0 stands between words, each of at most C edges is a piece.

    With an alignment, a row has exactly one word for each leaf of its parse, and the words that are likely to be of the
    leaf's tag are made likelier. With an order bonus, so is the word that comes after the last one in the sentence, which keeps
    phrases together; the last one is known by its last piece alone, a number to compare.

    With copy odds, the word at a leaf is a draw between what the network says and copying: any of the sentence's words of that
    kind (`lexicon.KIN`) that are not yet written, each as likely as the others. A small network does not know rare words well
    enough to copy them by itself, and puts a common one in their place.

    B rows as everywhere; their scores' columns, V of them here, are numbered as `model.Copies` says.
    """

    ROWS, SHARED = (("tries", "node", "bias", "unused", "words", "due", "leaves", "seen", "own", "kin", "pairs", "last"),
                    ("left", "begun"))

    def __init__(self, grammar: TextGrammar, sentences: list[list[int]], max_steps: int, source_bonus: float = 0.0,
                 repetition_penalty: float = 0.0, order_bonus: float = 0.0, copy_odds: float = 0.0, alignment: Alignment | None = None):
        """sentences: the rows' piece ids. Bonuses and penalty: added to and taken off logits, in nats. copy_odds: of copying to
        writing. alignment: the parses that the texts follow word by word; None: texts are as long as they like."""
        device = grammar.words.device
        tries = [trie_of(grammar.split_words(pieces)) for pieces in sentences]
        nodes, edges = max(map(len, tries)), max(1, *(len(node) for trie in tries for node in trie))
        none = EOS, 0, 1 << 30  # needs more steps than there are, so that it is never taken
        table = [[(node + [none] * edges)[:edges] for node in trie + [[]] * (nodes - len(trie))] for trie in tries]
        self.grammar, self.penalty = grammar, repetition_penalty
        self.order_bonus, self.copy_odds, self.lexicon = order_bonus, copy_odds, alignment and alignment.lexicon
        self.fixed = grammar, repetition_penalty, order_bonus, copy_odds, self.lexicon
        self.beyond = {name: torch.tensor(value, device=device) for name, value in
                       {"tries": none, "seen": FILL, "pairs": FILL, "kin": False, "bias": 0.0, "unused": 1.0, "words": False}.items()}
        self.tries = torch.tensor(table, device=device).view(len(tries), nodes, edges, 3)  # (B, N, C, 3)
        self.node = torch.zeros(len(tries), dtype=torch.long, device=device)  # (B,)
        width = max(1, *map(len, sentences))
        pieces = torch.tensor([grammar.columns(row) + [0] * (width - len(row)) for row in sentences], device=device)  # (B, A)
        ones = torch.tensor([[1.0] * len(row) + [0.0] * (width - len(row)) for row in sentences], device=device)
        columns = grammar.width(sentences)
        counts = torch.zeros(len(tries), columns, device=device).scatter_add_(1, pieces, ones)  # in the sentence
        self.bias = source_bonus * (counts > 0)  # (B, V): what is added to the scores
        self.unused = counts.clamp_min(1)  # (B, V): times left without penalty
        self.words = F.pad(grammar.words, (0, columns - grammar.written)).repeat(len(tries), 1)  # (B, V)
        for row, sentence in zip(self.words, sentences):
            row[list(grammar.said(sentence))], row[grammar.endings(sentence)] = True, False
        self.left = torch.tensor(max_steps, device=device)  # steps
        self.begun = torch.tensor(False, device=device)
        pairs = [grammar.follow(row) for row in sentences]
        self.pairs = torch.tensor([row + [(FILL, FILL)] * (width - len(row)) for row in pairs], device=device)  # (B, A, 2)
        self.last = torch.full((len(tries), 1), FILL, device=device)  # token
        leaves = alignment.leaves if alignment else [[] for _ in tries]
        deepest = max(map(len, leaves))
        # The tag of the leaf with so many left, itself included; after the last one any. What lies beyond is never looked up.
        self.leaves = torch.tensor([[NO_TAG, *row[::-1], *[NO_TAG] * (deepest - len(row))] for row in leaves], device=device)  # (B, L)
        self.due = torch.tensor([[len(row) or -1] for row in leaves], device=device)  # (B, 1): leaves left; -1: no parse to follow
        # Pieces that have a table of the row's own (B, A), that table, and whether they are of a tag's kind (B, 1 + T, A).
        own = alignment.lexicon.own(alignment.seen) if alignment else [self.due] * 3  # the latter are not looked at
        self.seen, self.own, self.kin = (tensor.to(device) for tensor in own)

    def sizes(self, config: ModelConfig) -> dict[str, tuple[int, ...]]:
        # No more nodes than pieces, and a split word, of which each edge of a node is a part, has two of them at least.
        sizes = {"tries": (config.bag_width, max(1, config.bag_width // 2), 3), "pairs": (config.bag_width, 2)}
        if self.lexicon:  # a leaf is a bracket, a tag and a bracket
            sizes |= {"leaves": (1 + config.syntax_width // 3,), "seen": (config.bag_width,),
                      **dict.fromkeys(("own", "kin"), (len(self.lexicon.table), config.bag_width))}
        if self.grammar.copies:
            sizes |= dict.fromkeys(("bias", "unused", "words"), (self.grammar.written + config.bag_width,))
        return sizes

    def _edges(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of each row's node: pieces, where they lead, steps they need; (B, C) each."""
        place = self.node[:, None, None, None].expand(-1, 1, *self.tries.shape[2:])
        return self.tries.gather(1, place)[:, 0].unbind(-1)

    def adjust(self, scores: Tensor) -> Tensor:
        heard = scores
        scores = scores + self.bias
        if self.lexicon:
            tag = self.leaves.gather(1, self.due.clamp_min(0)) * (self.node == 0)[:, None]  # (B, 1); inside a word NO_TAG
            place = tag[:, None].expand(-1, 1, self.own.shape[2])
            own = self.own.gather(1, place)[:, 0]  # (B, A)
            if self.copy_odds:
                near = self.kin.gather(1, place)[:, 0] & (self.unused.gather(1, self.seen) > 0)  # (B, A)
                share = near / near.sum(1, keepdim=True).clamp_min(1)
                alone = heard.gather(1, self.seen)
                copied = heard.logsumexp(1, keepdim=True) + (self.copy_odds * share).log()  # minus infinity: not to be copied
                own = own + torch.logaddexp(alone, copied) - alone
            scores = scores + self.lexicon.table[:, : scores.shape[1]].index_select(0, tag[:, 0]).scatter(1, self.seen, own)
        if self.order_bonus:
            last, after = self.pairs.unbind(-1)  # (B, A) each
            after = after * (last == self.last)  # FILL where it does not apply; it never does inside a word
            scores = scores + torch.zeros_like(scores).scatter_(1, after, self.order_bonus)
        return scores.masked_fill(~self.allowed(), -math.inf)

    def allowed(self) -> Tensor:
        """Mask (B, V): True where the token may come next; at least one per row."""
        between = self.node[:, None] == 0  # (B, 1)
        begin, end, room = between, between & self.begun, self.left
        if self.lexicon:
            more = self.due != 0  # words to write
            begin, end = between & more, end & (self.due <= 0)
            room = (self.left - self.due.clamp_min(0)) * more  # each later leaf takes a step, and so does <eos>
        mask = begin & self.words  # (B, V)
        mask[:, EOS : EOS + 1] = end
        piece, _, need = self._edges()
        return mask.scatter(1, piece, (need <= room) | mask.gather(1, piece))

    def advance(self, tokens: Tensor) -> None:
        tokens = tokens[:, None]
        piece, to, need = self._edges()
        taken = (piece == tokens) & (need <= self.left)  # at most one a row
        self.node.copy_((to * taken).sum(1))
        unused = self.unused.gather(1, tokens) - 1
        self.unused.scatter_(1, tokens, unused)
        self.bias.scatter_(1, tokens, self.bias.gather(1, tokens).masked_fill(unused <= 0, -self.penalty))
        self.left.sub_(1)
        self.begun.fill_(True)
        if self.lexicon:
            self.due.sub_(((self.node == 0)[:, None] & (self.due > 0)).long())
        if self.order_bonus:
            self.last.copy_(tokens)


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
