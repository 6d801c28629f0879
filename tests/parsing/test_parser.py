"""The source parser: trained on a dozen trees it parses them, any tokens get a tree of themselves, nothing broken is served."""

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from handler import artifacts
from handler.errors import ArtifactError
from handler.language.tokenizer import tokenize
from handler.language.trees import MAX_DEPTH, PHRASES, TAGS, Tree, read_tree, words
from handler.parsing import parser as language
from handler.parsing.parser import MAX_WORDS, best_tree, nest, shape, spans_of, word_pieces
from scripts import parse, train_parser
from scripts.training import parser as training
from scripts.training.parser_data import Recipe, encode, make_batch, plan, read_trees
from scripts.training.parser_scores import score
from tests.factories import tiny_artifact

DEMO = Path(__file__).parents[2] / "model_store" / "demo" / "parser.safetensors"
TREES = """(ROOT (S (NP (DT The) (NN cat)) (VP (VBD sat)) (. .)))
(ROOT (S (NP (DT The) (NN dog)) (VP (VBD ran)) (. .)))
(ROOT (S (NP (DT A) (NN dog)) (VP (VBD saw) (NP (DT the) (NN cat))) (. .)))
(ROOT (S (NP (NNP Anna)) (VP (VBD saw) (NP (NP (DT a) (NN bird)) (PP (IN with) (NP (DT a) (NN dog))))) (. .)))
(ROOT (S (NP (PRP She)) (VP (VBZ wants) (S (VP (TO to) (VP (VB see) (NP (PRP it)))))) (. .)))
(ROOT (S (NP (PRP He)) (VP (VBZ likes) (NP (DT the) (JJ old) (NN bird))) (. .)))
(ROOT (SQ (VBD Did) (NP (PRP he)) (VP (VB see) (NP (DT the) (NN dog))) (. ?)))
(ROOT (SBARQ (WHADVP (WRB Why)) (SQ (VBD did) (NP (DT the) (NN cat)) (VP (VB run))) (. ?)))
(ROOT (S (NP (DT The) (JJ old) (NN cat)) (VP (VBD ran) (ADVP (RB away))) (. .)))
(ROOT (S (NP (NNP Tom)) (VP (VBD ran) (PP (TO to) (NP (DT the) (NN dog)))) (. .)))
(ROOT (INTJ (UH Oh) (. !)))
(ROOT (S (S (NP (CD 12) (NNS birds)) (VP (VBD sat))) (CC and) (S (NP (NNP Tom)) (VP (VBD ran))) (. .)))""".splitlines()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *LETTERS,
    *"0123456789.,?!'\"()-",
    *(f"##{c}" for c in LETTERS),
    *"the cat dog bird saw see ran sat want like old did why away anna tom".split(),
]
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


