"""The evaluation: its figures on texts with known figures, and the command from files to table."""

import json

import pytest

from handler import artifacts
from handler.language.tagger import Tagger
from handler.language.trees import read_tree
from handler.wire.request import CATALOGUE
from handler.wire.response import Paraphrase
from scripts import evaluate
from scripts.common import artifact_files
from scripts.training import evaluation, progress
from scripts.training.meaning import measure
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
        artifact_files.write_manifest(tmp_path / "artifact")
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
    said, told = capsys.readouterr()
    assert told.splitlines()[:2] == ["rebuild.tsv: rebuild: 3 requests", "pairs.tsv: reference's parse: 1 requests"]
    assert said.count("\n") == 6 and ("words per leaf right, %" in said) == tagged


def test_progress_is_told_and_changes_no_answer(tmp_path, capsys, monkeypatch):
    paraphraser = artifacts.load(tiny_artifact(tmp_path / "artifact"))
    requests = [{"sent": RAIN["sent"], "synt": RAIN["synt"], "parse": RAIN["synt"], "seed": seed, "temperature": 1.0} for seed in range(5)]
    whole = [made.text for made in evaluation.paraphrase(paraphraser, requests, "rain")[0]]
    monkeypatch.setattr(evaluation, "ROWS", 2)
    monkeypatch.setattr(progress, "READING_SECONDS", 0.0)
    capsys.readouterr()
    assert [made.text for made in evaluation.paraphrase(paraphraser, requests, "rain")[0]] == whole
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "rain: 5 requests" and "rain: requests planned: 5" in said and said[-1] == "rain: of 5 texts written: 5"


def test_a_line_at_fault_is_named(tmp_path, capsys):
    (tmp_path / "pairs.tsv").write_text("one\ttwo\n")
    tiny_artifact(tmp_path / "artifact")
    assert evaluate.main([str(tmp_path / "artifact"), "--pairs", str(tmp_path / "pairs.tsv")]) == 1
    assert capsys.readouterr().err == "pairs.tsv:1: expected 4 columns separated by tabs, found 2.\n"
    (tmp_path / "trees.tsv").write_text(f"x\t{RAIN['synt']}\nx\t(ROOT (S\n")
    assert evaluate.main([str(tmp_path / "artifact"), "--rebuild", str(tmp_path / "trees.tsv")]) == 1
    assert capsys.readouterr().err == "trees.tsv:2: 2 opening brackets have no closing one.\n"


def test_relations_are_measured_under_every_named_template(tmp_path, capsys):
    pytest.importorskip("nltk")
    tiny_artifact(tmp_path / "artifact", tag_weight=1.0, movement=True, candidates=2)
    parse = "(ROOT (S (NP (DT the) (NN n)) (VP (VBZ is) (VP (VBG raining) (PP (IN in) (NP (DT the) (NN n))))) (. .)))"
    (tmp_path / "sentences.tsv").write_text(f"x\t{parse}\nx\t{RAIN['synt']}\n", encoding="utf-8")  # the second is too short
    arguments = [str(tmp_path / "artifact"), "--templates", str(tmp_path / "sentences.tsv"), "--json", str(tmp_path / "out.json")]
    assert evaluate.main(arguments) == 0
    table = json.loads((tmp_path / "out.json").read_text())["table"]
    assert len(table) == 2 * (1 + len(CATALOGUE)) and {row["sentences"] + row["refused"] for row in table} == {1, len(CATALOGUE)}
    fronted = next(row for row in table if row["task"].endswith("with parse, preposition_first"))
    assert fronted["moved"] == 100 and 0 <= fronted["relations"] <= 100 and "relations kept, %" in capsys.readouterr().out
    still = next(row for row in table if row["task"].endswith("without parse, preposition_first"))
    assert still["refused"] == 1  # this artifact has neither tagger nor parser


def test_what_is_kept_missing_and_made_up():
    source = read_tree("(ROOT (S (NP (DT the) (NN dog)) (VP (VBD bit) (NP (DT the) (NN man))) (. .)))")

    def answer(text, moves=()):
        return Paraphrase(text, "", str(source), None, False, 0, 0, False, moves)

    assert measure([source], [answer("the dog bit the man .")]) == {"relations": 100, "missing": 0, "made_up": 0, "moved": 100}
    turned = measure([source], [answer("the man bit the dog .", None)])
    assert turned["relations"] == 50 and turned["missing"] == turned["made_up"] == turned["moved"] == 0  # each pair, without its class
    other = measure([source], [answer("the cat bit the man .")])
    assert other["missing"] == other["made_up"] == pytest.approx(100 / 3) and 0 < other["relations"] < 100
    assert measure([source], [answer("the dog bit")])["relations"] == 0  # cut short
