"""The whole sentences of plain text: its headings, tables, formulas and examples of code are left out."""

import re

from handler.language.tokenizer import tokenize

SHORTEST, LONGEST = 6, 25  # tokens of a sentence
MOSTLY = 0.7  # of a sentence's tokens are words

PARAGRAPH = re.compile(r"\n[ \t]*\n")
BULLET = re.compile(r"\s*(?:[*•-]|\d+\.)\s+")
GAP = re.compile(r"""(?<=[.!?])["”’)]*\s+(?=["“‘(]*[A-Z])""")  # between two sentences
ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|cf|vs|etc|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|vol|pp|[A-Z])\.$")  # ends no sentence
EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2}|_)(?=\S)([^*_]{1,60}?)(?<=\S)\1(?![\w*])")  # *so*, **so** and _so_
WHOLE = re.compile(r"""["“]?[A-Z].*[A-Za-z0-9"”][.!?]["”]?""")
CODE = re.compile(r"[_`=<>{}\[\]\\|/*#$%^~@+()]|\w\w\.\w|(?<!\w)\.\w|\w\.\.|::|…")  # prose has none of these, or hardly ever
WORD = re.compile(r"[A-Za-z]+(?:[-'’][A-Za-z]+)*")


def sentences(text: str) -> list[str]:
    """Whole sentences of 6 to 25 tokens, in order, with single blanks between their words."""
    stretches = [stretch for paragraph in PARAGRAPH.split(text.expandtabs()) for stretch in stretches_of(paragraph)]
    return [sentence for stretch in stretches for sentence in split(stretch) if is_prose(sentence)]


def stretches_of(paragraph: str) -> list[str]:
    """The running texts of a paragraph, each in one line: of each item of a list, and of a term and what is said of it, further in."""
    stretches: list[list[str]] = []
    indent = 0  # of the line before
    for line in filter(str.strip, paragraph.splitlines()):
        bullet, here = BULLET.match(line), len(line) - len(line.lstrip())
        below_a_term = len(stretches) == 1 and len(stretches[0]) == 1 and here > indent
        if bullet or below_a_term or not stretches:
            stretches.append([])
        stretches[-1].append(line[bullet.end() :] if bullet else line.strip())
        indent = bullet.end() if bullet else here
    return [EMPHASIS.sub(r"\2", " ".join(" ".join(lines).split())) for lines in stretches]


def split(text: str) -> list[str]:
    """The sentences of a text that is in one line."""
    found, begin = [], 0
    for gap in GAP.finditer(text):
        if not ABBREVIATION.search(text[begin : gap.start()]):
            found.append(text[begin : gap.end()].strip())
            begin = gap.end()
    return [*found, text[begin:]]


def is_prose(sentence: str) -> bool:
    """Whether it begins with a capital, ends in a mark, has no code in it, and most of its tokens are words."""
    if not WHOLE.fullmatch(sentence) or CODE.search(sentence):
        return False
    if sentence.count('"') % 2 or sentence.count("“") != sentence.count("”"):
        return False
    tokens = tokenize(sentence)
    return SHORTEST <= len(tokens) <= LONGEST and sum(map(bool, map(WORD.fullmatch, tokens))) >= MOSTLY * len(tokens)
