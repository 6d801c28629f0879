"""Splits raw text into Penn Treebank tokens. Standard library only."""

import re
import unicodedata

# One Penn Treebank token. The alternatives are tried in this order, in text without blanks.
TOKEN = re.compile(
    r"""
    (?:https?://|www\.)\S*[^\s.,;:!?'")\]}]           # addresses, without what ends the sentence
  | [\w.%+-]{1,64}@\w+(?:\.\w+)+                    # bounded: an open `\S+` takes quadratic time on `!!!!!…`
  | \.\.\.+ | --+
  | (?<!\w)[+-]?\d+(?:[.,:/]\d+)*(?:st|nd|rd|th|s|am|pm)?(?!\w)  # numbers, times, dates: 1,000.5 9:30 1/2 1990s
  | (?:[^\W\d_]\.){2,}                              # U.S., e.g.
  | (?:mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|inc|ltd|co|corp|no|gen|col|lt|sgt|rep|sen|gov|rev|hon|jan|feb|mar|apr|jun|jul|aug
      |sep|sept|oct|nov|dec|mt|fig|vol|pp|approx|dept|est|cf|al|ave|blvd|rd|[A-HJ-Z])\.(?![\w.]) # abbreviations, initials
  | [^\W_]+(?:['’][^\W\d_]+|[-/&_.@][^\W_]+)*       # words, with hyphens and apostrophes inside
  | ['’](?:s|re|ve|ll|d|m|t|em|cause|til|tis|twas|n)\b  # clitics that stand alone
  | (?:[\u2600-\u27bf\U0001f000-\U0001faff][\ufe0f\u200d\U0001f3fb-\U0001f3ff]*)+  # emoji
  | .""",
    re.VERBOSE | re.IGNORECASE,
)
CLITIC = re.compile(r"(?<=.)(?:n['’]t|['’](?:s|re|ve|ll|d|m))$", re.IGNORECASE)
CONTRACTIONS = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "gimme": ("gim", "me"),
    "lemme": ("lem", "me"),
    "d'ye": ("d'", "ye"),
    "'tis": ("'t", "is"),
    "'twas": ("'t", "was"),
}


def tokenize(sentence: str) -> list[str]:
    """Penn Treebank tokens of raw text, case kept: `isn't it?` is `is n't it ?`. Curly quotes become straight ones.

    The models were trained on exactly these tokens: `"` stays `"`, curly apostrophes split like straight ones, and a full stop at the
    end of the sentence is a token of its own.
    """
    sentence = unicodedata.normalize("NFC", sentence).translate(STRAIGHT)
    tokens = []
    for stretch in sentence.split():
        for token in TOKEN.findall(stretch):
            clitics: list[str] = []  # `I'd've` has two
            while token.lower() not in CONTRACTIONS and (clitic := CLITIC.search(token)):
                clitics.insert(0, token[clitic.start() :])
                token = token[: clitic.start()]
            if token.lower() in CONTRACTIONS:
                cut = len(CONTRACTIONS[token.lower()][0])
                tokens += [token[:cut], token[cut:]]
            else:
                tokens += TOKEN.findall(token) if clitics else [token]
            tokens += clitics
    if tokens and len(tokens[-1]) > 1 and tokens[-1].endswith(".") and re.search(r"\w\.$", tokens[-1]):
        tokens[-1:] = [tokens[-1]] if "." in tokens[-1][:-1] else [tokens[-1][:-1], "."]
    return tokens


STRAIGHT = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "…": "...", "\u00a0": " ", "–": "--", "—": "--"})
