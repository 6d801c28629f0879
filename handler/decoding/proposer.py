"""Guesses at the next tokens of a parse, to be verified several at a time by the network.

A parse is mostly predictable: after a tag comes a bracket, inside `(NP (DT ` a noun. A table from the last few tokens to the
one that followed them most often in the training parses guesses four of five. A guess changes how long decoding takes and
nothing else (`speculative.draft_parses`).
"""

import numpy as np

ORDERS = 8, 6, 4, 2, 1  # lengths of the contexts, longest first
WIDTH = ORDERS[0]
FREE = 255  # fills the places before a context shorter than WIDTH; no syntax token has this id


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
