"""Sentences from a file: plain text, TSV, CSV, JSON Lines or Parquet, one record at a time; and what came of them to such a file."""

import csv
import gzip
import hashlib
import io
import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from scripts.common.command import InputError
from scripts.common.damage import DAMAGED, reason

SENTENCE, PARSE = ("sentence", "sent"), ("parse", "synt", "constituency_tree")  # names of a table's columns
SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".tsv": "tsv", ".csv": "csv", ".txt": "text", ".parquet": "parquet"}
FORMATS = "text", "tsv", "csv", "jsonl", "parquet"
COLUMNS = "line", "sent", "template", "number", "paraphrase", "error"  # of the tables that are written
NO_TREE = "the second column is no bracketed parse"
ROW_GROUP = 20_000  # rows of a Parquet file that are held in memory


@dataclass(frozen=True)
class Record:
    """A sentence of a file."""

    line: int  # of the file, from 1; of Parquet, the row
    request: dict  # its fields, without the options of the command line
    error: str = ""  # why there is no request; empty: there is one


@dataclass(frozen=True)
class Columns:
    """The names of the columns; None: one of the usual names, or the first column and the second."""

    sentence: str | None = None
    parse: str | None = None


class Source:
    """A file of sentences, which can be read several times. Standard input, `-`, and pipes are kept in a temporary file."""

    def __init__(self, name: str, kind: str | None = None, columns: Columns = Columns()):
        """kind: one of FORMATS; None: what the suffix or the first line says. Raises InputError, OSError."""
        self.name, self.columns = "standard input" if name == "-" else name, columns
        self.stream: IO[bytes] = sys.stdin.buffer if name == "-" else open(name, "rb")  # stays open: it is read several times
        if name == "-" or not self.stream.seekable():
            given, self.stream = self.stream, tempfile.TemporaryFile()
            shutil.copyfileobj(given, self.stream)
        self.stream.seek(0)
        self.packed = self.stream.read(2) == b"\x1f\x8b"
        suffix = Path(name.removesuffix(".gz")).suffix
        self.kind = kind or SUFFIXES.get(suffix) or self._told(lambda: kind_of(self._lines()))

    def records(self) -> Iterator[Record]:
        """Every record, good or bad. Raises InputError where the file as a whole cannot be read."""
        if self.kind == "parquet":
            yield from read_parquet(self.stream, self.name, self.columns)
            return
        read = {"text": read_text, "tsv": read_tsv, "csv": read_csv, "jsonl": read_json_lines}[self.kind]
        records = read(self._lines(), self.columns)
        while (record := self._told(lambda: next(records, None))) is not None:
            yield record

    def digest(self) -> str:
        """SHA-256 of its bytes, in hexadecimal digits."""
        self.stream.seek(0)
        return hashlib.file_digest(self.stream, "sha256").hexdigest()  # type: ignore[arg-type]  # a temporary file will do

    def survey(self) -> int:
        """How many records there are. Raises InputError if there are none, or if none can be read."""
        number, first = 0, None
        for record in self.records():
            number += 1
            first = record if first is None or not record.error else first
        if first is None:
            raise InputError(f"There is no sentence in {self.name}.")
        if first.error:
            raise InputError(f"There is no sentence in {self.name} that can be read; line {first.line}: {first.error}.")
        return number

    def _lines(self) -> Iterator[str]:
        """Its lines, which end in a newline. A byte that is no UTF-8 becomes half of a surrogate pair."""
        self.stream.seek(0)
        raw: Any = gzip.GzipFile(fileobj=self.stream) if self.packed else self.stream
        text = io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="\n")
        try:
            for line in text:  # noqa: UP028 -- `yield from` would close the file with this iterator
                yield line
        finally:
            text.detach()

    def _told(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except InputError as error:
            raise InputError(f"{self.name} {error}") from None
        except DAMAGED as error:
            if not self.packed:
                raise
            raise InputError(f"{self.name} is not a gzipped file, or it is damaged: {reason(error)}.") from None


def kind_of(lines: Iterator[str]) -> str:
    """What a file without a telling name is, by its first line that is not blank."""
    first = next((line for line in lines if line.strip()), "")
    return "jsonl" if first.lstrip().startswith("{") else "tsv" if "\t" in first else "text"


def not_utf8(text: str) -> str:
    """Why a text is not UTF-8; empty if it is."""
    if "\0" in text:  # UTF-16 has many
        return f"it is not text in UTF-8 (character {text.index(chr(0)) + 1} is NUL)"
    try:
        text.encode()
        return ""
    except UnicodeEncodeError as error:
        return f"it is not text in UTF-8 (byte {len(text[: error.start].encode())})"


def read_text(lines: Iterator[str], columns: Columns) -> Iterator[Record]:
    if columns != Columns():
        raise InputError("is plain text, which has no columns; if it is a table, say so by --input-format.")
    for number, line in enumerate(lines, 1):
        if line.strip():
            error = not_utf8(line)
            yield Record(number, {} if error else {"sent": line.strip()}, error)


def read_tsv(lines: Iterator[str], columns: Columns) -> Iterator[Record]:
    rows = ((number, line.rstrip("\n").removesuffix("\r").split("\t")) for number, line in enumerate(lines, 1) if line.strip())
    return read_rows(rows, columns)


def read_csv(lines: Iterator[str], columns: Columns) -> Iterator[Record]:
    return read_rows(csv_rows(lines), columns)


def csv_rows(lines: Iterator[str]) -> Iterator[tuple[int, list[str] | str]]:
    """The line on which each row begins, and its cells, or why it has none."""
    reader, begin = csv.reader(lines), 1
    while True:
        try:
            row: list[str] | str | None = next(reader, None)
        except csv.Error as error:
            row = str(error)
        if row is None:
            return
        if row:
            yield begin, row
        begin = reader.line_num + 1


def read_rows(rows: Iterator[tuple[int, list[str] | str]], columns: Columns) -> Iterator[Record]:
    """The records of a table, whose first row may name its columns. Raises InputError if it does not tell which is the sentence."""
    begin, first = next(rows, (0, []))
    header = [name.strip() for name in first] if isinstance(first, list) else []
    sentence, parse = places(header, columns)
    if sentence is None:
        if isinstance(first, list) and cells(first, None, None)[1] == NO_TREE:
            raise InputError(f"has no column sentence or sent; say by --sent-column which it is: {', '.join(header)}.")
        rows = itertools.chain([(begin, first)], rows) if begin else rows
    for number, row in rows:
        if isinstance(row, str):
            yield Record(number, {}, row)
        else:
            yield Record(number, *cells(row, sentence, parse))


def places(header: list[str], columns: Columns) -> tuple[int | None, int | None]:
    """The places of the sentence and of its parse among these columns; None: there is no such name."""
    found = []
    for wanted, usual in (columns.sentence, SENTENCE), (columns.parse, PARSE):
        names = usual if wanted is None else (wanted.lower(),)
        place = next((i for i, name in enumerate(header) if name.lower() in names), None)
        if place is None and wanted is not None:
            raise InputError(f"has no column {wanted}; its columns are {', '.join(header) or 'without names'}.")
        found.append(place)
    if found[0] is None and columns.parse is not None:
        raise InputError("needs --sent-column beside --synt-column.")
    return found[0], found[1]


def cells(row: list[str], sentence: int | None, parse: int | None) -> tuple[dict, str]:
    """The request of a table's row, and why it has none. Without a place for the sentence, the first two columns are meant."""
    named = sentence is not None
    at, tree = (sentence or 0), (parse if named else 1)
    if len(row) <= at:
        return {}, f"it has {len(row)} columns, the sentence is in column {at + 1}"
    request = {"sent": row[at].strip()}
    if tree is not None and len(row) > tree and row[tree].strip():
        request["synt"] = row[tree].strip()
        if not named and not request["synt"].startswith("("):
            return {}, NO_TREE
    error = next(filter(None, map(not_utf8, request.values())), "")
    return ({}, error) if error else (request, "")


def read_json_lines(lines: Iterator[str], columns: Columns) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        error = not_utf8(line)
        try:
            value = {} if error else json.loads(line)
            if "\\u" in line and not_utf8(json.dumps(value, ensure_ascii=False)):
                error = "a string is not valid Unicode: half of a surrogate pair"
        except (ValueError, RecursionError) as problem:
            value, error = {}, f"it is not JSON: {reason(problem)}"
        if not isinstance(value, dict):
            value, error = {}, "it is not a JSON object"
        yield Record(number, *(({}, error) if error else from_row(value, columns)))


def from_row(value: dict, columns: Columns) -> tuple[dict, str]:
    """The request that a JSON object is, or that a data set's row holds, and why it has none."""
    sentence = columns.sentence or ("sentence" if "sentence" in value else None)
    if sentence is None:
        return value, ""
    if sentence not in value:
        return {}, f"it has no {sentence}, only {', '.join(map(str, value)) or 'nothing'}"
    names = PARSE if columns.parse is None else (columns.parse,)
    parse = next((value[name] for name in names if value.get(name)), None)
    return {"sent": value[sentence], **({"synt": parse} if parse else {})}, ""


def pyarrow() -> Any:
    """The package that reads and writes Parquet. Raises InputError where it is missing."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError("Parquet needs pyarrow, which is not installed: pip install -r scripts/client/requirements.txt") from None
    return pyarrow


def read_parquet(stream: IO[bytes], name: str, columns: Columns) -> Iterator[Record]:
    arrow = pyarrow()
    stream.seek(0)
    try:
        file = arrow.parquet.ParquetFile(stream)
        header = file.schema_arrow.names
        sentence, parse = places(header, columns)
        if sentence is None:
            raise InputError(f"has no column {' or '.join(SENTENCE)}; name it by --sent-column: {', '.join(header)}.")
        wanted = [header[place] for place in (sentence, parse) if place is not None]
        number = 0
        for batch in file.iter_batches(columns=wanted):
            for row in batch.to_pylist():
                number += 1
                yield Record(number, {"sent": row[wanted[0]], **({"synt": row[wanted[1]]} if wanted[1:] and row[wanted[1]] else {})})
    except InputError as error:
        raise InputError(f"{name} {error}") from None
    except arrow.ArrowException as error:
        raise InputError(f"{name} is not a Parquet file, or it is damaged: {reason(error)}.") from None


def rows_of(result: dict) -> Iterator[tuple]:
    """The rows of a table, under COLUMNS, for what came of a sentence."""
    sent = None if result["sent"] is None else str(result["sent"])
    if "error" in result:
        error = result["error"]
        yield result["line"], sent, None, None, None, f"{error['field'] + ': ' if error.get('field') else ''}{error['message']}"
        return
    for template, texts in result["paraphrases"].items():
        for number, text in enumerate(texts, 1):
            yield result["line"], sent, template, number, text, None


def side_by_side(result: dict) -> str:
    """A sentence and its paraphrases, as people read them."""
    sentence = "" if result["sent"] is None else str(result["sent"]).strip()
    if "error" in result:
        [(*_, error)] = rows_of(result)
        return f"{sentence or 'line ' + str(result['line'])}\n  ! {error}\n"
    width = max(map(len, result["paraphrases"]))
    lines = [
        f"  {label if i == 0 else '':{width}}  {text}" for label, texts in result["paraphrases"].items() for i, text in enumerate(texts)
    ]
    return "\n".join([sentence, *lines, ""])


def shown(kind: str, results: Iterable[dict]) -> Iterator[str]:
    """The results in a text format: what each adds to the output. The first piece of a table is its head."""
    if kind == "text":
        yield from (side_by_side(result) + "\n" for result in results)
    elif kind == "jsonl":
        yield from (json.dumps(result, ensure_ascii=False) + "\n" for result in results)
    else:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n") if kind == "csv" else TabWriter(table)
        writer.writerow(COLUMNS)
        yield table.getvalue()
        for result in results:
            table.seek(0)
            table.truncate()
            writer.writerows(rows_of(result))
            yield table.getvalue()


class TabWriter:
    """Rows as cells with tabs between them, as `cut` and `awk` read them: nothing is quoted, and blanks stand for tabs and newlines."""

    def __init__(self, out: IO[str]):
        self.out = out

    def writerow(self, row: Iterable[Any]) -> None:
        self.out.write("\t".join(" ".join(str("" if cell is None else cell).split()) for cell in row) + "\n")

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        for row in rows:
            self.writerow(row)


def write_parquet(file: Path, results: Iterable[dict]) -> None:
    arrow = pyarrow()
    whole, text = arrow.int64(), arrow.string()
    schema = arrow.schema(list(zip(COLUMNS, (whole, text, text, whole, text, text))))
    rows = itertools.chain.from_iterable(map(rows_of, results))
    with arrow.parquet.ParquetWriter(file, schema) as writer:
        while group := list(itertools.islice(rows, ROW_GROUP)):
            writer.write_table(arrow.table([arrow.array(column, kind) for column, kind in zip(zip(*group), schema.types)], schema=schema))
