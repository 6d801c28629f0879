"""Whole sentences of running text, and their division into what is trained on and what is measured with."""

import pytest

from scripts import parse
from scripts.common.paths import DEMO
from scripts.training import prose, splits

MANUAL = """The "for" statement
*******************

The "for" statement is used to iterate over the elements of a
sequence, e.g. a string. Names in the *target list* are not deleted
when the loop is finished! Short one here. It calls `next` on it.

   for_stmt ::= "for" target_list "in" starred_list

* An item of a list is a sentence of its own.
* The second item
  goes on in the next line.

Tuples
   The items of a tuple are arbitrary Python objects.

This sentence is without its end
"""


def test_whole_sentences_are_taken_from_running_text():
    assert prose.sentences(MANUAL) == [
        'The "for" statement is used to iterate over the elements of a sequence, e.g. a string.',
        "Names in the target list are not deleted when the loop is finished!",
        "An item of a list is a sentence of its own.",
        "The second item goes on in the next line.",
        "The items of a tuple are arbitrary Python objects.",
    ]


@pytest.mark.parametrize(
    "sentence, whole",
    [
        ("The quick brown fox is here.", True),
        ("Is this the end of the file?", True),
        ("“The whole of the sentence is quoted.”", True),
        ("the sentence begins in lower case.", False),
        ("This ends in a colon, and so:", False),
        ("One quotation mark is not closed by 'another\" one.", False),
        ("The value of x[0] is the first item.", False),
        ("It is written in os.path and elsewhere.", False),
        ("The name is foo_bar in this module.", False),
        ("Add 1, 2, 3, 4, 5, 6 and 7.", False),
        ("It is too short.", False),
        ("This is " + "very " * 22 + "long.", False),
    ],
)
def test_what_is_prose(sentence, whole):
    assert prose.is_prose(sentence) is whole


def test_a_sentence_is_in_one_split_only_and_files_stay_whole():
    files = {f"{i}.txt": [f"Sentence {i} {j}" for j in range(5)] + ["The same.", "the same."] for i in range(200)}
    divided = splits.divide(files)
    found = [sentence.lower() for sentences in divided.values() for sentence in sentences]
    assert len(found) == len(set(found)) == 200 * 5 + 1
    of_file = {}
    for name, sentences in divided.items():
        for sentence in sentences:
            if sentence.startswith("Sentence"):
                of_file.setdefault(sentence.split()[1], set()).add(name)
    assert all(len(names) == 1 for names in of_file.values())
    assert len(divided["train"]) > 0.75 * len(found) and len(divided["test"]) > len(divided["dev"]) > 0


def test_sentences_of_few_files_are_divided_one_by_one():
    divided = splits.divide({"all.txt": [f"Sentence {i}" for i in range(1000)]})
    assert divided == splits.divide({"renamed.txt": [f"Sentence {i}" for i in range(1000)]})
    assert 800 < len(divided["train"]) < 900 and 60 < len(divided["test"]) < 140 and 20 < len(divided["dev"]) < 80


def test_text_becomes_three_files_to_train_and_measure_with(tmp_path, capsys):
    words = "cat dog bird horse house river tree ball".split()
    (tmp_path / "text.txt").write_text(
        "\r\n".join(f"The {one} saw the {two} near the old bridge. Too short." for one in words for two in words), encoding="utf-8"
    )
    arguments = [str(tmp_path / "text.txt"), "--prose", "--artifact", str(DEMO)]
    assert parse.main([*arguments, "--split", str(tmp_path / "corpus")]) == 0
    said = capsys.readouterr()
    assert said.out == "" and f"{tmp_path / 'corpus' / 'train.tsv'}: " in said.err
    rows = [line.split("\t") for name in ("train", "dev", "test") for line in (tmp_path / f"corpus/{name}.tsv").read_text().splitlines()]
    assert len(rows) == 64 and all(tree.startswith("(ROOT (S (NP (DT The) (NN ") for _, tree in rows)
    assert sorted(file.name for file in (tmp_path / "corpus").iterdir()) == ["dev.tsv", "test.tsv", "train.tsv"]
    assert parse.main(arguments) == 0
    assert sorted(line.split("\t") for line in capsys.readouterr().out.splitlines()) == sorted(rows)


def test_too_few_sentences_for_three_files_are_refused(tmp_path, capsys):
    (tmp_path / "one.txt").write_text("It rains here every day of the week.\n", encoding="utf-8")
    assert parse.main([str(tmp_path / "one.txt"), "--split", str(tmp_path / "corpus")]) == 1
    assert capsys.readouterr().err.startswith("There are too few sentences for three files: none for ")
    assert not (tmp_path / "corpus").exists()
    assert parse.main([str(tmp_path / "one.txt"), "--prose", "--artifact", str(DEMO)]) == 0
    assert capsys.readouterr().out.startswith("It rains here every day of the week.\t(ROOT (S ")
