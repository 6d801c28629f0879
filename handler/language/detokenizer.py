"""Writes tokens as people write text: blanks, capitals, contractions, `a` or `an`. Standard library only.

    write(["ca", "n't", "he", "wait", "?"])     # "Can't he wait?"

What the tokens do not say is taken from the sentence that they come from (`surface.Surface`): its capitals, its spelling, and the
blanks between tokens that follow each other there too.
"""

import re
from dataclasses import dataclass

from handler.language.morphology import lemma
from handler.language.surface import NAMES, Surface
from handler.language.wordlists import PROPER

NEGATED = frozenset("ca wo sha do does did is are was were has have had would could should might must need ought dare ai".split())
SHORT = {"ca": "can", "wo": "will", "sha": "shall"}  # before `n't` only
FULL = {"'m": "am", "'re": "are", "'s": "is", "'ve": "have", "'ll": "will", "'d": "would"}  # where there is nothing to lean on
HALVES = {
    *(("can", "not"), ("gon", "na"), ("got", "ta"), ("wan", "na"), ("gim", "me"), ("lem", "me"), ("d'", "ye")),
    *(("'t", "is"), ("'t", "was")),
}
CLITIC = re.compile(r"['’](?:s|re|ve|ll|d|m)|n['’]t", re.IGNORECASE)
CLOSES = frozenset(", . ? ! ; : ) ] } % … ... ° ™ ®".split())
OPENS = frozenset("( [ { ¿ ¡".split())
CURRENCY = frozenset("$ £ € ¥ # US$ us$".split())
BRACKETS = {")": "(", "]": "[", "}": "{"}
DASHES = frozenset("- -- — – /".split())
QUOTES = frozenset(('"', "“", "”", "``", "''"))
ENDS = frozenset(". ? !".split())
ADDRESS = re.compile(r"://|@|^www\.|\w\.[a-z]{2,}")

AS_CONSONANT = re.compile(  # begin with the sound of y or w
    r"eu|ew[ae]|one(?![a-z])|one-|once|ones|oui|uni(?![nmd]|ll|ss)|unanim|u(?:biq|fo|gand|k(?:$|[re]|ul)|ra[nl]|rea|ri|ru|s[aeiu]|te[nr]|ti|to)"
)
SILENT = re.compile(r"hour|honest|honou?r|heir")
LETTERS_WITH_VOWEL = frozenset("aefhilmnorsx")  # by their names: an F, an X


@dataclass
class Token:
    """A token on its way to text."""

    form: str
    tag: str | None
    place: int | None  # of the source's token that it is
    opens: bool | None = None  # a quotation mark: whether it opens; None: it is none


def write(tokens: list[str], tags: list[str] | None = None, source: Surface | None = None) -> str:
    """The text of some tokens. tags: a part of speech for each, if known. source: the sentence that they paraphrase."""
    known = tags if tags and len(tags) == len(tokens) else [None] * len(tokens)
    row = [Token(token, tag, None) for token, tag in zip(tokens, known) if token]  # without rules a network may write an empty one
    if source:
        _match(row, source)
    _case(row, source)
    _contract(row, source)
    _choose_articles(row, source)
    row = _paired(row, source)
    if len(row) > 1 and row[-1].form == "." and row[-2].form.endswith("."):  # an abbreviation ends the sentence
        row.pop()
    if len(row) > 2 and row[-2].opens is False and row[-3].form in ("?", "!") and row[-1].form in (".", row[-3].form):
        row.pop()  # what is quoted ends the sentence
    text = "".join(
        one.form + ("" if after is None or _joins(row, i, source) else " ") for i, (one, after) in enumerate(zip(row, [*row[1:], None]))
    )
    if source and source.ending and not any(token.form in source.ending for token in row):
        text = f"{text} {source.ending}"
    if source and source.shouted:
        return text.upper()
    return text.replace("'", "’") if source and source.curly else text


def _match(row: list[Token], source: Surface) -> None:
    """Find the source's token that each token is: rather one not yet taken, the next one, one of the same tag."""
    taken: set[int] = set()
    before = -2
    for token in row:
        options = source.places.get(token.form.lower(), [])
        if options:
            before = token.place = min(
                options,
                key=lambda j: (j in taken, j != before + 1, bool(source.tags) and token.tag != source.tags[j], j),  # type: ignore[index]
            )
            taken.add(before)
        else:
            before = -2


def _case(row: list[Token], source: Surface | None) -> None:
    """The source's capitals, those of names, and one at the start of each sentence."""
    starts, quotes = True, 0
    for before, token in zip([None, *row], row):
        if source and token.place is not None:
            token.form = source.forms[token.place]
        elif token.form == "i" or token.form in PROPER or token.tag in NAMES and token.form.isalpha() and token.form.islower():
            token.form = token.form.capitalize()
        elif source and (like := _relative(token, source)):
            token.form = like + token.form[len(like) :]
        if starts and any(map(str.isalnum, token.form)):
            if before and source and token.place is not None and _consecutive(before, token):
                token.form = source.written[token.place]  # whether that was the end of a sentence, the source knows
            elif not ADDRESS.search(token.form) and token.form.lower() == token.form and not CLITIC.fullmatch(token.form):
                token.form = _capital(token.form)
            starts = False
        if token.form in QUOTES and before:  # one closes behind the end of a sentence, another opens behind that one
            spoken = before.form == "," and quotes % 2 == 0  # someone said , " …
            starts = before.form in QUOTES or spoken or starts and before.form not in ENDS
        quotes += token.form in QUOTES
        starts = starts or token.form in ENDS


def _capital(form: str) -> str:
    """The first letter as a capital, but behind a digit."""
    place = next(i for i, character in enumerate(form) if character.isalnum())
    upper = form[place].upper()
    return form[:place] + upper + form[place + 1 :] if len(upper) == 1 else form


