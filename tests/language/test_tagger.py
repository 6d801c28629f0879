"""The tagger: it learns a dozen trees, its file loads again, and a broken file is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from handler import artifacts
from handler.errors import ArtifactError
from handler.language.tagger import START, history, normalize, places, shape
from handler.language.tokenizer import tokenize
from handler.language.trees import TAGS, read_tree, tags, words
from scripts import train_tagger
from scripts.common.paths import DEMO as ARTIFACT
from scripts.common.paths import ROOT
from scripts.training import tagger as training

DEMO = ARTIFACT / "tagger.safetensors"
TREES = """(ROOT (S (NP (DT The) (NN cat)) (VP (VBD sat)) (. .)))
(ROOT (S (NP (DT The) (NN dog)) (VP (VBD ran)) (. .)))
(ROOT (S (NP (DT A) (NN dog)) (VP (VBD saw) (NP (DT the) (NN cat))) (. .)))
(ROOT (S (NP (NNP Anna)) (VP (VBD saw) (NP (DT a) (NN bird))) (. .)))
(ROOT (S (NP (PRP She)) (VP (VBZ sees) (NP (PRP it))) (. .)))
(ROOT (S (NP (PRP He)) (VP (VBZ likes) (NP (DT the) (JJ old) (NN bird))) (. .)))
(ROOT (SQ (VBD Did) (NP (PRP he)) (VP (VB see) (NP (DT the) (NN dog))) (. ?)))
(ROOT (SQ (VBD Did) (NP (DT the) (NN cat)) (VP (VB run)) (. ?)))
(ROOT (S (NP (DT The) (JJ old) (NN cat)) (VP (VBD ran) (ADVP (RB away))) (. .)))
(ROOT (S (NP (NNP Tom)) (VP (VBD ran) (PP (TO to) (NP (DT the) (NN dog)))) (. .)))
(ROOT (S (`` ") (NP (PRP It)) (VP (VBZ runs)) ('' ") (. .)))
(ROOT (S (NP (CD 12) (NNS birds)) (VP (VBD sat) (PRT (RP down))) (. .)))""".splitlines()
HARD_WORDS = ["", " ", "\n", "-", "--", "x" * 5000, "Ünïcödé", "東京", "١٢", "🙂", "a-", "-a", "'s", "``", "(", "İ", "\ud800"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder with a corpus and the tagger trained on it from the command line, and what that printed."""
    folder = tmp_path_factory.mktemp("tagger")
    for name, source in ("train", "hand"), ("dev", "hand"), ("bare", None):
        lines = ["\t".join([" ".join(words(read_tree(tree))), tree, *([source] if source else [])]) for tree in TREES]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert run(folder, "tagger.safetensors") == 0
    return folder


def run(folder, out, train="train.tsv", *options):
    return train_tagger.main(
        [
            str(folder / out),
            "--train",
            str(folder / train),
            "--dev",
            str(folder / "dev.tsv"),
            "--weights",
            "hand=2",
            "--gold",
            "hand",
            "--epochs",
            "8",
            "--prune",
            "0.1",
            *options,
        ]
    )


@pytest.fixture
def tagger(trained):
    return artifacts.load_tagger(trained / "tagger.safetensors")


@pytest.mark.parametrize("lower", [False, True])
def test_it_tags_what_it_was_trained_on(tagger, lower):
    for tree in map(read_tree, TREES):
        tokens = [word.lower() for word in words(tree)] if lower else words(tree)
        assert tagger.tag(tokens) == tags(tree)


def test_opening_and_closing_quotes_differ(tagger):
    assert [tag for tag in tagger.tag(list('" It runs " .'.split())) if tag in ("``", "''")] == ["``", "''"]


def test_no_tokens_no_tags(tagger):
    assert tagger.tag([]) == []


def test_any_word_gets_a_known_tag(tagger):
    found = tagger.tag(HARD_WORDS)
    assert len(found) == len(HARD_WORDS) and set(found) <= TAGS
    assert all(len(tagger.tag([word])) == 1 for word in HARD_WORDS)


def test_tagging_depends_on_nothing_but_the_tokens(tagger, trained):
    sentence = "The old zebra saw Tom .".split()
    first = tagger.tag(sentence)
    tagger.tag(HARD_WORDS)
    assert tagger.tag(sentence) == first == artifacts.load_tagger(trained / "tagger.safetensors").tag(sentence)


