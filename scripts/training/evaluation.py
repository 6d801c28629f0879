"""Evaluate an artifact: BLEU against references, well-formed parses, words kept and repeated, compared with copying the input."""

import collections
import itertools
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from handler.errors import RequestError
from handler.language.tagger import Tagger
from handler.language.trees import TAGS, Tree, read_tree, tags, template_of, words
from handler.wire.request import read_request
from scripts.common.command import InputError, tell
from scripts.training.corpus import read_columns, read_tree_of
from scripts.training.progress import counted

# Closed-class words and punctuation, by tag: what is not a content word.
FUNCTION_TAGS = TAGS - {tag for tag in TAGS if tag[:2] in ("NN", "VB", "JJ", "RB", "CD", "FW", "UH")}

ROWS = 128  # requests between two looks at the clock; a text is the same in any batch


def bleu(hypotheses: list[str], references: list[str]) -> dict:
    """Both BLEUs, 0 to 100, of lower-cased blank-separated tokens."""
    authors = sentence_bleus(hypotheses, references)
    return {"bleu_authors": sum(authors) / len(authors), "bleu_corpus": corpus_bleu(hypotheses, references)}


def sentence_bleus(hypotheses: list[str], references: list[str]) -> list[float]:
    """nltk's BLEU-4 of each sentence, without smoothing, 0 to 100."""
    from nltk.translate.bleu_score import sentence_bleu

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nltk remarks on each sentence without a common 4-gram
        return [100 * sentence_bleu([r.split()], h.split()) for h, r in zip(hypotheses, references)]


def corpus_bleu(hypotheses: list[str], references: list[str]) -> float:
    """sacrebleu's, 0 to 100, of blank-separated tokens."""
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize="none", force=True).corpus_score(hypotheses, [references]).score


def copied(texts: list[str], sources: list[list[tuple[str, str]]]) -> dict:
    """BLEU of the texts against the sentences they were made of: (word, tag) each."""
    return {"bleu_source": corpus_bleu(texts, [" ".join(word for word, _ in source) for source in sources])}


def following(tagger: Tagger, texts: list[str], parses: list[list[str]]) -> dict:
    """Share (%) of places at which the text's word is of the tag of the parse's leaf. A text that is longer or shorter than its
    parse, tags each, is wrong beyond the end of either."""
    right = places = 0
    for text, parse in zip(texts, parses):
        found = tagger.tag(text.split())
        right += sum(one == two for one, two in zip(found, parse))
        places += max(len(found), len(parse))
    return {"tags_followed": 100 * right / max(1, places)}


def wording(texts: list[str], sources: list[list[tuple[str, str]]]) -> dict:
    """Share (%) of the source's content words that are in the text, and of the text's words that repeat an earlier one
    more often than the source does."""
    kept = wanted = repeated = total = 0
    for text, source in zip(texts, sources):
        made, given = collections.Counter(text.split()), collections.Counter(word for word, _ in source)
        content = {word for word, tag in source if tag not in FUNCTION_TAGS}
        kept, wanted = kept + len(content & made.keys()), wanted + len(content)
        repeated += sum(max(0, n - max(1, given[word])) for word, n in made.items())
        total += sum(made.values())
    return {"content_kept": 100 * kept / max(1, wanted), "repeated": 100 * repeated / max(1, total)}


def leaves(tree: Tree) -> list[tuple[str, str]]:
    """(lower-cased word, tag) of each leaf."""
    return [(leaf.word.lower(), leaf.label) for leaf in tree.leaves() if leaf.word is not None]


def paraphrase(paraphraser, requests: list[dict], name: str) -> tuple[list, float]:
    """A Paraphrase per request, None where it was refused; and the seconds it took. Says on standard error how far it is."""
    tell(f"{name}: {len(requests)} requests")
    plans = []
    for i, value in enumerate(counted(requests, f"{name}: requests planned", tell)):
        try:
            plans.append((i, paraphraser.plan(read_request(value))[0]))
        except RequestError:
            pass
    plans.sort(key=lambda plan: len(plan[1].syntax) + len(plan[1].pieces))  # alike lengths waste no padding
    began = time.perf_counter()
    out = [None] * len(requests)
    done = counted(paraphrases(paraphraser, [row for _, row in plans]), f"{name}: of {len(plans)} texts written", tell)
    for made, (i, _) in zip(done, plans):
        out[i] = made
    return out, time.perf_counter() - began


def paraphrases(paraphraser, rows: list) -> Iterator:
    """What `run` makes of the rows, some at a time."""
    for start in range(0, len(rows), ROWS):
        yield from paraphraser.run(rows[start : start + ROWS])


