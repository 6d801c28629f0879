"""The evaluation: its figures on texts with known figures, and the command from files to table."""

import json

import pytest

from handler import artifacts
from handler.language.tagger import Tagger
from scripts import evaluate
from scripts.training import evaluation
from tests.factories import RAIN, tiny_artifact

PASSIVE = (
    "The dog was seen by it .",
    "It saw the dog .",
    "(ROOT (S (NP (DT The) (NN dog)) (VP (VBD was) (VP (VBN seen) (PP (IN by) (NP (PRP it))))) (. .)))",
    "(ROOT (S (NP (PRP It)) (VP (VBD saw) (NP (DT the) (NN dog))) (. .)))",
)


def test_bleu_of_the_same_and_of_others():
    pytest.importorskip("nltk")
    pytest.importorskip("sacrebleu")
    same = evaluation.bleu(["a b c d e"], ["a b c d e"])
    assert same["bleu_authors"] == pytest.approx(100) and same["bleu_corpus"] == pytest.approx(100)
    half = evaluation.bleu(["a b c d e", "x y z x y"], ["a b c d e", "a b c d e"])
    assert half["bleu_authors"] == pytest.approx(50, abs=0.01)  # a mean of sentences
    brief = evaluation.bleu(["a b c d"], ["a b c d e f g h"])
    assert brief["bleu_authors"] == pytest.approx(100 * 2.718281828 ** (1 - 8 / 4), abs=0.01)  # the brevity penalty alone


def test_wording():
    source = [("the", "DT"), ("dog", "NN"), ("barked", "VBD"), (".", ".")]
    assert evaluation.wording(["the dog barked ."], [source]) == {"content_kept": 100, "repeated": 0}
    assert evaluation.wording(["a dog dog dog"], [source]) == {"content_kept": 50, "repeated": 50}
    assert evaluation.wording(["the the"], [[("the", "DT"), ("the", "DT")]])["repeated"] == 0


def test_copying_and_following():
    pytest.importorskip("sacrebleu")
    source = [("a", "DT"), ("b", "NN"), ("c", "VBZ"), ("d", "NN")]
    assert evaluation.copied(["a b c d"], [source])["bleu_source"] == pytest.approx(100)
    assert evaluation.copied(["w x y z"], [source])["bleu_source"] < 1
    tagger = Tagger(["NN"], [], [], b"", [], {}, {"the": "DT", "a": "DT"})
    asked = ["DT", "NN"]
    assert evaluation.following(tagger, ["the dog", "the a"], [asked, asked]) == {"tags_followed": 75}
    for text in ("the dog barks on", "the"):
        assert evaluation.following(tagger, [text], [asked]) == {"tags_followed": 50}


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.slow
def test_from_files_to_a_table(tmp_path, capsys, monkeypatch, tagged):
    pytest.importorskip("nltk")
    pytest.importorskip("sacrebleu")
    tiny_artifact(tmp_path / "artifact")
    if tagged:
        (tmp_path / "artifact" / artifacts.TAGGER).touch()
        artifacts.write_manifest(tmp_path / "artifact")
        monkeypatch.setattr(artifacts, "load_tagger", lambda file: Tagger(["NN"], [], [], b"", [], {}, {}))
    (tmp_path / "rebuild.tsv").write_text(f"{RAIN['sent']}\t{RAIN['synt']}\tsource\n" * 3, encoding="utf-8")
    (tmp_path / "pairs.tsv").write_text("\t".join(PASSIVE) + "\n" + "\t".join((*PASSIVE[:3], "")) + "\n", encoding="utf-8")
    assert (
        evaluate.main(
            [
                str(tmp_path / "artifact"),
                "--rebuild",
                str(tmp_path / "rebuild.tsv"),
                "--pairs",
                str(tmp_path / "pairs.tsv"),
                "--json",
                str(tmp_path / "out.json"),
            ]
        )
        == 0
    )
    written = json.loads((tmp_path / "out.json").read_text())
    rows = written["table"]
    assert written["conditions"]["precision"] == "fp32"  # there are no ranges for int8
    assert [(row["sentences"], row["refused"]) for row in rows] == [(3, 0), (1, 1), (1, 0), (1, 0)]
    assert rows[1]["content_kept"] == 100 and rows[1]["bleu_authors"] < 1
    assert all(row["well_formed"] == row["asked_top"] == 100 for row in rows[2:])
    assert all(("tags_followed" in row) == (tagged and i != 1) for i, row in enumerate(rows))  # the second is the input itself
    assert rows[1]["bleu_source"] == pytest.approx(100) and rows[0]["bleu_source"] == pytest.approx(rows[0]["bleu_corpus"])
    said = capsys.readouterr().out
    assert said.count("\n") == 6 and ("words per leaf right, %" in said) == tagged


def test_a_line_at_fault_is_named(tmp_path, capsys):
    (tmp_path / "pairs.tsv").write_text("one\ttwo\n")
    tiny_artifact(tmp_path / "artifact")
    assert evaluate.main([str(tmp_path / "artifact"), "--pairs", str(tmp_path / "pairs.tsv")]) == 1
    assert capsys.readouterr().err == "pairs.tsv:1: expected 4 columns separated by tabs, found 2.\n"
    (tmp_path / "trees.tsv").write_text(f"x\t{RAIN['synt']}\nx\t(ROOT (S\n")
    assert evaluate.main([str(tmp_path / "artifact"), "--rebuild", str(tmp_path / "trees.tsv")]) == 1
    assert capsys.readouterr().err == "trees.tsv:2: 2 opening brackets have no closing one.\n"
