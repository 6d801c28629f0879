"""Tokens, BPE and vocabulary: golden cases, limits, and files that must be refused."""

import json
import random
import time
import unicodedata

import pytest

from handler import artifacts
from handler.errors import ArtifactError
from handler.language import vocabulary as module
from handler.language.tokenizer import STRAIGHT, tokenize
from handler.language.trees import SYNTAX_TOKENS
from handler.language.vocabulary import CACHED_LENGTH, SPECIALS, Vocabulary, WordPieces

SYNTAX = [f"<{token}>" for token in SYNTAX_TOKENS]
PIECES = ["the", "rain@@", "ing", "é@@", "t", "<", "<3@@", "ß", "@@"]


@pytest.mark.parametrize(
    "sentence, tokens",
    [
        ("", ""),
        (" \t\n", ""),
        ("Hello, world!", "Hello , world !"),
        ("It rains .", "It rains ."),
        ("we will have a picnic if it is a sunny day tomorrow.", "we will have a picnic if it is a sunny day tomorrow ."),
        # contractions and clitics
        ("isn't it?", "is n't it ?"),
        ("I can't, won't and DON'T.", "I ca n't , wo n't and DO N'T ."),
        ("They'll say it's Ann's, we're sure I'd know.", "They 'll say it 's Ann 's , we 're sure I 'd know ."),
        ("Cannot, gonna, wanna, d'ye", "Can not , gon na , wan na , d' ye"),
        ("'Twas 'tis o'clock", "'T was 't is o'clock"),
        ("the dogs' tails", "the dogs ' tails"),
        ("I'd've gone, they wouldn't've.", "I 'd 've gone , they would n't 've ."),
        # quotes, dashes, dots
        ("isn’t “it” ‘so’?", "is n't \" it \" ' so ' ?"),
        ('"End." he said, "Hi."', '" End . " he said , " Hi . "'),
        ("a–b — c…", "a -- b -- c ..."),
        ("end... what?!", "end ... what ? !"),
        # full stops
        ("Mr. Smith met J. Doe vs. Dr. No.", "Mr. Smith met J. Doe vs. Dr. No ."),
        ("He left the U.S. at 5 p.m. again, e.g., now.", "He left the U.S. at 5 p.m. again , e.g. , now ."),
        ("I said no.", "I said no ."),
        ("He left the U.S.", "He left the U.S."),
        ("So did I.", "So did I ."),
        ("I. Then he.", "I . Then he ."),
        # numbers
        ("$5.00, 1,000.50 or 50%?", "$ 5.00 , 1,000.50 or 50 % ?"),
        ("the 3rd at 9:30, 1/2 of the 1990s, 5pm", "the 3rd at 9:30 , 1/2 of the 1990s , 5pm"),
        # words with marks inside
        ("rock-n-roll AT&T and/or (C3PO)", "rock-n-roll AT&T and/or ( C3PO )"),
        ("mail (a.b+c@d.org) now", "mail ( a.b+c@d.org ) now"),
        ("see https://x.y/z?q=1 and www.x.org", "see https://x.y/z?q=1 and www.x.org"),
        ("It is at https://x.y/z.html, (www.x.org), www.", "It is at https://x.y/z.html , ( www.x.org ) , www ."),
        # not ASCII
        ("Müller wohnt in Köln.", "Müller wohnt in Köln ."),
        ("cafe\u0301\u00a0noir 😀!", "café noir 😀 !"),
        ("東京。", "東京 。"),
        # no special token comes out of a sentence
        ("<eos> <NP>", "< eos > < NP >"),
    ],
)
def test_tokenize(sentence, tokens):
    assert tokenize(sentence) == tokens.split()


