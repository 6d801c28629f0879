"""Guesses at the next tokens of a parse or a text, to be verified several at a time by the network.

A parse is mostly predictable: after a tag comes a bracket, inside `(NP (DT ` a noun. A table from the last few tokens to the
one that followed them most often in the training parses guesses four of five. A text that follows its parse's leaves mostly takes the
sentence's words in their order: `TextDrafts` where rules hold it to the leaves, `LeafDrafts` where nothing does. A guess changes how
long decoding takes and nothing else (`loop.decode`).
"""

from collections.abc import Sequence
from copy import copy

import numpy as np

from handler.decoding.lexicon import FILL
from handler.decoding.loop import LogitsProcessor
from handler.decoding.processors import ParseRow, TextRow
from handler.decoding.rules import Hints
from handler.model.network import EOS, SOS

ORDERS = 8, 6, 4, 2, 1  # lengths of the contexts, longest first
WIDTH = ORDERS[0]
FREE = 255  # fills the places before a context shorter than WIDTH; no syntax token has this id
ANY = frozenset(range(FREE))  # what may follow where no grammar says it
AHEAD = 3  # leaves that a text may leave out and still be followed


class NgramProposer:
    """The table: the last tokens of a parse (ids below 255, `<sos>` first) -> the likeliest next one."""

    def __init__(self, contexts: np.ndarray, tokens: np.ndarray):
        """contexts (N, WIDTH) uint8, filled from the left with FREE; tokens (N,) uint8."""
        packed, width = contexts.tobytes(), WIDTH
        keys = (packed[i : i + width].lstrip(b"\xff") for i in range(0, len(packed), width))
        self.table = dict(zip(keys, tokens.tolist()))

    def propose(self, history: bytes, allowed: frozenset[int]) -> int | None:
        """The likeliest token after `history` that is allowed; None if the table knows none."""
        for order in ORDERS:
            token = self.table.get(history[-order:])
            if token is not None and token in allowed and len(history) >= order:
                return token
        return None


