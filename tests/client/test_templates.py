"""The command that shows templates, and gives them names."""

import pytest

from handler import artifacts, load
from handler.wire.request import CATALOGUE
from scripts import templates
from tests.factories import RAIN, tiny_artifact

SENTENCE = "The dog slept in the park."
STATEMENT = "(ROOT (S (NP (PRP it)) (VP (VBZ rains)) (. .)))"


def test_a_sentence_under_every_named_template(capsys):
    assert templates.main(["--sent", SENTENCE]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split("  ", 1) for line in lines[::3]] == [[name, tree] for name, tree in CATALOGUE.items()]
    at = lines.index(f"preposition_first  {CATALOGUE['preposition_first']}")
    assert "in the park, the dog slept." in lines[at + 1].lower() and lines[at + 2] == "    fits: front_pp"
    kinds = [line.strip().split(":")[0] for line in lines[2::3]]
    assert set(kinds) <= {"fits", "fits with a frame only", "does not fit, written freely"}
    assert err == f"{kinds.count('fits')} of 10 templates fit, {kinds.count('fits with a frame only')} with a frame only\n"
    assert templates.main(["--sent", " "]) == 1
    assert capsys.readouterr() == ("", "sent: is empty.\n")


def test_a_frame_is_no_fit(capsys):
    assert templates.main(["--sent", "It rains."]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"statement  {CATALOGUE['statement']}", "    It rains.", "    fits: as it is"]
    assert lines[4].endswith(", it rains.") and lines[5] == "    fits with a frame only: filler"


def test_the_templates_of_a_corpus(tmp_path, capsys):
    other = "(ROOT (NP (NN rain)))"
    corpus = tmp_path / "parsed.tsv"
    corpus.write_text(f"it rains .\t{STATEMENT}\nrain\t{other}\nit rains .\t{STATEMENT}\nx\t(ROOT\n")
    assert templates.main(["--corpus", str(corpus), "--most", "1"]) == 0
    out, err = capsys.readouterr()
    assert out == f" 66.7 %  {CATALOGUE['statement']}  statement\n"
    assert err == "3 parses, 2 templates, 1 lines without a parse that can be read\n"
    assert templates.main(["--corpus", str(tmp_path / "none.tsv")]) == 1


def test_which_templates_of_a_corpus_fit_a_sentence(tmp_path, capsys):
    corpus = tmp_path / "parsed.tsv"
    long = f"(ROOT {'(NN x) ' * 60})"
    corpus.write_text(f"it rains .\t{STATEMENT}\nx\t{long}\nit rains .\t{STATEMENT}\n")
    assert templates.main(["--corpus", str(corpus), "--sent", SENTENCE]) == 0
    out, err = capsys.readouterr()
    first, answer, fits, second, refused = out.splitlines()
    assert first == f"statement  {CATALOGUE['statement']}" and "dog" in answer and fits.startswith("    fits: ")
    assert second.startswith("(ROOT (NN ) ") and refused.startswith("    cannot be read: has ")
    assert err == "1 of 2 templates fit, 0 with a frame only\n"


def test_names_of_ones_own(tmp_path, capsys):
    folder = tiny_artifact(tmp_path / "mine")
    here = ["--artifact", str(folder)]
    assert templates.main([*here, "--add", "short", "(ROOT (NP ))"]) == 0
    assert templates.main([*here, "--add", "shorter", "(ROOT (NN ))"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{folder} adds short, shorter; build its archive")
    assert load(folder).paraphrase(RAIN["sent"], "shorter", synt=RAIN["synt"])
    (tmp_path / "parsed.tsv").write_text("rain\t(ROOT (NN rain))\n")
    assert templates.main([*here, "--corpus", str(tmp_path / "parsed.tsv")]) == 0
    assert capsys.readouterr().out == "100.0 %  (ROOT (NN ))  shorter\n"
    assert templates.main([*here, "--remove", "short"]) == 0
    assert artifacts.verify(folder).pipeline.templates == {"shorter": "(ROOT (NN ))"}
    capsys.readouterr()
    for arguments, said in (
        (["--remove", "short"], f"short is no name that {folder} adds; it adds shorter."),
        (["--add", "command", "(ROOT (NP ))"], "config.json: expected usable templates, found templates has the name command, "),
        (["--add", "mine", "(ROOT (NP"], "config.json: expected usable templates, found the template mine: 2 opening brackets"),
    ):
        assert templates.main([*here, *arguments]) == 1
        out, err = capsys.readouterr()
        assert out == "" and err.startswith(said) and err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--most", "0"], ["--add", "x"], ["--add", "x", "y", "--sent", "z"], ["--add", "x", "y", "--remove", "z"]]
)
def test_impossible_arguments(arguments):
    with pytest.raises(SystemExit) as caught:
        templates.main(arguments)
    assert caught.value.code == 2