def judge(name: str, paraphraser, requests: list[dict], references: list[str], sources, options: dict) -> dict:
    """One row of the table, with its BLEU of each request, `each`, for comparisons."""
    made, seconds = paraphrase(paraphraser, [{**request, **options} for request in requests], name)
    kept = [i for i, done in enumerate(made) if done is not None]
    if not kept:
        raise InputError(f"{name}: there is no sentence that this artifact can read.")
    texts, references = [made[i].text for i in kept], [references[i].lower() for i in kept]
    topped, parses = 0, {}  # of those that are well-formed: tags
    for i in kept:
        try:
            tree = read_tree(made[i].parse)
        except RequestError:
            continue
        topped += str(template_of(tree)) == made[i].template
        parses[i] = tags(tree)
    followed = (
        following(paraphraser.planner.tagger, [made[i].text for i in parses], list(parses.values())) if paraphraser.planner.tagger else {}
    )
    return {
        "task": name,
        "sentences": len(kept),
        "refused": len(made) - len(kept),
        **bleu(texts, references),
        **copied(texts, [sources[i] for i in kept]),
        **wording(texts, [sources[i] for i in kept]),
        **followed,
        "well_formed": 100 * len(parses) / len(kept),
        "asked_top": 100 * topped / len(kept),
        "truncated": sum(made[i].truncated for i in kept),
        "ms_per_sentence": 1000 * seconds / len(kept),
        "each": {"bleu_authors": {i: (score, 1) for i, score in zip(kept, sentence_bleus(texts, references))}},
    }


@dataclass(frozen=True)
class Example:
    """A sentence with its parse, and the parse that its paraphrase should have."""

    source: Tree
    parse: str  # of the source, as it stands in the file
    target: Tree
    target_parse: str

    @property
    def sentence(self) -> str:
        return " ".join(words(self.source))

    @property
    def reference(self) -> str:
        return " ".join(words(self.target))

    def request(self, **target: str) -> dict:
        """A request about the sentence. target: `parse` or `tmpl`."""
        return {"sent": self.sentence, "synt": self.parse, **target}


def read_rebuild(file: Path, limit: int | None) -> list[Example]:
    """The lines of a file of `sentence<TAB>parse`. Raises InputError for a parse that cannot be read."""
    found = []
    for number, (_, parse, *_) in enumerate(itertools.islice(read_columns(file, 2), limit), 1):
        tree = read_tree_of(file, number, parse)
        found.append(Example(tree, parse, tree, parse))
    return found


def read_pairs(file: Path, limit: int | None) -> tuple[list[Example], int]:
    """The pairs of a file that have both parses, and how many have not. Raises InputError for a parse that cannot be read."""
    found, left_out = [], 0
    for number, (_, _, source, target, *_) in enumerate(itertools.islice(read_columns(file, 4), limit), 1):
        if source.startswith("(") and target.startswith("("):
            found.append(Example(read_tree_of(file, number, source), source, read_tree_of(file, number, target), target))
        else:
            left_out += 1
    return found, left_out


def evaluate(paraphraser, rebuild: list[Path], pairs: list[Path], limit: int | None, options: dict, candidates: int | None) -> list[dict]:
    """All rows. options: fields added to every request. candidates: of each template's answer."""
    table, drawn = [], {"candidates": candidates or paraphraser.config.candidates}

    def add(name: str, examples: list[Example], requests: list[dict], fields: dict) -> None:
        references, sources = [e.reference for e in examples], [leaves(e.source) for e in examples]
        table.append(judge(name, paraphraser, requests, references, sources, fields))

    for file in rebuild:
        examples = read_rebuild(file, limit)
        add(f"{file.name}: rebuild", examples, [e.request(parse=e.parse) for e in examples], options)
    for file in pairs:
        examples, left_out = read_pairs(file, limit)
        if not examples:
            raise InputError(f"{file.name}: no pair with both parses.")
        table.append(copy_of_the_input(file.name, examples, left_out))
        add(f"{file.name}: reference's parse", examples, [e.request(parse=e.target_parse) for e in examples], options)
        templates = [e.request(tmpl=str(template_of(e.target))) for e in examples]
        add(f"{file.name}: its template", examples, templates, {**options, **drawn})
    return table


def copy_of_the_input(name: str, examples: list[Example], left_out: int) -> dict:
    """The row of the table that says what copying each sentence would score."""
    inputs, sources = [e.sentence.lower() for e in examples], [leaves(e.source) for e in examples]
    return {
        "task": f"{name}: copy the input",
        "sentences": len(examples),
        "refused": left_out,
        **bleu(inputs, [e.reference.lower() for e in examples]),
        **copied(inputs, sources),
        **wording(inputs, sources),
    }


COLUMNS = {
    "bleu_authors": "BLEU (authors)",
    "bleu_corpus": "BLEU (corpus)",
    "bleu_source": "BLEU of the source",
    "content_kept": "content words kept, %",
    "repeated": "repeated, %",
    "relations": "relations kept, %",
    "missing": "content missing, %",
    "made_up": "content made up, %",
    "moved": "moved, %",
    "tags_followed": "words per leaf right, %",
    "well_formed": "well-formed, %",
    "asked_top": "asked top, %",
    "truncated": "cut short",
    "ms_per_sentence": "ms",
}


def markdown(table: list[dict]) -> str:
    """The rows as a Markdown table."""
    columns = {name: title for name, title in COLUMNS.items() if any(name in row for row in table)}
    lines = ["| task | sentences | refused | " + " | ".join(columns.values()) + " |", "|---|" + "--:|" * (len(columns) + 2)]
    for row in table:
        values = [format(row[c], ".1f" if isinstance(row[c], float) else "d") if c in row else "" for c in columns]
        lines.append(f"| {row['task']} | {row['sentences']} | {row['refused']} | " + " | ".join(values) + " |")
    return "\n".join(lines)
