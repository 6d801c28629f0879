"""Numbers of the part-of-speech tags, and groups of tags whose words may replace each other. No tensors."""

from handler.language.trees import TAGS

NO_TAG = 0  # the row for a leaf without a tag: all zeros
ROWS = {tag: row for row, tag in enumerate(sorted(TAGS), 1)}  # tag -> its row of the table
# Groups of tags whose words may replace each other, because they have the same or nearly the same form.
KINDS = (
    ("NN", "NNP"),
    ("NNS", "NNPS"),
    ("VB", "VBP"),
    ("VBD", "VBN"),
    *((tag,) for tag in ("JJ", "JJR", "JJS", "RB", "RBR", "RBS", "VBG", "VBZ", "CD", "FW", "UH")),
)  # tags of content words; other words are not copied
# Auxiliary verbs. They are no content words, so nothing is lost if a parse has fewer verbs than the sentence.
AUXILIARIES = frozenset("be am is are was were been being 's 're 'm have has had having 've 'd do does did doing done".split())
VERBS = frozenset(row for tag, row in ROWS.items() if tag.startswith("VB"))
KIN = {ROWS[tag]: [ROWS[other] for other in kind] for kind in KINDS for tag in kind}

COMMON = {"DT": "the", "IN": "of", "CC": "and", "TO": "to", ",": ",", ".": "."}  # the commonest words of tags that have few
