"""Files of sentences in every format, read record by record, and tables of results."""

import csv
import gzip
import io
import json
import os
import threading

import pytest

from scripts.client.tables import COLUMNS, Columns, Source, rows_of, shown, write_parquet
from scripts.common.command import InputError

RESULTS = [
    {"line": 1, "sent": 'He said:\n"no,\tnever"', "paraphrases": {"statement": ["a, b", 'c "d"'], "command": ["e"]}},
    {"line": 3, "sent": None, "error": {"code": 400, "type": "InvalidRequest", "message": "is empty", "field": "sent"}},
    {"line": 4, "sent": "x", "error": {"code": 503, "type": "Unanswered", "message": "gone", "field": None}},
]
ROWS = [
    (1, RESULTS[0]["sent"], "statement", 1, "a, b", None),
    (1, RESULTS[0]["sent"], "statement", 2, 'c "d"', None),
    (1, RESULTS[0]["sent"], "command", 1, "e", None),
    (3, None, None, None, None, "sent: is empty"),
    (4, "x", None, None, None, "gone"),
]


def read(name, **columns) -> list[dict]:
    records = list(Source(str(name), None, Columns(**columns)).records())
    assert not any(record.error for record in records), records
    return [record.request for record in records]


@pytest.mark.parametrize(
    "name, text, requests",
    [
        ("a.tsv", "it rains\t(S x)\na tab less\n", [{"sent": "it rains", "synt": "(S x)"}, {"sent": "a tab less"}]),
        ("sst2.tsv", "sentence\tlabel\nit 's slow .\t0\n", [{"sent": "it 's slow ."}]),
        ("index.tsv", "index\tsentence\n0\tuneasy mishmash .\n", [{"sent": "uneasy mishmash ."}]),
        ("named.tsv", "Parse\tSent\n(S x)\tit rains\n", [{"sent": "it rains", "synt": "(S x)"}]),
        ("quotes.tsv", 'sent\n"a\n', [{"sent": '"a'}]),
        ("a.csv", 'label,sentence\n1,"one, ""two""\nthree"\n\n0,b\n', [{"sent": 'one, "two"\nthree'}, {"sent": "b"}]),
        ("windows.csv", "sent,parse\r\na,(S x)\r\nb,\r\n", [{"sent": "a", "synt": "(S x)"}, {"sent": "b"}]),
        ("bare.csv", "it rains,(S x)\n", [{"sent": "it rains", "synt": "(S x)"}]),
        (
            "tree.jsonl",
            '{"idx": 0, "sentence": "it rains ", "label": 1, "constituency_tree": "(S x)"}\n{"sentence": "a"}\n',
            [{"sent": "it rains ", "synt": "(S x)"}, {"sent": "a"}],
        ),
        ("unnamed", "it rains\t(S x)\n", [{"sent": "it rains", "synt": "(S x)"}]),
        ("also", '\n{"sent": "x\\ty"}\n', [{"sent": "x\ty"}]),
        ("a.txt", "{not JSON}\n\ufeffé\u2028x\n", [{"sent": "{not JSON}"}, {"sent": "\ufeffé\u2028x"}]),
    ],
)
def test_what_a_file_says(tmp_path, monkeypatch, name, text, requests):
    (tmp_path / name).write_bytes(("\ufeff" + text).encode())
    assert read(tmp_path / name) == requests
    packed = tmp_path / (name + ".gz")
    packed.write_bytes(gzip.compress(text.encode()))
    assert read(packed) == requests
    if "." not in name:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        source = Source("-")
        assert source.survey() == len(requests) and [record.request for record in source.records()] == requests


def test_a_pipe_is_read_as_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe.txt").write_text("a\nb\n"))
    writer.start()
    source = Source(str(tmp_path / "pipe.txt"))
    writer.join()
    assert source.survey() == 2 and [record.request["sent"] for record in source.records()] == ["a", "b"]


def test_columns_by_name_and_formats_by_option(tmp_path):
    (tmp_path / "x.csv").write_text("Text,tree,sentence\na,(S x),b\n")
    assert read(tmp_path / "x.csv", sentence="text", parse="Tree") == [{"sent": "a", "synt": "(S x)"}]
    assert read(tmp_path / "x.csv", sentence="text") == [{"sent": "a"}]
    assert read(tmp_path / "x.csv") == [{"sent": "b"}]
    (tmp_path / "x.jsonl").write_text('{"text": "a", "sent": "b", "tree": "(S x)"}')
    assert read(tmp_path / "x.jsonl", sentence="text", parse="tree") == [{"sent": "a", "synt": "(S x)"}]
    (tmp_path / "x.txt").write_text("sent,n\na,1\n")
    assert [record.request for record in Source(str(tmp_path / "x.txt"), "csv").records()] == [{"sent": "a"}]


