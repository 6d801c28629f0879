"""What may come next while decoding: parses that are trees with the asked top, texts that are words. Torch only.

Both classes are `decoding.Constraint`s: their whole state is a handful of integers per row, kept in tensors, so that a
batch of rows is one set of operations on any device. Shapes: B rows, V vocabulary, P template tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from handler.model import EOS
from handler.syntax import PHRASES, TAGS
from handler.text import SEPARATOR, SPECIALS, Vocabulary

# What the last token of a parse was.
OPENED, PHRASE, TAG, CLOSED = range(4)
# Rows of the table of what may come: one bracket, either, a tag, any label. FORCED stands for the template's next token.
OPEN, CLOSE, EITHER, ANY_TAG, ANY_LABEL = range(5)


class ParseGrammar:
    """The ids of brackets, phrase labels and tags in one network's vocabulary, as tables on a device."""

    def __init__(self, vocabulary: Vocabulary, vocab_size: int, device: torch.device):
        ids = vocabulary.syntax_ids
        self.open, self.close = ids["("], ids[")"]
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
        rows = [self._slots(ids, grammar) for ids in templates]
        width = max(len(ids) for ids, _, _ in rows)
        self.grammar, self.left = grammar, max_steps
        self.template = torch.tensor([ids + [EOS] * (width - len(ids)) for ids, _, _ in rows], device=device)  # (B, P)
        self.slot = torch.tensor([s + [False] * (width - len(s)) for _, s, _ in rows], device=device)  # (B, P)
        self.rest = torch.tensor([r + [1] * (width - len(r)) for _, _, r in rows], device=device)  # (B, P)
        self.place = torch.zeros(len(rows), dtype=torch.long, device=device)  # next template token
        self.depth = torch.zeros_like(self.place)  # open brackets inside the current slot
        self.last = torch.full_like(self.place, CLOSED)  # kind of the last token

    @staticmethod
    def _slots(ids: list[int], grammar: ParseGrammar) -> tuple[list[int], list[bool], list[int]]:
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
        _, slot, rest = ParseConstraint._slots(ids, grammar)
        return rest[0] + 3 * slot[0]

    def _at(self, table: Tensor) -> Tensor:
        return table.gather(1, self.place[:, None])[:, 0]  # (B,)

    def allowed(self) -> Tensor:
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


class TextConstraint:
    """Every text is made of whole words: no syntax token, no <unk>, no word that stops at `@@`, not empty."""

    def __init__(self, grammar: "TextGrammar", rows: int, max_steps: int):
        self.grammar, self.left, self.first = grammar, max_steps, True
        self.unfinished = torch.zeros(rows, dtype=torch.bool, device=grammar.words.device)

    def allowed(self) -> Tensor:
        table = self.grammar.last_words if self.left == 1 else self.grammar.words
        mask = table.expand(len(self.unfinished), -1).clone()
        mask[:, EOS] = False if self.first else ~self.unfinished
        return mask

    def advance(self, tokens: Tensor) -> None:
        self.unfinished = self.grammar.continued[tokens]
        self.left, self.first = self.left - 1, False

    def keep(self, rows: Tensor) -> None:
        self.unfinished = self.unfinished.index_select(0, rows)


class TextGrammar:
    """Which ids of one network's vocabulary are pieces of words, and which of these a word cannot end with."""

    def __init__(self, vocabulary: Vocabulary, vocab_size: int, device: torch.device):
        first = len(SPECIALS) + len(vocabulary.syntax_ids)
        self.words = torch.arange(vocab_size, device=device) >= first
        self.continued = torch.tensor([t.endswith(SEPARATOR) for t in vocabulary.tokens[:vocab_size]], device=device)
        self.last_words = self.words & ~self.continued
