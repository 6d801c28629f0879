"""The source parser: trained on a dozen trees it parses them, and any tokens get a tree of themselves."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from handler import artifacts
from handler.language.tokenizer import tokenize
from handler.language.trees import MAX_DEPTH, PHRASES, TAGS, Tree, read_tree, words
from handler.parsing import parser as language
from handler.parsing.parser import MAX_WORDS, best_tree, nest, shape, spans_of, word_pieces
from scripts import parse
from scripts.training import parser as training
from scripts.training.parser_data import encode, make_batch, read_trees
from tests.parsing.tiny_parser import RECIPE, TREES

DEMO = Path(__file__).parents[2] / "model_store" / "demo" / "parser.safetensors"
HARD = {
    "no letters": ["12", "...", "--", "(", ")", "!", "?"],
    "one word": ["cat"],
    "one mark": ["."],
    "100 commas": [","] * 100,
    "another alphabet": ["東京", "Москва", "يوم"],
    "signs": ["🙂", "\ud800", "İ", "ﬃ", "a\u0301"],
    "brackets": ["(", "a)", "(b"],
    "long words": ["x" * 5000, "-" * 5000, "sat"],
    "marks in words": ["well-known", "n't", "U.S.", "_"],
    "capitals": ["THE", "CAT", "SAT"],
    "lower": ["the", "cat", "sat"],
}


def check(tree: Tree, tokens: list[str]) -> None:
    """A tree over exactly these tokens that the rest of the package accepts as it prints."""
    assert tree.label == "ROOT" and [leaf.word for leaf in tree.leaves()] == tokens
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        assert node.label in (PHRASES if node.children else TAGS) and (node.word is None) == bool(node.children)
        nodes += node.children
    assert read_tree(str(tree)) == tree


def test_it_parses_what_it_was_trained_on(parser):
    for text in TREES:
        assert str(parser.parse(words(read_tree(text)))) == text


@pytest.mark.parametrize("case", HARD)
def test_any_tokens_get_a_tree_of_themselves(parser, case):
    check(parser.parse(HARD[case]), HARD[case])


def test_a_long_sentence_is_parsed_in_stretches(parser):
    sentence = "The cat saw a bird .".split()
    tokens = sentence * 83 + ["Tom", "ran"]  # 500 words
    tree = parser.parse(tokens)
    check(tree, tokens)
    sizes = [len(child.leaves()) for child in tree.children]
    assert len(sizes) > 1 and max(sizes) <= MAX_WORDS
    assert all(child.leaves()[-1].word == "." for child in tree.children[:-1])  # cut where a sentence ends


def test_a_stretch_has_no_more_pieces_than_positions(parser):
    tokens = ["abcdefgh"] * 100  # eight pieces each
    assert len(word_pieces(tokens[0], parser._ids)) == 8
    check(parser.parse(tokens), tokens)


@pytest.mark.parametrize("tokens", [[], [""], ["a", ""], ["a b"], ["a\n"], ["\u00a0"]])
def test_what_no_tree_can_hold_is_refused(parser, tokens):
    with pytest.raises(ValueError):
        parser.parse(tokens)


def test_a_tree_depends_on_nothing_but_its_tokens(parser, trained):
    sentences = [words(read_tree(text)) for text in TREES] + list(HARD.values())
    alone = [parser.parse(tokens) for tokens in sentences]
    assert parser.parse_all(sentences[::-1])[::-1] == alone
    assert artifacts.load_parser(trained / "parser.safetensors", parser.precision).parse_all(sentences) == alone
    scores = [parser._scores(t, [word_pieces(token, parser._ids) for token in t])[0] for t in (sentences[0], sentences[3], sentences[0])]
    assert np.array_equal(scores[0], scores[2])


def test_the_served_parser_computes_what_the_trained_network_does(trained):
    parser = artifacts.load_parser(trained / "parser.safetensors", "fp32")
    state = torch.load(trained / "work" / "parser.pt", weights_only=True)
    settings = json.loads((trained / "work" / "corpus.json").read_text(encoding="utf-8"))
    net = training.begin(trained / "work", trained / "encoder", RECIPE)
    net.load_state_dict(state["net"])
    net.eval()
    corpus = encode(read_trees(trained / "dev.tsv"), parser._ids, settings["tags"], settings["labels"])
    for i, text in enumerate(TREES):  # in a batch of two, so that one of them is padded
        inputs, *_ = make_batch(corpus, np.array([i, 3]), RECIPE)
        with torch.no_grad():
            scores, kinds = (found.numpy() for found in net(*inputs))
        tokens = words(read_tree(text))
        ours, our_kinds = parser._scores(tokens, [word_pieces(token, parser._ids) for token in tokens])
        assert np.abs(scores[: len(ours)] - ours).max() < 0.02 * np.abs(scores).max()  # weights are rounded in the file
        assert np.abs(kinds[: len(tokens)] - our_kinds).max() < 0.02 * np.abs(kinds).max()


def test_case_is_seen(parser):
    assert shape("cat") != shape("Cat") != shape("CAT") and len({shape(w) for w in ("a", "A", "AB", "Ab", "a1", "aB", ".")}) == 6
    tokens = ["Tom", "saw", "Anna"]
    cut = [word_pieces(token, parser._ids) for token in tokens]
    assert not np.array_equal(parser._scores(tokens, cut)[1], parser._scores([token.lower() for token in tokens], cut)[1])


def test_words_are_cut_as_bert_cuts_them():
    ids = {piece: i for i, piece in enumerate(["[CLS]", "[SEP]", "[UNK]", "bird", "##s", "bi", "##rd", "-", "e", "x", "##x"])}
    names = list(ids)
    cut = lambda word: [names[i] for i in word_pieces(word, ids)]  # noqa: E731
    assert cut("Birds") == ["bird", "##s"] and cut("bird-é") == ["bird", "-", "e"] and cut("q") == cut("") == ["[UNK]"]
    assert cut("birdq-bird") == ["[UNK]", "-", "bird"]
    assert cut("x" * 300) == ["x"] + ["##x"] * 7


def slow_best(labels, margins, begin, end, top=True):
    """The best sum and constituents of a span by trying every tree."""
    gain = margins[begin, end] if top else max(margins[begin, end], 0)
    own = [(begin, end, int(labels[begin, end]))] if top or margins[begin, end] > 0 else []
    if end - begin == 1:
        return gain, own
    halves = [(slow_best(labels, margins, begin, k, False), slow_best(labels, margins, k, end, False)) for k in range(begin + 1, end)]
    (a, left), (b, right) = max(halves, key=lambda pair: pair[0][0] + pair[1][0])
    return gain + a + b, own + left + right


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_best_tree_is_found(n):
    rng = np.random.default_rng(n)
    for _ in range(20):
        labels, margins = rng.integers(1, 9, (n, n + 1)), rng.normal(-0.5, 1, (n, n + 1)).astype(np.float32)
        assert sorted(best_tree(labels, margins)) == sorted(slow_best(labels, margins, 0, n)[1])


def test_constituents_are_nested_in_order_and_not_too_deep():
    leaves = lambda: [Tree("NN", [], word) for word in "abcd"]  # noqa: E731
    [tree] = nest(leaves(), [(0, 4, ["S", "VP"]), (0, 2, ["NP"]), (1, 2, ["QP"]), (2, 3, ["PP"])])
    assert str(tree) == "(S (VP (NP (NN a) (QP (NN b))) (PP (NN c)) (NN d)))"
    deep = Tree("ROOT", nest(leaves(), [(0, 4, ["S"] * 70), (0, 3, ["NP"] * 28), (0, 2, ["VP"]), (2, 3, ["PP"])]))
    assert deep.depth() == MAX_DEPTH and read_tree(str(deep)) == deep and "VP" not in str(deep)


def test_sentences_are_parsed_from_the_command_line(trained, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("The cat sat.\n\nShe wants to see it.\n", encoding="utf-8")
    assert parse.main([str(tmp_path / "in.txt"), "--artifact", str(trained / "parser.safetensors")]) == 0
    assert capsys.readouterr().out == f"The cat sat.\t{TREES[0]}\nShe wants to see it.\t{TREES[4]}\n"


def test_sentences_are_parsed_from_standard_input_by_an_artifact(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfThe  cat sat.\r\n\n")))
    shutil.copy(trained / "parser.safetensors", tmp_path)
    assert parse.main(["-", "--artifact", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"The cat sat.\t{TREES[0]}\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b" \n")))
    assert parse.main(["-", "--artifact", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "There is no sentence in standard input.\n"


def test_every_span_is_scored():
    begins, ends = spans_of(3)
    assert list(zip(begins.tolist(), ends.tolist())) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


@pytest.mark.skipif(not DEMO.is_file(), reason="there is no model_store/demo/parser.safetensors")
@pytest.mark.parametrize(
    "sentence, expected",
    [
        (
            "The little girl didn't read the book.",
            "(ROOT (S (NP (DT The) (JJ little) (NN girl)) (VP (VBD did) (RB n't) (VP (VB read) (NP (DT the) (NN book)))) (. .)))",
        ),
        ("where does he live?", "(ROOT (SBARQ (WHADVP (WRB where)) (SQ (VBZ does) (NP (PRP he)) (VP (VB live))) (. ?)))"),
        (
            "two dogs are running through the snow",
            "(ROOT (S (NP (CD two) (NNS dogs)) (VP (VBP are) (VP (VBG running) (PP (IN through) (NP (DT the) (NN snow)))))))",
        ),
    ],
)
def test_the_shipped_parser(sentence, expected):
    assert str(artifacts.load_parser(DEMO).parse(tokenize(sentence))) == expected


@pytest.mark.skipif(not DEMO.is_file(), reason="there is no model_store/demo/parser.safetensors")
def test_the_shipped_parser_is_small_and_reads_anything():
    assert DEMO.stat().st_size <= 10_000_000
    parser = artifacts.load_parser(DEMO)
    for tokens in HARD.values():
        check(parser.parse(tokens), tokens)
    tokens = "This is a sentence of six words".split() * 70
    check(parser.parse(tokens), tokens)


def test_the_list_of_precisions_is_complete():
    assert language.PRECISIONS == ("fp32", "int8")