def test_training_is_deterministic(trained):
    assert run(trained, "again.safetensors") == 0
    assert (trained / "again.safetensors").read_bytes() == (trained / "tagger.safetensors").read_bytes()


def test_the_served_tagger_answers_as_the_trained_perceptron(trained):
    """The features, the history and the rounding are those of training: nltk's own `tag` says the same."""
    sentences = training.read_sentences(trained / "train.tsv")
    recipe = training.Recipe({}, 0, ("hand",), 8, 1, prune=0.0, min_feature=1, min_word=1, min_certain=2)
    trainer, lexicon = training.train(sentences, recipe, say=lambda text: None)
    training.save(trained / "whole.safetensors", trainer, lexicon, recipe.prune)
    served = artifacts.load_tagger(trained / "whole.safetensors")
    assert served.certain
    for sentence in "The old zebra saw Tom .".split(), "did anna run to 12 dogs ?".split(), ["cat"]:
        tokens = []
        for text, place in zip(sentence, places(sentence, lexicon)):
            tokens.append(training.Word(text))
            tokens[-1].place = place
        assert served.tag(sentence) == [tag for _, tag in trainer.tag(tokens)]


def test_the_record_says_what_was_measured(trained, capsys):
    assert run(trained, "bare.safetensors", "bare.tsv") == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((trained / "bare.record.json").read_text(encoding="utf-8"))
    assert record["data"]["train"]["file"] == "bare.tsv" and len(record["data"]["train"]["sha256"]) == 64
    assert record["accuracy"]["dev"]["cased"] == {"words": 62, "accuracy": 100.0, "names_as_nouns": 100.0}
    assert record["size"]["bytes"] == (trained / "bare.safetensors").stat().st_size


def test_training_refuses_what_it_cannot_use(trained, capsys):
    (trained / "empty.tsv").write_text("no parse here\n", encoding="utf-8")
    for train, options in ("absent.tsv", ()), ("empty.tsv", ()), ("bare.tsv", ("--gold-only",)):
        assert run(trained, "never.safetensors", train, *options) == 1
        assert train in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(trained, "never.safetensors", "train.tsv", "--weights", "hand=0")
    assert not (trained / "never.safetensors").exists()


@pytest.mark.parametrize(
    "word, expected",
    [
        ("cat", "l"),
        ("CAT", "A"),
        ("I", "a"),
        ("Cat", "T"),
        ("12", "d"),
        (",", "."),
        ("", "."),
        ("iPod", "x"),
        ("McDonald", "T"),
        ("東京", "."),
    ],
)
def test_shapes(word, expected):
    assert shape(word) == expected


def test_features_see_neighbours_classes_and_tags():
    first, second = places(["Two", "U-2s"], {"two": "CD", normalize("U-2s"): "NNS|NN"})
    assert {"w=two", "n1=u-0s", "p1=<", "l=T0c", "c=CD", "cn=NNS|NN"} <= set(first.features)
    assert {"p1=two", "n1=>", "h=0s", "u=a-0a"} <= set(second.features)
    assert "l=ln" not in first.features and places(["two"], {})[0].features[16] == "l=l0n"
    assert history(first.anchors, *START)[:3] == ["t1=-START-", "t2=-START2-", "tt=-START- -START2-"]
    assert "tw=two -START-" in history(first.anchors, *START)


def spoil(trained, tmp_path, change, header=None):
    arrays = load_file(trained / "tagger.safetensors")
    labels = artifacts.load_tagger(trained / "tagger.safetensors").labels
    file = tmp_path / "spoiled.safetensors"
    save_file(
        {name: np.ascontiguousarray(a) for name, a in {**arrays, **change(arrays)}.items() if a is not None},
        file,
        {"tagger": json.dumps({"format": 1, "tags": labels} if header is None else header)},
    )
    return file


def text(value):
    return np.frombuffer(value, np.uint8)


