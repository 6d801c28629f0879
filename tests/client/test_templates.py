"""The command that shows templates."""

from handler.wire.request import CATALOGUE
from scripts import templates


def test_a_sentence_under_every_named_template(capsys):
    assert templates.main(["--sent", "The dog slept in the park."]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ", 1) for line in lines[::3]] == [[name, tree] for name, tree in CATALOGUE.items()]
    assert "in the park , the dog slept ." in lines[lines.index(f"preposition_first  {CATALOGUE['preposition_first']}") + 1].lower()
    assert templates.main(["--sent", " "]) == 1
    assert capsys.readouterr().err == "sent: is empty\n"


def test_the_templates_of_a_corpus(tmp_path, capsys):
    tree = "(ROOT (S (NP (PRP it)) (VP (VBZ rains)) (. .)))"
    other = "(ROOT (NP (NN rain)))"
    (tmp_path / "parsed.tsv").write_text(f"it rains .\t{tree}\nrain\t{other}\nit rains .\t{tree}\n")
    assert templates.main(["--corpus", str(tmp_path / "parsed.tsv"), "--most", "1"]) == 0
    out, err = capsys.readouterr()
    assert out == f" 66.7 %  {CATALOGUE['statement']}  statement\n" and err == "3 parses, 2 templates\n"
    assert templates.main(["--corpus", str(tmp_path / "none.tsv")]) == 1
