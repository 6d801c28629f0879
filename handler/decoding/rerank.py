"""Which of several candidates answers a row.

The parse generator draws several parses of a template and the paraphraser writes a text for each. Most parses have places for other
words than the sentence's, and its text is then poor; the networks know, and say so in their probabilities.
Numbers only: no network, no strings.
"""

from collections import Counter

from handler.decoding.sampling import Decoded
from handler.language.relations import Meaning, kept, made_up, missing
from handler.language.word_classes import KIN

TEMPERATURE = 0.6  # at least, of all candidates' parses but the first; higher ones are more different, and worse
UNCHANGED_PENALTY = 0.5  # nats a token, for an answer that says the sentence as it was
RESORT_PENALTY = 0.25  # nats a token and rank, for a moved parse that is a last resort: an empty frame has rank 12
MISSING_PENALTY, EXTRA_PENALTY = 2.0, 1.0  # nats a token, for all content words missing, and for as many that the sentence does not have


def content_of(tagged_words: list[tuple[int, int]]) -> Counter[int]:
    """The content words of a sentence by their first pieces. tagged_words: as `lexicon.Alignment` has them."""
    return Counter(piece for piece, tag in tagged_words if tag in KIN)


def rerank_score(parse: Decoded, text: Decoded, content: Counter[int], leaves: list[int]) -> float:
    """The more, the better: the log-probability of parse and text together, a token of the text, less what the text leaves out of
    the sentence's content words and what it makes up.

    parse, text: scored. content: as `content_of` makes it; empty if not known. leaves: tags of the parse's words, rows of the
    lexicon's table.
    """
    likely = (text.log_probability + parse.log_probability) / max(1, len(text.ids))
    wanted = content.total()
    if not wanted:
        return likely
    missing = (content - Counter(text.ids)).total()
    extra = max(0, sum(leaf in KIN for leaf in leaves) - (wanted - missing))
    return likely - (MISSING_PENALTY * missing + EXTRA_PENALTY * extra) / wanted


def meaning_score(parse: Decoded, text: Decoded, promised: float) -> float:
    """`rerank_score` by meaning. promised: `promise` of what the text says."""
    return (text.log_probability + parse.log_probability) / max(1, len(text.ids)) + promised


def promise(source: Meaning, answer: Meaning, weight: float) -> float:
    """The score that an answer would have if the networks were certain of it, which it cannot exceed: less for content words missing and
    made up, more for the share of the sentence's relations that are kept. weight: nats a token for all relations kept.
    """
    if len(answer.words) != len(answer.parse.leaves()):  # cut short by the step limit: nothing is known of its relations
        return -MISSING_PENALTY - EXTRA_PENALTY
    wanted, found = source.content, answer.content
    lost = (MISSING_PENALTY * missing(wanted, found) + EXTRA_PENALTY * made_up(wanted, found)) / max(1, wanted.total())
    unchanged = UNCHANGED_PENALTY if answer.words == source.words else 0.0
    return weight * kept(source.relations, answer.relations) - lost - unchanged
