"""The rules of `rules.py`, one small machine a row: a few integers, and tables that all rows share.

As tensor operations for a whole batch (`gpu/constraints.py`) the same rules cost more on a CPU than they decide. Both give the same
scores (`tests/cpu/test_engine.py`). Shapes: B rows, V vocabulary, A words of a sentence, T tags.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from handler.decoding.grammar import CLOSED, FORCED, OPENED, ParseGrammar, trie_of
from handler.decoding.lexicon import FILL
from handler.decoding.rules import ParseRules, Rules, TextRules
from handler.language.word_classes import KIN, NO_TAG
from handler.model.network import EOS

State = tuple[int, int, int, int]  # place in the template, open brackets inside the slot, kind of the last token, steps left


class ParseMatcher:
    """One row's parse. It holds no state; `State`s are values, so a draft can be taken back."""

    def __init__(self, grammar: ParseGrammar, template: list[int], max_steps: int):
        self.grammar = grammar
        self.template, self.slot, self.rest = grammar.slots(template)
        self.start: State = 0, 0, CLOSED, max_steps

    def mask(self, state: State) -> int:
        """Row of `ParseGrammar.score_masks`: what may come next."""
        place, depth, last, steps_left = state
        room = min(max(steps_left - depth - self.rest[place], 0), 4)
        rule = self.grammar.rule_table[depth > 0][self.slot[place]][last][room]
        return FORCED + self.template[place] if rule == FORCED else rule

    def after(self, state: State, token: int) -> State:
        """The state once `token` has come."""
        place, depth, _, steps_left = state
        kind = self.grammar.kind_of[token]
        if depth == 0 and not (self.slot[place] and kind == OPENED):  # the token was the template's own
            place = min(place + 1, len(self.template) - 1)
        else:
            depth += (kind == OPENED) - (kind == CLOSED)
        return place, depth, kind, steps_left - 1


class ParseMatchers:
    """`ParseRules` for a batch: a `loop.LogitsProcessor`."""

    def __init__(self, rules: ParseRules):
        self.grammar = rules.grammar
        self.rows = [ParseMatcher(rules.grammar, template, rules.max_steps) for template in rules.templates]
        self.states = [row.start for row in self.rows]

    def process(self, scores: Tensor) -> Tensor:
        return scores + self.grammar.score_masks[[row.mask(state) for row, state in zip(self.rows, self.states)]]

    def accept(self, tokens: Tensor) -> None:
        self.states = [row.after(state, token) for row, state, token in zip(self.rows, self.states, tokens.tolist())]

    def select_rows(self, rows: Tensor) -> None:
        kept = rows.tolist()
        self.rows, self.states = [self.rows[i] for i in kept], [self.states[i] for i in kept]