def _relative(token: Token, source: Surface) -> str:
    """What a token shares with a capitalised word of the source of which it is another form: `Beatle` of `Beatles`."""
    if not (token.tag and source.tags):
        return ""
    base = lemma(token.form, token.tag)
    for form, tag in zip(source.forms, source.tags):
        if form.lower() != form and form.isalpha() and lemma(form, tag) == base:
            shared = 0
            while shared < min(len(form), len(token.form)) and form[shared].lower() == token.form[shared]:
                shared += 1
            return form[:shared]
    return ""


def _contract(row: list[Token], source: Surface | None) -> None:
    """`can n't` is `ca n't`, `n't` without its verb is `not`, and a clitic without a word before it is a word itself."""
    for i, token in enumerate(row):
        low, before = _plain(token.form), row[i - 1] if i else None
        after = _plain(row[i + 1].form) if i + 1 < len(row) else ""
        if low == "n't":
            last = _plain(before.form) if before else ""
            short = {full: short for short, full in SHORT.items()}.get(last)
            if before and short:
                before.form = before.form[: len(short)]
            elif last not in NEGATED:
                token.form = "not" if before else "Not"
        elif low in SHORT and after != "n't" and token.tag == "MD":
            token.form = _like(token.form, SHORT[low])
        elif low in FULL and (before is None or not before.form[-1].isalnum()) and (low != "'s" or token.tag == "VBZ"):
            token.form = FULL[low] if before else FULL[low].capitalize()


def _plain(form: str) -> str:
    return form.lower().replace("’", "'")


def _like(model: str, form: str) -> str:
    return form.capitalize() if model[:1].isupper() else form


def _choose_articles(row: list[Token], source: Surface | None) -> None:
    """`a` or `an` by the sound of what follows; where the source has the two together, as it has them."""
    for token, after in zip(row, row[1:]):
        if token.form.lower() not in ("a", "an") or token.tag not in ("DT", None):
            continue
        if source and _consecutive(token, after):
            continue
        if after.form[:1].isalnum():
            token.form = _like(token.form, "an" if begins_with_vowel(after.form) else "a")


def begins_with_vowel(word: str) -> bool:
    """Whether a word sounds as if it begins with a vowel: `hour` and `FBI` do, `user` and `one` do not."""
    low, first = word.lower(), re.split(r"[-/.'’]", word, maxsplit=1)[0]
    if low[:1].isdigit():
        return low[0] == "8" or bool(re.match(r"(11|18)(?!\d)(?:,\d{3}(?!,))?", low))
    spelled = len(first) == 1 or first.isupper() and (len(first) < 4 or not re.search("[AEIOUY]", first))
    if spelled:
        return low[0] in LETTERS_WITH_VOWEL
    if low[0] in "aeiouàáâäåæèéêëìíîïòóôöøùúûü":
        return not AS_CONSONANT.match(low)
    return bool(SILENT.match(low))


def _consecutive(one: Token, after: Token) -> bool:
    return one.place is not None and after.place == one.place + 1


def _paired(row: list[Token], source: Surface | None) -> list[Token]:
    """Quotation marks know which way they turn; a mark or bracket without its other half is dropped, if the source has none such."""
    open_at: dict[str, int] = {}
    stray: set[int] = set()
    for i, token in enumerate(row):
        mark = token.form
        if mark in QUOTES or mark in "'‘’" and mark and token.tag in ("``", "''"):
            kind = "'" if mark in "'‘’" else '"'
            token.opens = kind not in open_at
            open_at.pop(kind) if kind in open_at else open_at.update({kind: i})
        elif mark in BRACKETS.values():
            open_at[mark] = i
        elif mark in BRACKETS and open_at.pop(BRACKETS[mark], None) is None:
            stray.add(i)
    stray |= set(open_at.values())
    if not stray or source and any(source.tokens.count(shut) != source.tokens.count(opened) for shut, opened in BRACKETS.items()):
        return row
    if source and source.tokens.count('"') % 2:
        return row
    return [token for i, token in enumerate(row) if i not in stray]


def _joins(row: list[Token], i: int, source: Surface | None) -> bool:
    """Whether there is no blank behind the token at i, which is not the last."""
    one, after = row[i], row[i + 1]
    left, right = one.form, after.form
    if one.opens or after.opens is False:
        return True
    if one.opens is False or after.opens:
        return left in OPENS or right in CLOSES
    joined = _joined_there(row, i, source)
    if joined is not None:
        return joined
    if CLITIC.fullmatch(right) or after.tag == "POS" or (_plain(left), _plain(right)) in HALVES:
        return left[-1].isalnum() or left[-1] in ".'’"
    if right in CLOSES:
        return right != "%" or left[-1].isdigit()
    if right in ("'", "’") and one.tag in ("NNS", "NNPS", None) and left.endswith("s"):
        return True
    return left in OPENS or left in CURRENCY and right[:1].isdigit() or "/" in (left, right)


def _joined_there(row: list[Token], i: int, source: Surface | None) -> bool | None:
    """The same of two tokens that the source has together; None where it does not say."""
    one, after = row[i], row[i + 1]
    if not source or one.place is None or not _consecutive(one, after):
        return None
    joined = source.joined[one.place]
    for dash in (i, i + 1):  # is joined on both sides, or on neither
        if joined and row[dash].form in DASHES:
            sides = row[dash - 1 : dash + 2] if dash else []
            joined = len(sides) == 3 and all(_consecutive(*pair) and source.joined[pair[0].place or 0] for pair in zip(sides, sides[1:]))
    if joined:
        return True
    return after.form in CLOSES and after.form in ",.?!" if source.tidy else None