@pytest.mark.parametrize(
    "name, content, line, error",
    [
        ("a.txt", b"a\n\nb\xff\nc\n", 3, "it is not text in UTF-8 (byte 1)"),
        ("a.tsv", b"index\tsentence\n7\n8\tb\n", 2, "it has 1 columns, the sentence is in column 2"),
        ("a.tsv", b"a\t(S x)\nb\t1\n", 2, "the second column is no bracketed parse"),
        ("a.tsv", b"sentence\na\n\xe9\n", 3, "it is not text in UTF-8"),
        ("a.csv", b"sent\n" + b'"a\nb"\n"' + b"x" * 140_000 + b'"\nc\n', 4, "field larger than field limit"),
        ("a.csv", b"n,sent\n1,a\n2\n", 3, "it has 1 columns, the sentence is in column 2"),
        ("a.jsonl", b'{"sent": "x"}\n{\n', 2, "it is not JSON"),
        ("a.jsonl", b'{"sent": "x"}\n[]', 2, "it is not a JSON object"),
        ("a.jsonl", b'{"sent": "x"}\n{"sent": "\xff"}\n', 2, "it is not text in UTF-8 (byte 10)"),
        ("a.jsonl", b'{"sent": "x"}\n{"sent": "\\ud800"}\n', 2, "a string is not valid Unicode"),
        ("a.jsonl", b'{"sentence": "x"}\n' + b"[" * 100_000, 2, "it is not JSON: it is nested too deep"),
    ],
)
def test_a_bad_line_is_told_and_spares_the_others(tmp_path, name, content, line, error):
    (tmp_path / name).write_bytes(content)
    source = Source(str(tmp_path / name))
    records = list(source.records())
    [bad] = [record for record in records if record.error]
    assert bad.line == line and bad.error.startswith(error) and bad.request == {}
    assert source.survey() == len(records) > 1


def test_a_row_without_the_named_column(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n')
    _, bad = Source(str(tmp_path / "x.jsonl"), None, Columns("text")).records()
    assert bad.error == "it has no text, only txt"


@pytest.mark.parametrize(
    "name, content, columns, sentence",
    [
        ("a.tsv", b"good movie\t1\n", {}, "a.tsv has no column sentence or sent; say by --sent-column which it is: good movie, 1.$"),
        ("a.csv", b"Id,text\n1,a\n", {}, "a.csv has no column sentence or sent; say by --sent-column which it is: Id, text.$"),
        ("a.jsonl", b"[]", {}, "There is no sentence in .*a.jsonl that can be read; line 1: it is not a JSON object"),
        ("a.txt", b"\n \n", {}, "There is no sentence in .*a.txt.$"),
        ("a.csv", b"", {}, "There is no sentence in .*a.csv.$"),
        ("a.csv", b"sentence,label\n", {}, "There is no sentence in .*a.csv.$"),
        ("a.txt", "ab\n".encode("utf-16"), {}, "There is no sentence in .* line 1: it is not text in UTF-8"),
        ("a.gz", b"\x1f\x8b\x08", {}, "a.gz is not a gzipped file, or it is damaged"),
        ("a.txt.gz", gzip.compress(b"abc\n" * 9999)[:-20], {}, "a.txt.gz is not a gzipped file, or it is damaged"),
        ("a.csv", b"a,b\n1,2\n", {"sentence": "c"}, "a.csv has no column c; its columns are a, b.$"),
        ("a.tsv", b"sent\tb\n1\t2\n", {"parse": "c"}, "a.tsv has no column c; its columns are sent, b.$"),
        ("a.csv", b"x,c\n1,2\n", {"parse": "c"}, "a.csv needs --sent-column beside --synt-column"),
        ("a.txt", b"a\n", {"sentence": "c"}, "a.txt is plain text, which has no columns"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(tmp_path, name, content, columns, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        Source(str(tmp_path / name), None, Columns(**columns)).survey()


def test_results_as_tables():
    assert [row for result in RESULTS for row in rows_of(result)] == ROWS
    found = list(csv.reader(io.StringIO("".join(shown("csv", RESULTS)))))
    assert found == [list(COLUMNS), *([str("" if cell is None else cell) for cell in row] for row in ROWS)]
    lines = "".join(shown("tsv", RESULTS)).split("\n")
    assert lines[0] == "\t".join(COLUMNS) and lines[1] == '1\tHe said: "no, never"\tstatement\t1\ta, b\t' and len(lines) == len(ROWS) + 2
    assert [json.loads(piece) for piece in shown("jsonl", RESULTS)] == RESULTS
    assert "line 3\n  ! sent: is empty\n" in "".join(shown("text", RESULTS))


def test_parquet_there_and_back(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install -r scripts/client/requirements.txt")
    write_parquet(tmp_path / "x.parquet", RESULTS)
    table = parquet.read_table(tmp_path / "x.parquet")
    assert table.column_names == list(COLUMNS) and [tuple(row.values()) for row in table.to_pylist()] == ROWS
    source = Source(str(tmp_path / "x.parquet"))
    assert source.survey() == len(ROWS) and [record.line for record in source.records()] == [1, 2, 3, 4, 5]
    assert [record.request for record in source.records()][2:4] == [{"sent": RESULTS[0]["sent"]}, {"sent": None}]
    assert read(tmp_path / "x.parquet", sentence="paraphrase", parse="error")[3] == {"sent": None, "synt": "sent: is empty"}
    for columns, sentence in ((Columns("x"), "x.parquet has no column x; its columns are line, sent"),):
        with pytest.raises(InputError, match=sentence):
            Source(str(tmp_path / "x.parquet"), None, columns).survey()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 is how they begin")
    with pytest.raises(InputError, match="bad.parquet is not a Parquet file, or it is damaged"):
        Source(str(tmp_path / "bad.parquet")).survey()


def test_parquet_without_pyarrow_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    for ask in (lambda: Source(str(tmp_path / "x.parquet")).survey(), lambda: write_parquet(tmp_path / "y.parquet", RESULTS)):
        with pytest.raises(InputError, match="Parquet needs pyarrow, .*: pip install -r scripts/client/requirements.txt"):
            ask()