class TextMatchers:
    """`TextRules` for a batch: a `loop.LogitsProcessor`. What a token changes is a few scores of its row."""

    def __init__(self, rules: TextRules):
        grammar, sentences, alignment, max_steps = rules.grammar, rules.sentences, rules.alignment, rules.max_steps
        self.steps_left, self.penalty = [max_steps] * len(sentences), rules.repetition_penalty  # of each row
        columns = grammar.width(sentences)
        base = torch.full((columns,), -math.inf)
        base[: grammar.output_vocab_size].masked_fill_(grammar.words, 0.0)
        self.bias = base.repeat(len(sentences), 1)  # (B, V): what is added between words
        self.grammar = grammar
        self.whole_words, self.suffix_only = ([frozenset(find(pieces)) for pieces in sentences] for find in (grammar.said, grammar.endings))
        self.bias[:, EOS] = -math.inf  # no empty text
        self.tries = [trie_of(grammar.split_words(pieces)) for pieces in sentences]
        self.nodes = [0] * len(sentences)
        self.uses: list[dict[int, int]] = []  # token -> uses left without penalty; 1 where it is missing
        self.edges: list[dict[int, int]] = []  # first piece of a split word -> steps it needs
        self.bonus: list[dict[int, float]] = []  # of the sentence's pieces not yet written
        self.deepest = max((need for trie in self.tries for _, _, need in trie[0]), default=0)
        leaves = alignment.leaves if alignment else [[] for _ in sentences]
        self.leaves = [[NO_TAG, *row[::-1]] for row in leaves]  # the tag of the leaf with so many left, itself included
        self.leaves_left = list(map(len, leaves))  # leaves left
        self.table: tuple[Tensor, ...] = ()
        if alignment:
            self.seen, self.own, _ = alignment.lexicon.own(alignment.tagged_words)  # (B, A), (B, 1 + T, A)
            self.table = alignment.lexicon.table[:, :columns].unbind(0)  # (V,) for each tag
            self.common = alignment.lexicon.common
        self.copy_odds = rules.copy_odds if alignment else 0.0
        self.tagged: list[dict[int, list[int]]] = [{} for _ in sentences]  # tag -> first pieces of the sentence's words with it
        for tagged, seen in zip(self.tagged, alignment.tagged_words if alignment else ()):
            for piece, tag in seen:
                tagged.setdefault(tag, []).append(piece)
        self.order = torch.tensor(float(rules.order_bonus))
        self.follow: list[dict[int, set[int]]] = [{} for _ in sentences]  # last piece of a word -> first pieces of those after it
        for follow, pieces in zip(self.follow, sentences if rules.order_bonus else ()):
            for last, after in grammar.follow(pieces):
                follow.setdefault(last, set()).add(after)
        self.last = [FILL] * len(sentences)
        for row, (pieces, trie) in enumerate(zip(sentences, self.tries)):
            uses: dict[int, int] = {}
            for piece in grammar.columns(pieces):
                uses[piece] = uses.get(piece, 0) + 1
            self.uses.append(uses)
            self.bonus.append(dict.fromkeys(uses, rules.source_bonus))
            self.edges.append({piece: need for piece, _, need in trie[0] if need <= max_steps - self.leaves_left[row]})
            for piece in {*uses, *self.edges[row], *self.suffix_only[row]}:
                self._set(row, piece)

    def _change(self, row: int, token: int) -> float:
        """What is added to a token's score, apart from whether it may come."""
        if self.uses[row].get(token, 1) <= 0:
            return -self.penalty
        return self.bonus[row].get(token, 0.0)

    def _set(self, row: int, token: int) -> None:
        may_come = (
            token in self.edges[row]
            or token in self.whole_words[row]
            or token < self.grammar.output_vocab_size
            and self.grammar.is_word[token]
            and token not in self.suffix_only[row]
        )
        self.bias[row, token] = self._change(row, token) if may_come else -math.inf

    def process(self, scores: Tensor, rows: list[int] | None = None) -> Tensor:
        """The scores (N, V) of these rows, or of all."""
        places = range(len(self.nodes)) if rows is None else rows
        adjusted = scores + (self.bias if rows is None else self.bias[rows])
        if self.table:
            tags = [self.leaves[row][self.leaves_left[row]] for row in places]
            if self.copy_odds:
                self._copy(scores, adjusted, places, tags)
            seen = self.seen if rows is None else self.seen[rows]
            own = self.own[list(places), tags] + adjusted.gather(1, seen)  # (N, A)
            for line, tag in zip(adjusted.unbind(0), tags):  # faster than gathering the table's rows: that leaves the cache
                line.add_(self.table[tag])
            adjusted.scatter_(1, seen, own)
        after = [
            i * scores.shape[1] + piece for i, row in enumerate(places) for piece in self.follow[row].get(self.last[row], ())
        ]  # none inside a word: no word ends with the piece before
        if after:
            adjusted.view(-1).index_add_(0, torch.tensor(after), self.order.expand(len(after)))
        for i, row in enumerate(places):
            if self.nodes[row]:  # inside a word: only its pieces
                edges = [
                    piece for piece, _, need in self.tries[row][self.nodes[row]] if need <= self.steps_left[row] - self.leaves_left[row]
                ]
                values = scores[i, edges] + torch.tensor([self._change(row, piece) for piece in edges])
                adjusted[i] = -math.inf
                adjusted[i, edges] = values
        return adjusted

    def _copy(self, scores: Tensor, adjusted: Tensor, places: Iterable[int], tags: list[int]) -> None:
        """Make the sentence's words of a leaf's kind that are not yet written as likely as copying makes them."""
        found = []  # place in the batch, piece, odds
        for i, (row, tag) in enumerate(zip(places, tags)):
            near = {piece for kin in KIN.get(tag, ()) for piece in self.tagged[row].get(kin, ()) if self.uses[row][piece] > 0}
            found += [(i, piece, self.copy_odds / len(near)) for piece in near]
        if found:
            lines, pieces, odds = map(list, zip(*found))
            alone = scores[lines, pieces]
            copied = scores.logsumexp(1)[lines] + torch.tensor(odds).log()
            adjusted[lines, pieces] += torch.logaddexp(alone, copied) - alone

    def accept(self, tokens: Tensor, rows: list[int] | None = None) -> None:
        """Take note of the tokens chosen for these rows, or for all."""
        for row, token in zip(range(len(self.nodes)) if rows is None else rows, tokens.tolist()):
            self._accept(row, token)

    def _accept(self, row: int, token: int) -> None:
        first, self.last[row] = self.last[row] == FILL, token
        self.nodes[row] = next(
            (to for piece, to, need in self.tries[row][self.nodes[row]] if piece == token and need <= self.steps_left[row]), 0
        )
        self.steps_left[row] -= 1
        if token == EOS:
            return
        self.uses[row][token] = self.uses[row].get(token, 1) - 1
        self._set(row, token)
        if self.leaves_left[row]:
            if not self.nodes[row]:
                self.leaves_left[row] -= 1
                if not self.leaves_left[row]:  # no word after the last leaf's
                    self.bias[row] = -math.inf
                    self.bias[row, EOS] = 0.0
        elif first:
            self.bias[row, EOS] = 0.0
        room = self.steps_left[row] - self.leaves_left[row]
        if room < self.deepest:
            for piece in [piece for piece, need in self.edges[row].items() if need > room]:
                del self.edges[row][piece]
                self._set(row, piece)

    def propose(self, row: int, length: int) -> list[int]:
        """At most `length` guesses at a row's next tokens: the rest of a word, then for each leaf the word that follows in the
        sentence, another of its words with that tag, or the commonest word of all with it. Seven in ten are right."""
        node, due, last = self.nodes[row], self.leaves_left[row], self.last[row]
        guesses: list[int] = []
        left = dict(self.uses[row])
        while len(guesses) < length and (due or node):
            tag = self.leaves[row][due]
            near = (*self.follow[row].get(last, ()), *self.tagged[row].get(tag, ()))
            last = (
                self.tries[row][node][0][0]
                if node
                else next((piece for piece in near if left.get(piece, 0) > 0 and piece in self.tagged[row].get(tag, ())), self.common[tag])
            )
            guesses.append(last)
            left[last] = left.get(last, 0) - 1
            node = next((to for piece, to, _ in self.tries[row][node] if piece == last), 0)
            due -= not node
        return guesses if due or node or self.leaves[row] == [NO_TAG] else [*guesses, EOS][:length]

    def select_rows(self, rows: Tensor) -> None:
        for name in ("bias", "seen", "own") if self.table else ("bias",):
            setattr(self, name, getattr(self, name).index_select(0, rows))
        kept = rows.tolist()
        for name in (
            "tries",
            "nodes",
            "uses",
            "edges",
            "bonus",
            "whole_words",
            "suffix_only",
            "leaves",
            "leaves_left",
            "follow",
            "last",
            "steps_left",
            "tagged",
        ):
            values = getattr(self, name)
            setattr(self, name, [values[i] for i in kept])


def matchers_of(rules: Rules) -> ParseMatchers | TextMatchers:
    """What makes a batch obey its rules."""
    return ParseMatchers(rules) if isinstance(rules, ParseRules) else TextMatchers(rules)