def learn(parses: list[bytes], least: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of a table from parses as ids, `<sos>` and `<eos>` included.

    A context is kept if it came `least` times and guesses otherwise than the next shorter one.
    """
    counts: dict[bytes, dict[int, int]] = {}
    for parse in parses:
        for i in range(1, len(parse)):
            for order in ORDERS:
                if i >= order:
                    followers = counts.setdefault(parse[i - order : i], {})
                    followers[parse[i]] = followers.get(parse[i], 0) + 1
    best: dict[bytes, int] = {}
    for context in sorted(counts, key=lambda context: (len(context), context)):
        followers = counts[context]
        token = max(followers, key=lambda token: (followers[token], -token))
        shorter = next((best[context[-order:]] for order in ORDERS if order < len(context) and context[-order:] in best), None)
        if sum(followers.values()) >= least and token != shorter:
            best[context] = token
    contexts = np.full((len(best), WIDTH), FREE, np.uint8)
    for row, context in zip(contexts, best):
        row[WIDTH - len(context) :] = np.frombuffer(context, np.uint8)
    return contexts, np.fromiter(best.values(), np.uint8, len(best))


class ParseDrafts(LogitsProcessor):
    """A `loop.Proposer` of a batch of parses: the n-gram table, within what the tree grammar allows. It changes no scores, and notes
    what is chosen."""

    longest = 8

    def __init__(self, table: NgramProposer, rows: Sequence[ParseRow | None]):
        """rows: None for a row that no grammar holds, as in the published decoding."""
        self.table, self.rows = table, rows
        self.histories = [bytes([SOS])] * len(rows)

    def propose(self, row: int, length: int) -> list[int]:
        here, history = self.rows[row], self.histories[row]
        state = here.state if here else None
        guesses: list[int] = []
        while len(guesses) < length:
            allowed = here.grammar.allowed[here.mask(state)] if here and state else ANY
            token = next(iter(allowed)) if len(allowed) == 1 else self.table.propose(history, allowed)
            if token is None:
                break
            guesses.append(token)
            if token == EOS:
                break
            history += bytes([token])
            state = here.after(state, token) if here and state else None
        return guesses

    def accept(self, row: int, token: int) -> None:
        self.histories[row] += bytes([min(token, FREE)])  # words have higher ids; the table knows none


class TextDrafts:
    """A `loop.Proposer` of a batch of texts that follow their parses. Seven guesses in ten are right."""

    longest = 6

    def __init__(self, rows: list[TextRow], common: list[int]):
        """common: of each row of the lexicon, the commonest word."""
        self.rows, self.common = rows, common

    def propose(self, row: int, length: int) -> list[int]:
        """The rest of a word, then for each leaf the word that follows in the sentence, another of its words with that tag, or the
        commonest word of all with it."""
        here = self.rows[row]
        node, leaves_left, last, unused = here.node, here.leaves_left, here.last, dict(here.unused)
        guesses: list[int] = []
        while len(guesses) < length and (leaves_left or node):
            tag = here.leaves[leaves_left]
            tagged = here.tagged.get(tag, ())
            if node:
                last = here.trie[node][0][0]
            elif leaves_left == 1 and here.mark != FILL:
                last = here.mark
            elif here.leaf_words:
                last = here.leaf_words[leaves_left]
            else:
                near = (*here.successors.get(last, ()), *tagged)
                last = next((piece for piece in near if unused.get(piece, 0) > 0 and piece in tagged), self.common[here.rows[leaves_left]])
            guesses.append(last)
            unused[last] = unused.get(last, 0) - 1
            node = next((to for piece, to, _ in here.trie[node] if piece == last), 0)
            leaves_left -= not node
        return guesses if leaves_left or node or not here.follows_leaves else [*guesses, EOS][:length]


class HintedRow:
    """What has been written of one text, as far as its hints tell."""

    def __init__(self, leaves: list[str], words: list[tuple[tuple[int, ...], str]]):
        self.leaves, self.words = leaves, words
        self.leaf = 0  # of the next word
        self.word = -1  # of the sentence, that was written last
        self.rest: tuple[int, ...] = ()  # pieces that this word still needs
        self.unused = frozenset(range(len(words)))

    def next_word(self, tag: str) -> int | None:
        """The sentence's word for a leaf: the one after the last written, or the first that is left with this tag."""
        after = self.word + 1
        if after in self.unused and self.words[after][1] == tag:
            return after
        return next((i for i, (_, own) in enumerate(self.words) if own == tag and i in self.unused), None)

    def begin(self, word: int) -> tuple[int, ...]:
        """Write this word of the sentence; returns its pieces."""
        pieces = self.words[word][0]
        self.word, self.unused, self.rest = word, self.unused - {word}, pieces[1:]
        return pieces

    def accept(self, token: int) -> None:
        if self.rest:
            self.rest = self.rest[1:] if self.rest[0] == token else ()  # another ending
            return
        tag = self.leaves[self.leaf] if self.leaf < len(self.leaves) else ""
        begun = [i for i in sorted(self.unused) if self.words[i][0][0] == token]
        self.leaf += 1
        if not begun:
            return
        word = next((i for i in begun if self.words[i][1] == tag), begun[0])
        self.begin(word)
        own = self.words[word][1]
        if own != tag and own in self.leaves[self.leaf : self.leaf + AHEAD]:  # leaves were passed over
            self.leaf = self.leaves.index(own, self.leaf) + 1


class LeafDrafts(LogitsProcessor):
    """A `loop.Proposer` of a batch of texts that no rule holds to their parses' leaves, though trained networks mostly do. It changes no
    scores, and notes what is chosen."""

    longest = TextDrafts.longest

    def __init__(self, hints: Hints):
        self.rows = [HintedRow(leaves, words) for leaves, words in zip(hints.leaves, hints.words)]
        self.common = hints.common

    def propose(self, row: int, length: int) -> list[int]:
        """The rest of a word, then for each leaf a word of the sentence, or the commonest; no more where neither is known."""
        here, guesses = copy(self.rows[row]), list(self.rows[row].rest)
        if not here.words:
            return []
        while len(guesses) < length and here.leaf < len(here.leaves):
            tag = here.leaves[here.leaf]
            here.leaf += 1
            if (word := here.next_word(tag)) is not None:
                guesses += here.begin(word)
            elif tag in self.common:
                guesses.append(self.common[tag])
            else:
                return guesses
        return [*guesses, EOS][:length]

    def accept(self, row: int, token: int) -> None:
        self.rows[row].accept(token)