def test_tokenize_loses_no_character():
    rng = random.Random(0)
    alphabet = "ab1.,'’@-/_()!?\"“… \u00a0\u0301éß東😀<>&:+\x00\u2028İ" + "n't . mr. u.s. cannot 'twas "
    for _ in range(2000):
        sentence = "".join(rng.choices(alphabet, k=rng.randint(1, 30)))
        tokens = tokenize(sentence)
        kept = unicodedata.normalize("NFC", sentence).translate(STRAIGHT).split()
        assert "".join(tokens) == "".join(kept)
        assert all(token and not token.isspace() for token in tokens)


@pytest.mark.parametrize("pattern", "! !@ a@ @a . 1. 1, 12_ a. _ a' - http:// 's a 1".split())
@pytest.mark.slow
def test_tokenize_takes_linear_time(pattern):
    began = time.perf_counter()
    tokenize(pattern * (60_000 // len(pattern)))
    assert time.perf_counter() - began < 2  # quadratic: more than ten


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary([*SPECIALS, *SYNTAX, *PIECES])


def test_vocabulary_knows_its_syntax_tokens(vocabulary):
    assert list(vocabulary.syntax_ids) == list(SYNTAX_TOKENS)
    assert (vocabulary.syntax_ids["PAD"], vocabulary.syntax_ids["ROOT"], vocabulary.syntax_ids["EOP"]) == (5, 6, 108)
    assert vocabulary.ids["the"] == 109 and len(vocabulary) == 109 + len(PIECES)
    assert vocabulary.decode_syntax([vocabulary.syntax_ids[t] for t in ("(", "NP", ")")]) == ["(", "NP", ")"]


@pytest.mark.parametrize(
    "pieces, words",
    [
        ([], ""),
        (["the"], "the"),
        (["the", "rain@@", "ing", "the"], "the raining the"),
        (["é@@", "t", "é@@", "é@@", "t"], "ét éét"),
        (["the", "rain@@"], "the"),  # cut in the middle of a word
        (["rain@@"], ""),
        (["<", "<3@@", "t", "ß"], "< <3t ß"),  # pieces, not syntax tokens
        (["<NP>", "the", "<-LRB->"], "NP the -LRB-"),
        (["<unk>", "the"], "<unk> the"),
        (["@@", "the"], "the"),
    ],
)
def test_decode_text(vocabulary, pieces, words):
    assert vocabulary.decode_text([vocabulary.ids[piece] for piece in pieces]) == words


def test_load_vocabulary(tmp_path, vocabulary):
    file = tmp_path / "vocab.json"
    file.write_text(json.dumps(vocabulary.tokens, ensure_ascii=False), encoding="utf-8")
    assert artifacts.read_vocabulary(file).tokens == vocabulary.tokens


@pytest.mark.parametrize(
    "content, expected, found",
    [
        (b"", "a JSON list in UTF-8", "Expecting value"),
        (b"[", "a JSON list in UTF-8", "Expecting value"),
        (b'["\xff"]', "a JSON list in UTF-8", "utf-8"),
        (b"{}", "a JSON list of strings, none empty", "dict"),
        (b'["<pad>", 1]', "a JSON list of strings, none empty", "something else in it"),
        (json.dumps([*SPECIALS, *SYNTAX, ""]).encode(), "a JSON list of strings, none empty", "something else in it"),
        (b"[]", "<sos>", "[]"),
        (json.dumps([*SPECIALS[::-1], *SYNTAX]).encode(), "first", "<msk>"),
        (json.dumps([*SPECIALS, *SYNTAX, "a", "b", "a"]).encode(), "distinct tokens", "1 repeated"),
        (json.dumps([*SPECIALS, "the", *SYNTAX]).encode(), "the syntax tokens", "0 others"),
    ],
)
def test_bad_vocabulary_files_are_refused(tmp_path, content, expected, found):
    file = tmp_path / "vocab.json"
    file.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        artifacts.read_vocabulary(file)
    assert caught.value.file == "vocab.json" and expected in caught.value.expected and found in caught.value.found


CODES = "#version: 0.2\nt h\nth e</w>\ni n\nin g</w>\nr a\nra in\n"
COUNTS = "the 60\nrain@@ 60\ning 60\nrain 3\n"


def word_pieces(folder, codes=CODES, counts=COUNTS, threshold=50) -> WordPieces:
    for name, content in (("bpe.codes", codes), ("bpe.vocab.txt", counts)):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return artifacts.read_pieces(folder / "bpe.codes", folder / "bpe.vocab.txt", threshold)


@pytest.mark.parametrize(
    "tokens, pieces",
    [
        ([], []),
        (["the"], ["the"]),
        (["the", "raining", "the"], ["the", "rain@@", "ing", "the"]),
        (["rain"], ["r@@", "a@@", "i@@", "n"]),  # seen 3 times only: split as far as merges go back
        (["x"], ["x"]),
        (["", "the", ""], ["the"]),
        (["é東"], ["é@@", "東"]),
    ],
)
def test_split(tmp_path, tokens, pieces):
    assert word_pieces(tmp_path).split(tokens) == pieces


@pytest.mark.parametrize("threshold, pieces", [(2, "rain@@ ing"), (3, "r@@ a@@ i@@ n@@ ing")])
def test_pieces_below_the_threshold_are_split_further(tmp_path, threshold, pieces):
    assert word_pieces(tmp_path, counts="rain@@ 2\ning 60\n", threshold=threshold).split(["raining"]) == pieces.split()


def test_windows_line_ends_are_read(tmp_path):
    pieces = word_pieces(tmp_path, CODES.replace("\n", "\r\n"), COUNTS.replace("\n", "\r\n"))
    assert pieces.split(["the", "raining"]) == ["the", "rain@@", "ing"]


def test_the_cache_is_bounded_and_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CACHED_WORDS", 50)
    pieces = word_pieces(tmp_path)
    sizes = []
    for i in range(300):
        assert pieces.split(["raining", f"the{i}"])[:2] == ["rain@@", "ing"]
        sizes.append(len(pieces.cache))
    assert 40 < max(sizes) <= 50 + 2
    assert min(sizes[60:]) < 10


def test_long_words_are_split_but_not_kept(tmp_path):
    pieces = word_pieces(tmp_path)
    assert pieces.split(["the" * 100, "raining"])[-2:] == ["rain@@", "ing"]
    assert set(pieces.cache) == {"raining"}
    assert pieces.split(["q" * CACHED_LENGTH]) and len(pieces.cache) == 2


@pytest.mark.parametrize(
    "codes, counts, file, found",
    [
        ("", COUNTS, "bpe.codes", "no pair"),
        ("#version: 0.2\n", COUNTS, "bpe.codes", "no pair"),
        ("#version: 0.2\nt h e\n", COUNTS, "bpe.codes", "no pair"),
        ("#version: 0.2\nth\n", COUNTS, "bpe.codes", "no pair"),
        ("#version: new\nt h\n", COUNTS, "bpe.codes", "new"),
        ("#version: 0.3\nt h\n", COUNTS, "bpe.codes", "0.3"),
        (b"t \xff\n", COUNTS, "bpe.codes", "utf-8"),
        (CODES, "the\n", "bpe.vocab.txt", "line 1"),
        (CODES, "the 60\n\n", "bpe.vocab.txt", "line 2"),
        (CODES, "the 60\nrain many\n", "bpe.vocab.txt", "line 2"),
        (CODES, "the -1\n", "bpe.vocab.txt", "line 1"),
        (CODES, "the 5²\n", "bpe.vocab.txt", "line 1"),
        (CODES, " 60\n", "bpe.vocab.txt", "line 1"),
        (CODES, "the " + "9" * 5000 + "\n", "bpe.vocab.txt", "digits"),
        (CODES, b"the 60\n\xff 60\n", "bpe.vocab.txt", "utf-8"),
    ],
)
def test_bad_bpe_files_are_refused(tmp_path, codes, counts, file, found):
    with pytest.raises(ArtifactError) as caught:
        word_pieces(tmp_path, codes, counts)
    assert caught.value.file == file and found in caught.value.found