def random_encoder(folder: Path, width: int = 64, inner: int = 96, layers: int = 3) -> Path:
    """A BERT as its makers publish it, a tiny one of random weights."""
    folder.mkdir()
    make = torch.Generator().manual_seed(0)
    normal = lambda *form: torch.randn(*form, generator=make) * 0.1  # noqa: E731
    tensors = {
        "embeddings.word_embeddings.weight": normal(len(PIECES), width) * 10,
        "embeddings.position_embeddings.weight": normal(512, width),
        "embeddings.token_type_embeddings.weight": normal(2, width),
        "embeddings.LayerNorm.weight": torch.ones(width),
        "embeddings.LayerNorm.bias": torch.zeros(width),
    }
    linear = {
        **{f"attention.self.{name}": (width, width) for name in ("query", "key", "value")},
        "attention.output.dense": (width, width),
        "intermediate.dense": (inner, width),
        "output.dense": (width, inner),
    }
    for layer in (f"encoder.layer.{i}." for i in range(layers)):
        for name, form in linear.items():
            tensors |= {f"{layer}{name}.weight": normal(*form), f"{layer}{name}.bias": normal(form[0])}
        for name in "attention.output.LayerNorm", "output.LayerNorm":
            tensors |= {f"{layer}{name}.weight": torch.ones(width), f"{layer}{name}.bias": torch.zeros(width)}
    save_torch(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": 4, "intermediate_size": inner}), encoding="utf-8")
    vocabulary = {"model": {"vocab": {piece: i for i, piece in enumerate(PIECES)}}}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    return folder


RECIPE = Recipe(
    weights={"hand": 2},
    epochs=60,
    layers=2,
    hidden=64,
    min_chain=1,
    rate=3e-3,
    new_rate=3e-3,
    warmup=10,
    dropout=0.0,
    word_dropout=0.0,
    lower=0.3,
    no_stop=0.0,
    batch=200,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a corpus, an encoder, what training on them left in `work`, and the parser it wrote."""
    folder = tmp_path_factory.mktemp("parser")
    random_encoder(folder / "encoder")
    for name in "train", "dev":
        lines = ["\t".join([" ".join(words(read_tree(tree))), tree, "hand"]) for tree in TREES]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    said = []
    training.train(folder / "work", files(folder), folder / "encoder", RECIPE, say=said.append)
    (folder / "said").write_text("\n".join(said), encoding="utf-8")
    training.export(folder / "work", folder / "parser.safetensors")
    return folder


def files(folder):
    return {name: folder / f"{name}.tsv" for name in ("train", "dev")}


@pytest.fixture(params=["fp32", "int8"])
def parser(trained, request):
    return artifacts.load_parser(trained / "parser.safetensors", request.param)


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


def test_training_says_where_it_is_and_goes_on(trained, tmp_path):
    said = (trained / "said").read_text(encoding="utf-8").splitlines()
    assert "12 trees of train" in said[0] and "min left" in said[2] and "loss" in said[2]
    work, lines = tmp_path / "work", []
    half = replace(RECIPE, epochs=2)
    once = tmp_path / "once"
    training.train(once, files(trained), trained / "encoder", half)
    training.prepare(work, files(trained), trained / "encoder", half)
    interrupted = training.Training(work, trained / "encoder", half)
    interrupted.run(lines.append, stop=3)
    assert interrupted.step == 3
    training.train(work, files(trained), trained / "encoder", half, say=lines.append)
    a, b = (torch.load(folder / "parser.pt", weights_only=True)["net"] for folder in (once, work))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_training_waits_while_it_is_asked_to(trained, tmp_path, monkeypatch):
    pause, slept = tmp_path / "QUIET", []
    pause.touch()
    monkeypatch.setattr(training.time, "sleep", lambda seconds: slept.append(seconds) if len(slept) < 3 else pause.unlink())
    training.Training(trained / "work", trained / "encoder", RECIPE, pause).wait()
    assert len(slept) == 3 and not pause.exists()


def test_a_hurried_training_ends_by_the_clock(trained, tmp_path, monkeypatch):
    work, now = tmp_path / "work", [1000.0]
    training.prepare(work, files(trained), trained / "encoder", RECIPE, say=lambda text: None)
    hurried = training.Training(work, trained / "encoder", RECIPE, minutes=10)
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    assert hurried.left(100) == 1.0
    now[0] += 300
    assert hurried.left(100) == 0.5
    hurried.step = 80
    assert hurried.left(100) == 0.2  # never behind the steps
    now[0] += 300
    hurried.run(lambda text: None)
    assert hurried.step == 80 and hurried.hurries == [[0, 10]]


def small_corpus(trained):
    settings = json.loads((trained / "work" / "corpus.json").read_text(encoding="utf-8"))
    ids = {piece: i for i, piece in enumerate(settings["pieces"])}
    return encode(read_trees(trained / "train.tsv"), ids, settings["tags"], settings["labels"])


def test_an_epoch_has_the_copies_of_the_recipe(trained):
    corpus = small_corpus(trained)
    one, two = (plan(corpus, replace(RECIPE, weights={"hand": 2.5}, batch=40), epoch) for epoch in (0, 1))
    counts = np.bincount(np.concatenate(one))
    assert counts.sum() == 30 and set(counts) == {2, 3} and [b.tolist() for b in one] != [b.tolist() for b in two]
    sizes = corpus.piece_counts() + 2
    assert max(sizes[batch].max() * len(batch) for batch in one if len(batch) > 1) <= 40


def test_some_sentences_are_read_in_lower_case_and_without_their_final_mark(trained):
    corpus, all_of_it = small_corpus(trained), np.arange(12)
    plain, changed = (
        make_batch(corpus, all_of_it, replace(RECIPE, lower=1.0, no_stop=share), np.random.default_rng(0)) for share in (0, 1)
    )
    sizes = np.array([len(words(read_tree(text))) for text in TREES])
    assert plain[3].tolist() == sizes.tolist()
    assert changed[3].tolist() == [n - (n > 3) for n in sizes.tolist()]  # all end in a mark; what is left of `Oh !` is too little
    assert not set(changed[0][1].ravel().tolist()) & {shape("Tom"), shape("A")}
    first = changed[1][:6]  # the spans of "The cat sat": the sentence is S and the last word VP
    names = json.loads((trained / "work" / "corpus.json").read_text(encoding="utf-8"))["labels"]
    assert [names[label] for label in first] == ["", "NP", "S", "", "", "VP"]


def test_the_command_measures_and_records(trained, capsys):
    out = trained / "measured.safetensors"
    dev = str(trained / "dev.tsv")
    assert train_parser.main([str(trained / "work"), "--export", str(out), "--dev", dev, "--test", dev]) == 0
    record = json.loads(out.with_suffix(".record.json").read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out)["test"] == record["test"]
    assert record["test"]["hand"] == {"sentences": 12, "f1": 100.0, "exact": 100.0, "words": 67, "tags": 100.0}
    assert record["bytes"] == out.stat().st_size and len(record["data"]["train"]["sha256"]) == len(record["encoder"]["sha256"]) == 64
    assert out.read_bytes() == (trained / "parser.safetensors").read_bytes()


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "No such file or directory"),
        ("", "expected parses, found none that can be read; the file is empty"),
        ("x\t(ROOT (FOO x))\n", "expected parses, found none that can be read; train.tsv:1: label 2 of the tree .*"),
        ("x\t(ROOT (S (NP )))\n", "expected parses, found none that can be read; no tree has a word at each leaf"),
    ],
)
def test_the_command_refuses_what_it_cannot_use(trained, tmp_path, capsys, content, said):
    train = tmp_path / "train.tsv"
    if content is not None:
        train.write_text(content, encoding="utf-8")
    more = ["--dev", str(trained / "dev.tsv"), "--encoder", str(trained / "encoder")]
    assert train_parser.main([str(tmp_path / "w"), "--train", str(train), *more]) == 1
    assert re.fullmatch(rf".*train\.tsv: {said}\.\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("tokenizer.json", b"", "tokenizer.json has no vocabulary of word pieces"),
        (
            "tokenizer.json",
            b'{"model": {"vocab": {"a": 0}}}',
            "model.safetensors has no embeddings.word_embeddings.weight of 1 word pieces",
        ),
        ("model.safetensors", b"", "A file of tensors could not be read or written: .*"),
    ],
)
def test_a_broken_encoder_is_refused(trained, tmp_path, capsys, name, content, said):
    shutil.copytree(trained / "encoder", tmp_path / "encoder")
    (tmp_path / "encoder" / name).write_bytes(content)
    data = str(trained / "dev.tsv")
    assert train_parser.main([str(tmp_path / "w"), "--train", data, "--dev", data, "--encoder", str(tmp_path / "encoder")]) == 1
    assert re.search(rf"{said}\.\n$", capsys.readouterr().err)


def test_the_command_says_how_it_is_called(tmp_path, capsys):
    for more, said in (
        ([], "give --train or --export"),
        (["--train", "x"], "--train needs --dev and --encoder"),
        (["--train", "x", "--dev", "x", "--encoder", "x", "--test", "x"], "--test needs --export"),
    ):
        with pytest.raises(SystemExit):
            train_parser.main([str(tmp_path / "w"), *more])
        assert said in capsys.readouterr().err


def test_a_damaged_checkpoint_is_one_sentence(trained, tmp_path, capsys):
    work = shutil.copytree(trained / "work", tmp_path / "work")
    data = bytearray((work / "parser.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (work / "parser.pt").write_bytes(data)
    arguments = [
        str(work),
        "--train",
        str(trained / "train.tsv"),
        "--dev",
        str(trained / "train.tsv"),
        "--encoder",
        str(trained / "encoder"),
    ]
    for command in arguments, [str(work), "--export", str(tmp_path / "p.safetensors")]:
        assert train_parser.main(command) == 1
        assert re.fullmatch(
            r"\S+/parser\.pt cannot be continued from: .*; remove it to train from the beginning\.\n", capsys.readouterr().err
        )


def test_an_exported_parser_is_part_of_its_artifact(trained, tmp_path):
    folder = tiny_artifact(tmp_path / "artifact")
    assert train_parser.main([str(trained / "work"), "--export", str(folder / "parser.safetensors")]) == 0
    assert "parser.safetensors" in artifacts.members(folder)


def test_figures_are_of_brackets_without_root_and_tags(trained):
    class Fixed:
        def parse(self, tokens):
            return read_tree("(ROOT (S (NP (DT the) (JJ cat)) (VP (VBD sat))))")

    found = score(Fixed(), [(read_tree("(ROOT (S (NP (NP (DT the)) (NN cat)) (VP (VBD sat))))"), "x")])
    assert found["all"] == found["x"] == {"sentences": 1, "f1": 85.71, "exact": 0.0, "words": 3, "tags": 66.67}


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


def spoil(trained, tmp_path, change, header=None):
    arrays = load_file(trained / "parser.safetensors")
    parser = artifacts.load_parser(trained / "parser.safetensors")
    whole = {"format": 1, "layers": 2, "heads": 4, "tags": parser.tags, "labels": [" ".join(chain) for chain in parser.chains]}
    file = tmp_path / "spoiled.safetensors"
    save_file(
        {name: np.ascontiguousarray(a) for name, a in {**arrays, **change(arrays)}.items() if a is not None},
        file,
        {"parser": json.dumps({**whole, **header} if isinstance(header, dict) else whole if header is None else header)},
    )
    return file


def with_piece(pieces, old, new):
    return np.frombuffer(pieces.tobytes().replace(old, new), np.uint8)


@pytest.mark.parametrize(
    "change, found",
    [
        (lambda a: {"tags.bias": None}, "tags.bias missing"),
        (lambda a: {"more": a["tags.bias"]}, "more unknown"),
        (lambda a: {"tags.weight": a["tags.weight"].astype(np.float32)}, "float32"),
        (lambda a: {"tags.weight": a["tags.weight"][:-1]}, "tags.weight of int8"),
        (lambda a: {"labels.scale": a["labels.scale"][:-1]}, "labels.scale"),
        (lambda a: {"0.up.weight": a["0.up.weight"][:-1]}, "0.up.scale|0.down.weight"),
        (lambda a: {"left.weight": a["left.weight"][:-1]}, "left.scale|right.weight"),
        (lambda a: {"embedding": a["embedding"][:, :-1]}, "embedding of uint8"),
        (lambda a: {"embedding": a["embedding"][:-1]}, "embedding.scale"),
        (lambda a: {"shape": a["shape"][:-1]}, "shape of float16"),
        (lambda a: {"shape": a["shape"][:, :-1]}, "a width"),
        (lambda a: {"shape": None}, "a width"),
        (lambda a: {"position": a["position"][:9]}, "positions"),
        (lambda a: {"norm.gain": a["norm.gain"] * np.float16("nan")}, "not-a-number"),
        (lambda a: {"norm.gain": a["norm.gain"][None]}, "norm.gain of float16"),
        (lambda a: {"pieces": a["pieces"] | 0x80}, "UTF-8"),
        (lambda a: {"pieces": with_piece(a["pieces"], b"\ncat\n", b"\n")}, "distinct pieces"),
        (lambda a: {"pieces": with_piece(a["pieces"], b"cat", b"dog")}, "distinct pieces"),
        (lambda a: {"pieces": with_piece(a["pieces"], b"[SEP]", b"[PAD]")}, "begin with"),
    ],
)
def test_a_broken_file_is_refused(trained, tmp_path, change, found):
    with pytest.raises(ArtifactError, match=f"spoiled.safetensors: expected .*({found})"):
        artifacts.load_parser(spoil(trained, tmp_path, change))


@pytest.mark.parametrize(
    "header, found",
    [
        ([], "format 1"),
        ({"format": 2}, "format 1"),
        ({"more": 1}, "the keys"),
        ({"layers": 0}, "layers"),
        ({"layers": 3}, "2.down"),
        ({"layers": True}, "layers"),
        ({"heads": "4"}, "heads"),
        ({"heads": 5}, "5 heads"),
        ({"tags": ["NN", "NN"]}, "distinct tags"),
        ({"tags": ["NP"]}, "part-of-speech"),
        ({"tags": []}, "part-of-speech"),
        ({"tags": "NN"}, "distinct tags"),
        ({"tags": ["NN", "VB"]}, "tags.weight"),
        ({"labels": []}, "labels"),
        ({"labels": [""]}, "labels"),
        ({"labels": ["NP"]}, "labels"),
        ({"labels": ["", "NN"]}, "labels"),
        ({"labels": ["", "S  VP"]}, "labels"),
        ({"labels": ["", "ROOT"]}, "labels"),
        ({"labels": ["", "NP", ""]}, "distinct labels"),
        ({"labels": ["", "NP"]}, "labels.weight"),
    ],
)
def test_a_foreign_header_is_refused(trained, tmp_path, header, found):
    with pytest.raises(ArtifactError, match=f"spoiled.safetensors: expected .*{found}"):
        artifacts.load_parser(spoil(trained, tmp_path, lambda a: {}, header))


def test_a_file_that_is_none_is_refused(trained, tmp_path):
    with pytest.raises(ArtifactError, match="found none"):
        artifacts.load_parser(tmp_path / "absent.safetensors")
    whole = (trained / "parser.safetensors").read_bytes()
    for content in b"", b"{}", whole[: len(whole) // 2]:
        (tmp_path / "cut.safetensors").write_bytes(content)
        with pytest.raises(ArtifactError, match="cut.safetensors"):
            artifacts.load_parser(tmp_path / "cut.safetensors")
    for metadata in None, {"parser": "{"}:
        save_file({}, tmp_path / "bare.safetensors", metadata)
        with pytest.raises(ArtifactError, match="bare.safetensors"):
            artifacts.load_parser(tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="precision"):
        artifacts.load_parser(trained / "parser.safetensors", "int4")


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
