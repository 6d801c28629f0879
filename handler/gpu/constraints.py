"""The rules of `decoding/rules.py` as tensor operations, for a step that is one CUDA graph.

A recorded step cannot ask the host anything, so the state of the rules is in tensors that are changed in place. Each operation
is a launch on a GPU, so table lookups replace operations where possible. The same operations run on any device.
Shapes: B rows, V vocabulary, P template tokens, N nodes, C edges, A words or pieces of a sentence, L leaves, T tags.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from handler.decoding.grammar import CLOSED, FORCED, OPENED, trie_of
from handler.decoding.lexicon import FILL
from handler.decoding.rules import MARK_WEIGHT, ParseRules, Rules, TextRules
from handler.language.word_classes import NO_TAG
from handler.model.network import EOS, ModelConfig


class StaticState:
    """Base of the constraints: state in tensors, from which rows can be dropped, or which can be copied into tensors of a fixed size."""

    ROWS: tuple[str, ...]  # names of the tensors with one entry for each row
    SHARED: tuple[str, ...]  # names of the other tensors
    pad_values: dict[str, Tensor]  # for tensors with inputs: the value after the end of a row's input
    fixed: tuple  # what else a recorded step depends on

    def sizes(self, config: ModelConfig) -> dict[str, tuple[int, ...]]:
        """The largest shape that a row's entry of a tensor can have. Tensors that are not named have one shape."""
        raise NotImplementedError

    def process(self, scores: Tensor) -> Tensor:
        """See `decoding.loop.LogitsProcessor`."""
        raise NotImplementedError

    def accept(self, tokens: Tensor) -> None:
        """See `decoding.loop.LogitsProcessor`."""
        raise NotImplementedError

    def select_rows(self, rows: Tensor) -> None:
        for name in self.ROWS:
            setattr(self, name, getattr(self, name).index_select(0, rows))

    def allocate(self, rows: int, config: ModelConfig) -> "StaticState":
        """A constraint for `rows` rows with its own tensors, large enough for every input of the network; see `copy_from`."""
        other, sizes = copy.copy(self), self.sizes(config)
        for name in self.ROWS:
            tensor = getattr(self, name)
            setattr(other, name, tensor.new_zeros(rows, *sizes.get(name, tensor.shape[1:])))
        for name in self.SHARED:
            setattr(other, name, getattr(self, name).clone())
        other.copy_from(self)
        return other

    def copy_from(self, other: "StaticState") -> None:
        """Copy another constraint's state into the first rows of these tensors, whose addresses do not change."""
        for name in self.ROWS:
            mine, theirs = getattr(self, name), getattr(other, name)
            if name in self.pad_values:
                mine.copy_(self.pad_values[name].expand_as(mine))
            mine[tuple(map(slice, theirs.shape))].copy_(theirs)
        for name in self.SHARED:
            getattr(self, name).copy_(getattr(other, name))


class ParseConstraint(StaticState):
    """Every parse is balanced, has a tag at each leaf and nowhere else, ends within the step limit, and has the template as its top.

    A phrase of the template without children, `(NP )`, is a slot: the network fills it with at least one child. All other tokens of
    the template are forced. A token is allowed only if the parse can still be closed within the steps left.
    """

    ROWS, SHARED = ("template", "place", "depth", "last"), ("left",)

    def __init__(self, rules: ParseRules, device: torch.device):
        """See `ParseGrammar.shortest` for the templates that fit."""
        grammar = rules.grammar
        rows = [list(zip(*grammar.slots(ids))) for ids in rules.templates]
        width = max(map(len, rows))
        self.fixed = (grammar,)
        self.masks, self.rules, self.kinds, self.turns = on(device, grammar, "masks", "rules", "kinds", "turns")
        self.pad_values = {"template": torch.tensor([EOS, 0, 1], device=device)}
        # For each place of the template: its token, whether it closes a slot, how many tokens are needed from there on.
        self.template = torch.tensor([row + [(EOS, 0, 1)] * (width - len(row)) for row in rows], device=device)  # (B, P, 3)
        self.place = torch.zeros(len(rows), dtype=torch.long, device=device)  # next template token
        self.depth = torch.zeros_like(self.place)  # open brackets inside the current slot
        self.last = torch.full_like(self.place, CLOSED)  # kind of the last token
        self.left = torch.tensor(rules.max_steps, device=device)  # steps

    def sizes(self, config: ModelConfig) -> dict[str, tuple[int, ...]]:
        return {"template": (config.syntax_width, 3)}

    def _next(self) -> tuple[Tensor, Tensor, Tensor]:
        """For each row's place in the template: its token, whether it closes a slot (0 or 1), the tokens still needed; (B,) each."""
        token, slot, rest = self.template.gather(1, self.place[:, None, None].expand(-1, 1, 3))[:, 0].unbind(1)
        return token, slot, rest

    def process(self, scores: Tensor) -> Tensor:
        return scores.masked_fill(~self.allowed(), -math.inf)

    def allowed(self) -> Tensor:
        """Mask (B, V): True where the token may come next; at least one per row."""
        token, slot, rest = self._next()
        room = (self.left - self.depth - rest).clamp(0, 4)
        rule = self.rules[self.depth.clamp(0, 1), slot, self.last, room]
        return self.masks.index_select(0, rule + token * (rule == FORCED))

    def accept(self, tokens: Tensor) -> None:
        kind = self.kinds[tokens]
        stays = (self.depth > 0) | (self._next()[1] * (kind == OPENED))  # 0 where the token was the template's own
        self.place.add_(1 - stays).clamp_(max=self.template.shape[1] - 1)
        self.depth.add_(self.turns[tokens] * stays)
        self.last.copy_(kind)
        self.left.sub_(1)