@pytest.mark.parametrize(
    "change, found",
    [
        (lambda a: {"weights": None}, "the arrays"),
        (lambda a: {"more": a["tags"]}, "the arrays"),
        (lambda a: {"weights": a["weights"].astype(np.float32)}, "float32"),
        (lambda a: {"weights": a["weights"][None]}, "2-dimensional"),
        (lambda a: {"weights": a["weights"][:-1]}, "tags and weights"),
        (lambda a: {"tags": a["tags"][:-1]}, "tags and weights"),
        (lambda a: {"tags": a["tags"] + 100}, "tags below"),
        (lambda a: {"counts": a["counts"][:-1]}, "a count for each"),
        (lambda a: {"counts": a["counts"] + 1}, "tags and weights"),
        (lambda a: {"features": text(b"\n".join([b"b"] * len(a["counts"])))}, "distinct"),
        (lambda a: {"features": a["features"] | 0x80}, "UTF-8"),
        (lambda a: {"lexicon": text(b"one two three")}, "two words a line"),
        (lambda a: {"certain": text(b"the")}, "two words a line"),
        (lambda a: {"certain": text(b"the NP")}, "NP"),
    ],
)
def test_a_broken_file_is_refused(trained, tmp_path, change, found):
    with pytest.raises(ArtifactError, match="spoiled.safetensors: expected .*" + found):
        artifacts.load_tagger(spoil(trained, tmp_path, change))


@pytest.mark.parametrize(
    "header",
    [
        [],
        {},
        {"format": 2, "tags": ["NN"]},
        {"format": 1},
        {"format": 1, "tags": []},
        {"format": 1, "tags": ["NN", "NN"]},
        {"format": 1, "tags": ["NN", "NP"]},
        {"format": 1, "tags": ["NN", ["VB"]]},
        {"format": 1, "tags": "NN"},
    ],
)
def test_a_foreign_header_is_refused(trained, tmp_path, header):
    with pytest.raises(ArtifactError, match="spoiled.safetensors: expected (a tagger|distinct)"):
        artifacts.load_tagger(spoil(trained, tmp_path, lambda a: {}, header))


def test_a_file_that_is_none_is_refused(trained, tmp_path):
    with pytest.raises(ArtifactError, match="found none"):
        artifacts.load_tagger(tmp_path / "absent.safetensors")
    whole = (trained / "tagger.safetensors").read_bytes()
    for content in b"", b"{}", whole[: len(whole) // 2]:
        (tmp_path / "cut.safetensors").write_bytes(content)
        with pytest.raises(ArtifactError, match="cut.safetensors"):
            artifacts.load_tagger(tmp_path / "cut.safetensors")
    save_file({}, tmp_path / "bare.safetensors")  # no metadata
    with pytest.raises(ArtifactError, match="format 1"):
        artifacts.load_tagger(tmp_path / "bare.safetensors")
    save_file({}, tmp_path / "bare.safetensors", {"tagger": "{"})
    with pytest.raises(ArtifactError, match="bare.safetensors"):
        artifacts.load_tagger(tmp_path / "bare.safetensors")


def test_serving_imports_no_nltk_and_no_torch():
    code = "import sys, handler.language.tagger; print(sorted({'nltk', 'torch'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout == "[]\n"


@pytest.mark.skipif(not DEMO.is_file(), reason="there is no model_store/demo/tagger.safetensors")
@pytest.mark.parametrize(
    "sentence, expected",
    [
        ("The little girl didn't read Anna's book.", "DT JJ NN VBD RB VB NNP POS NN ."),
        ("the little girl didn't read the book.", "DT JJ NN VBD RB VB DT NN ."),
        ("Where does he live?", "WRB VBZ PRP VB ."),
        ("where does he live?", "WRB VBZ PRP VB ."),
        ("i want to go for a picnic.", "PRP VBP TO VB IN DT NN ."),
        ("Two dogs are running through the snow (quickly).", "CD NNS VBP VBG IN DT NN -LRB- RB -RRB- ."),
        ("contains no wit , only labored gags", "VBZ DT NN , RB JJ NNS"),
    ],
)
def test_the_shipped_tagger(sentence, expected):
    tokens = tokenize(sentence)
    tagger = artifacts.load_tagger(DEMO)
    assert len(tagger.tag(tokens)) == len(tokens)
    assert tagger.tag(tokens) == expected.split()


@pytest.mark.skipif(not DEMO.is_file(), reason="there is no model_store/demo/tagger.safetensors")
def test_the_shipped_tagger_is_small():
    assert DEMO.stat().st_size < 15_000_000 and set(artifacts.load_tagger(DEMO).labels) <= TAGS
