"""Every move has words."""

import re

from handler.movement.propose import LAST_RESORT
from scripts.playground import moves
from tests.movement.golden import GOLDEN


def test_every_move_has_words():
    known = {move for *_, move in GOLDEN if move} | LAST_RESORT.keys()
    assert len(known) > 60
    plain = [move for move in sorted(known) if not (move in moves.WORDS or (move.startswith("front_") and move[6:] in moves.PHRASES))]
    assert plain == [], "add them to scripts/playground/moves.py"


def test_words_are_not_names():
    assert all(re.fullmatch(r"[“a-z][^_]*[^.]", words) for words in moves.WORDS.values())


def test_sentences():
    assert moves.sentence(["front_sbar"]) == "The subordinate clause came first."
    assert moves.sentence(["unfront", "passive", "passive"]) == "What stood in front went back behind the verb; then active became passive."
    assert moves.sentence([]) == moves.AS_IT_IS and moves.sentence(None) == moves.GENERATED
    assert moves.sentence(None, whole=True) == moves.YOURS
    assert moves.sentence(["note_that"]) == "“Note that” was put in front."
    assert moves.sentence(["turn_around"]) == "Turn around."  # of a model that is newer than this page