class TextConstraint(StaticState):
    """Every text consists of real words: words that are one piece of the vocabulary, and words of the sentence.

    The network reads the sentence as a bag of pieces. It knows which pieces there were, but not which belonged to one word, and
    without this rule it joins them into words that do not exist. The last piece of a split word of the sentence is allowed in that
    word only. Syntax tokens, <unk> and empty texts are not allowed. A word may begin only if it can end within the steps left.

    Among the allowed pieces, those of the sentence that are not yet written get a bonus. Those written as often as the sentence has
    them (or once, if it does not have them) get a penalty. Otherwise small networks repeat one word and leave others out.

    The split words of a row form a trie: node 0 is between words, and each of at most C edges is a piece.

    With an alignment, a row has exactly one word for each leaf of its parse, and words that are likely to have the leaf's tag get a
    bonus. With an order bonus, so does the word that follows the last written one in the sentence, which keeps phrases together. The
    last word is identified by its last piece alone, so that one number is compared.

    With copy odds, the word at a leaf is a draw between what the network says and copying: any of the sentence's words of that
    kind (`lexicon.KIN`) that are not yet written, each as likely as the others. A small network does not know rare words well
    enough to copy them by itself, and puts a common one in their place.

    A row's mark, if it has one, is what its last leaf gets.

    B rows as everywhere; their scores' columns, V of them here, are numbered as `model.copying.CopyHead` says.
    """

    ROWS, SHARED = (
        ("tries", "node", "bias", "unused", "words", "due", "leaves", "leaf_words", "marks", "seen", "own", "kin", "pairs", "last"),
        ("left", "begun"),
    )

    def __init__(self, rules: TextRules, device: torch.device):
        grammar, sentences, alignment = rules.grammar, rules.sentences, rules.alignment
        tries = [trie_of(grammar.split_words(pieces)) for pieces in sentences]
        nodes, edges = max(map(len, tries)), max(1, *(len(node) for trie in tries for node in trie))
        none = EOS, 0, 1 << 30  # needs more steps than there are, so that it is never taken
        table = [[(node + [none] * edges)[:edges] for node in trie + [[]] * (nodes - len(trie))] for trie in tries]
        self.grammar, self.penalty = grammar, rules.repetition_penalty
        self.order_bonus, self.copy_odds, self.lexicon = rules.order_bonus, rules.copy_odds, alignment and alignment.lexicon
        self.word_weight = rules.word_weight
        self.fixed = grammar, self.penalty, self.order_bonus, self.copy_odds, self.word_weight, self.lexicon
        [known_words] = on(device, grammar, "words")
        self.tag_scores = on(device, self.lexicon, "table")[0] if self.lexicon else None  # (1 + T, V)
        self.pad_values = {
            name: torch.tensor(value, device=device)
            for name, value in {
                "tries": none,
                "seen": FILL,
                "leaf_words": FILL,
                "pairs": FILL,
                "kin": False,
                "bias": 0.0,
                "unused": 1.0,
                "words": False,
            }.items()
        }
        self.tries = torch.tensor(table, device=device).view(len(tries), nodes, edges, 3)  # (B, N, C, 3)
        self.node = torch.zeros(len(tries), dtype=torch.long, device=device)  # (B,)
        width = max(1, *map(len, sentences))
        pieces = torch.tensor([grammar.columns(row) + [0] * (width - len(row)) for row in sentences], device=device)  # (B, A)
        ones = torch.tensor([[1.0] * len(row) + [0.0] * (width - len(row)) for row in sentences], device=device)
        columns = grammar.width(sentences)
        counts = torch.zeros(len(tries), columns, device=device).scatter_add_(1, pieces, ones)  # in the sentence
        self.bias = rules.source_bonus * (counts > 0)  # (B, V): what is added to the scores
        self.unused = counts.clamp_min(1)  # (B, V): times left without penalty
        self.words = F.pad(known_words, (0, columns - grammar.output_vocab_size)).repeat(len(tries), 1)  # (B, V)
        for row, sentence in zip(self.words, sentences):
            row[list(grammar.whole_words(sentence))], row[grammar.endings(sentence)] = True, False
        self.left = torch.tensor(rules.max_steps, device=device)  # steps
        self.begun = torch.tensor(False, device=device)
        pairs = [grammar.follow(row) for row in sentences]
        self.pairs = torch.tensor([row + [(FILL, FILL)] * (width - len(row)) for row in pairs], device=device)  # (B, A, 2)
        self.last = torch.full((len(tries), 1), FILL, device=device)  # token
        leaves = alignment.leaves if alignment else [[] for _ in tries]
        deepest = max(map(len, leaves))
        # The tag of the leaf with so many left, itself included; after the last one any. What lies pad_values is never looked up.
        self.leaves = torch.tensor([[NO_TAG, *row[::-1], *[NO_TAG] * (deepest - len(row))] for row in leaves], device=device)  # (B, L)
        self.due = torch.tensor([[len(row) or -1] for row in leaves], device=device)  # (B, 1): leaves left; -1: no parse to follow
        found = alignment.leaf_words if alignment and alignment.leaf_words else [[] for _ in tries]
        self.leaf_words = torch.tensor(
            [[FILL, *row[::-1], *[FILL] * (deepest - len(row))] for row in found], device=device
        )  # (B, L), in the order of the leaves
        marks = alignment.marks if alignment and alignment.marks else [FILL] * len(tries)
        self.marks = torch.tensor([[mark] for mark in marks], device=device)  # (B, 1)
        # Pieces that have a table of the row's own (B, A), that table, and whether they are of a tag's kind (B, 1 + T, A).
        self.seen = self.own = self.kin = self.due  # without an alignment they are not looked at
        if alignment:
            seen, own = alignment.lexicon.own(alignment.tagged_words)
            kin = alignment.lexicon.kin(alignment.tagged_words)
            self.seen, self.own, self.kin = (torch.from_numpy(array).to(device) for array in (seen, own, kin))

    def sizes(self, config: ModelConfig) -> dict[str, tuple[int, ...]]:
        # No more nodes than pieces, and a split word, of which each edge of a node is a part, has two of them at least.
        sizes = {"tries": (config.bag_width, max(1, config.bag_width // 2), 3), "pairs": (config.bag_width, 2)}
        if self.tag_scores is not None:  # a leaf is a bracket, a tag and a bracket
            sizes |= {
                **dict.fromkeys(("leaves", "leaf_words"), (1 + config.syntax_width // 3,)),
                "seen": (config.bag_width,),
                **dict.fromkeys(("own", "kin"), (len(self.tag_scores), config.bag_width)),
            }
        if self.grammar.copies:
            sizes |= dict.fromkeys(("bias", "unused", "words"), (self.grammar.output_vocab_size + config.bag_width,))
        return sizes

    def _edges(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of each row's node: pieces, where they lead, steps they need; (B, C) each."""
        place = self.node[:, None, None, None].expand(-1, 1, *self.tries.shape[2:])
        piece, to, need = self.tries.gather(1, place)[:, 0].unbind(-1)
        return piece, to, need

    def process(self, scores: Tensor) -> Tensor:
        raw_logits = scores
        scores = scores + self.bias
        if self.tag_scores is not None:
            tag = self.leaves.gather(1, self.due.clamp_min(0)) * (self.node == 0)[:, None]  # (B, 1); inside a word NO_TAG
            place = tag[:, None].expand(-1, 1, self.own.shape[2])
            own = self.own.gather(1, place)[:, 0]  # (B, A)
            if self.copy_odds:
                copyable = self.kin.gather(1, place)[:, 0] & (self.unused.gather(1, self.seen) > 0)  # (B, A)
                share = copyable / copyable.sum(1, keepdim=True).clamp_min(1)
                raw_source_logits = raw_logits.gather(1, self.seen)
                copied = raw_logits.logsumexp(1, keepdim=True) + (self.copy_odds * share).log()  # minus infinity: not to be copied
                own = own + torch.logaddexp(raw_source_logits, copied) - raw_source_logits
            scores = scores + self.tag_scores[:, : scores.shape[1]].index_select(0, tag[:, 0]).scatter(1, self.seen, own)
        if self.word_weight:
            word = self.leaf_words.gather(1, self.due.clamp_min(0)) * (self.node == 0)[:, None]  # (B, 1); FILL inside a word
            scores = scores + torch.zeros_like(scores).scatter_(1, word, self.word_weight)
        if self.lexicon:
            mark = self.marks * ((self.due == 1) & (self.node == 0)[:, None])  # (B, 1); FILL before the last leaf
            scores = scores + torch.zeros_like(scores).scatter_(1, mark, MARK_WEIGHT)
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

    def accept(self, tokens: Tensor) -> None:
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


def on(device: torch.device, owner: object, *names: str) -> list[Tensor]:
    """Tables of a grammar or a lexicon as tensors on a device. Each is copied there once: graphs are recorded with its address."""
    copies: dict = owner.__dict__.setdefault("_on_device", {})
    for name in names:
        if (device, name) not in copies:
            copies[device, name] = torch.from_numpy(getattr(owner, name)).to(device)
    return [copies[device, name] for name in names]


def constraint_of(rules: Rules | None, device: torch.device) -> "ParseConstraint | TextConstraint | None":
    """The state of a batch that is to obey these rules."""
    if rules is None:
        return None
    return ParseConstraint(rules, device) if isinstance(rules, ParseRules) else TextConstraint(rules, device)
