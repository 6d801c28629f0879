"""Part-of-speech tags by number, and which of them have words in common. No tensors."""

from handler.language.trees import TAGS

NO_TAG = 0  # row of the table that asks for no tag: zeros
ROWS = {tag: row for row, tag in enumerate(sorted(TAGS), 1)}  # tag -> its row of the table
# Tags whose words may stand for each other: with the same form, or a form that is hardly ever told from it.
KINDS = (
    ("NN", "NNP"),
    ("NNS", "NNPS"),
    ("VB", "VBP"),
    ("VBD", "VBN"),
    *((tag,) for tag in ("JJ", "JJR", "JJS", "RB", "RBR", "RBS", "VBG", "VBZ", "CD", "FW", "UH")),
)  # of content words; others are not copied
# Verbs that hold a place for others: no content, and no loss where a parse has fewer verbs than the sentence.
AUXILIARIES = frozenset("be am is are was were been being 's 're 'm have has had having 've 'd do does did doing done".split())
VERBS = frozenset(row for tag, row in ROWS.items() if tag.startswith("VB"))
KIN = {ROWS[tag]: [ROWS[other] for other in kind] for kind in KINDS for tag in kind}
