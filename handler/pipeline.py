"""Turns requests into paraphrases: plan, generate parses, generate texts, rerank, answer. No HTTP, no TorchServe, no files.

pipeline = handler.artifacts.load("model_store/demo")
request = handler.wire.request.read_request({"sent": …, "synt": …, "tmpl": …})
pipeline.run(pipeline.plan(request))
"""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from handler.decoding import rerank
from handler.decoding.backend import Backend
from handler.decoding.grammar import ParseGrammar, TextGrammar
from handler.decoding.lexicon import FILL, Alignment, Lexicon
from handler.decoding.rules import Hints, ParseRules, TextRules
from handler.decoding.sampling import Decoded
from handler.language.detokenizer import write
from handler.language.relations import Meaning
from handler.language.split_tags import NONE, content_tags, split_tags
from handler.language.tagger import Tagger
from handler.language.trees import from_syntax_tokens, read_tree, template_of
from handler.language.vocabulary import Vocabulary, WordPieces
from handler.language.word_classes import COMMON, NO_TAG, ROWS
from handler.model.network import EOS, PAD, SOS
from handler.planning import PipelineConfig, Planner, Row, SourceParser
from handler.wire.request import Request
from handler.wire.response import Paraphrase

CHUNK_ROWS = 32  # rows decoded together; bounds memory whatever a request asks for


@dataclass(frozen=True)
class Stage:
    """What one network did for one chunk of rows; for the metrics."""

    name: str  # "parse" or "text"
    seconds: float
    rows: int
    tokens: int  # generated, <eos> included


class Run:
    """Rows on their way to paraphrases: their candidates are taken and decoded some at a time, and the best so far is kept."""

    def __init__(self, rows: list[Row]):
        self.rows = rows
        self.best: list[tuple] = [()] * len(rows)  # (score, minus its number), candidate, parse and text
        self.undecided = self.untaken = sum(row.candidates for row in rows)  # candidates that are neither kept nor dropped, or not taken
        self._tries = (Try(self, place, row.candidate(number)) for place, row in enumerate(rows) for number in range(row.candidates))

    def take(self, most: int) -> "list[Try]":
        """The next candidates to be decoded, at most so many."""
        taken = list(itertools.islice(self._tries, most))
        self.untaken -= len(taken)
        return taken

    def keep(self, place: int, value: float, candidate: Row, parse: Decoded, text: Decoded) -> None:
        """Take note of a decoded candidate of the row at a place and its score. Of equals the first one stays."""
        ranked = value, -candidate.options.candidate
        if not self.best[place] or ranked > self.best[place][0]:
            self.best[place] = ranked, candidate, parse, text
        self.undecided -= 1

    def drop(self) -> None:
        """Take note of a candidate that cannot be the best any more, and has not been decoded."""
        self.undecided -= 1

    def beaten(self, place: int, most: float | None) -> bool:
        """Whether a candidate that can score so much at most (None: nobody knows) cannot be the best of its row any more."""
        return most is not None and bool(self.best[place]) and most < self.best[place][0][0]


@dataclass(frozen=True)
class Try:
    """One candidate of one row of a run."""

    run: Run
    place: int  # of the row in the run
    row: Row  # the candidate


class Pipeline:
    """Both networks and the vocabulary. It keeps no state between calls: the same rows give the same paraphrases."""

    def __init__(
        self,
        config: PipelineConfig,
        vocabulary: Vocabulary,
        pieces: WordPieces,
        parse_generator: Backend,
        text_generator: Backend,
        tagger: Tagger | None = None,
        endings: Iterable[int] = (),
        lexicon: Lexicon | None = None,
        parser: SourceParser | None = None,
    ):
        """endings: ids of pieces that only end words and are never a word. lexicon: if given, texts have one word for each leaf of their
        parse; its weight is the configuration's `tag_weight`."""
        self.config, self.vocabulary, self.lexicon = config, vocabulary, lexicon
        self.parse_generator, self.text_generator = parse_generator, text_generator
        self.leaf_rows = {vocabulary.syntax_ids[tag]: row for tag, row in ROWS.items()}  # id of a tag -> its row of the lexicon
        writer = text_generator.config
        self.parse_grammar = ParseGrammar(vocabulary, parse_generator.output_vocab_size)
        self.shares_texts = True  # write equal texts of a batch once; a benchmark that repeats its sentences switches it off
        self.common = {tag: vocabulary.ids[word] for tag, word in COMMON.items() if word in vocabulary.ids}
        self.text_grammar = TextGrammar(vocabulary, writer.vocab_size, endings, writer.generation_vocab_size)
        self.planner = Planner(
            config,
            vocabulary,
            pieces,
            tagger,
            self.parse_grammar,
            self.text_grammar,
            parse_generator.config,
            writer,
            aligned=lexicon is not None,
            parser=parser,
        )

    def backend(self, net: str) -> Backend:
        """The backend of a network by its name in the artifact, `parse_generator` or `paraphraser`."""
        return self.parse_generator if net == "parse_generator" else self.text_generator

    def warm(self, rows: int) -> None:
        """Prepare for chunks of up to `rows` rows, so that no request has to wait for that."""
        self.parse_generator.warm(rows, self._parse_rules([[]]), scored=self.config.candidates > 1)
        self.text_generator.warm(rows, self._text_rules([[]], [[]], [[]], [[]], [FILL]))

    def plan(self, request: Request) -> list[Row]:
        """The rows of a request, targets x samples. Runs no network. Raises RequestError if something exceeds a limit."""
        return self.planner.plan(request)

    def run(self, rows: list[Row], chunk_rows: int = CHUNK_ROWS, observe: Callable[[Stage], None] = lambda stage: None) -> list[Paraphrase]:
        """Paraphrases in the order of the rows, decoding `chunk_rows` candidates at a time. Calls `observe` for every stage."""
        run = Run(rows)
        while tries := run.take(chunk_rows):
            self.decode(tries, observe)
        return self.paraphrases(run)

    def decode(self, tries: "list[Try]", observe: Callable[[Stage], None] = lambda stage: None) -> None:
        """Decode candidates as one chunk, of one run or of several, and keep the best of each row. Calls `observe` for every stage.

        Of the moved candidates of a row it is known beforehand what they will say, and so how much they can score at most. The most
        promising one is decoded first, and then those that can still be better.
        """
        promised = [self._promise(attempt.run.rows[attempt.place], attempt.row) for attempt in tries]
        best: dict[tuple[int, int], tuple[float, int]] = {}  # of each row: what its most promising candidate promises, and minus its place
        for i, most in enumerate(promised):
            if most is not None:
                row = id(tries[i].run), tries[i].place
                best[row] = max(best.get(row, (most, -i)), (most, -i))
        leading = {-i for _, i in best.values()}
        at_once = len(tries) <= self.text_generator.free_rows
        first = [i for i, most in enumerate(promised) if at_once or most is None or i in leading]
        for some in (first, [i for i in range(len(tries)) if i not in first]):
            left = []
            for i in some:
                if tries[i].run.beaten(tries[i].place, promised[i]):
                    tries[i].run.drop()
                else:
                    left.append(i)
            for i, made in zip(left, self._run_chunk([tries[i].row for i in left], observe)):
                run, place = tries[i].run, tries[i].place
                several = run.rows[place].candidates > 1
                run.keep(place, self._rerank_score(run.rows[place], *made, promised=promised[i]) if several else 0.0, *made)

    def paraphrases(self, run: "Run") -> list[Paraphrase]:
        """The answers to a run's rows, in their order. No candidate of it is left to be decoded."""
        return [self._paraphrase(row, *done[1:]) for row, done in zip(run.rows, run.best)]

    def _run_chunk(self, rows: Sequence[Row], observe: Callable[[Stage], None]) -> list[tuple[Row, Decoded, Decoded]]:
        """Generate the parse and the text of each row, and return them with the row that the text was written by."""
        if not rows:
            return []
        parses = [Decoded(row.syntax + [EOS], ended=True) for row in rows]
        from_template = [i for i, row in enumerate(rows) if not row.follows]
        began = time.perf_counter()
        generated = self.generate_parses([rows[i] for i in from_template])
        between = time.perf_counter()
        for i, parse in zip(from_template, generated):
            parses[i] = parse
        rows = [self._inflected(row, parse) for row, parse in zip(rows, parses)]
        # Candidates often have the same parse, and a greedy text of it is then the same: it is written once.
        keys = [
            (
                tuple(row.pieces),
                tuple(row.tagged_words),
                tuple(row.leaf_words),
                row.mark,
                row.options if row.options.temperature else None,
                row.scored,
                tuple(parse.ids),
                self.shares_texts or i,
            )
            for i, (row, parse) in enumerate(zip(rows, parses))
        ]
        distinct: dict[tuple, int] = {}  # what decides a text -> the first row of which it is true
        for i, key in enumerate(keys):
            distinct.setdefault(key, i)
        first = list(distinct.values())
        texts = dict(zip(distinct, self.generate_texts([rows[i] for i in first], [parses[i] for i in first])))
        if generated:
            observe(Stage("parse", between - began, len(generated), sum(len(parse.ids) for parse in generated)))
        observe(Stage("text", time.perf_counter() - between, len(texts), sum(len(text.ids) for text in texts.values())))
        return [(row, parse, texts[key]) for row, parse, key in zip(rows, parses, keys)]

    def generate_parses(self, rows: list[Row]) -> list[Decoded]:
        """The parse generator's answer to each row's tags and template."""
        if not rows:
            return []
        bag = self._pad([row.tags for row in rows], self.parse_generator, self.parse_generator.config.bag_width)
        syntax = self._pad([[SOS, *row.syntax, EOS] for row in rows], self.parse_generator, self.parse_generator.config.syntax_width)
        return self.parse_generator.generate(
            bag,
            syntax,
            [row.parse_options for row in rows],
            "parse",
            self._parse_rules([row.syntax for row in rows]),
            any(row.candidates > 1 for row in rows),
        )

    def generate_texts(self, rows: list[Row], parses: list[Decoded]) -> list[Decoded]:
        """The text generator's answer to each row's words and parse."""
        sentences = [row.pieces for row in rows]
        bag = self._pad(sentences, self.text_generator, self.text_generator.config.bag_width)
        syntax = self._pad([[SOS, *parse.ids] for parse in parses], self.text_generator, self.text_generator.config.syntax_width)
        rules = self._text_rules(
            sentences,
            [parse.ids for parse in parses],
            [row.tagged_words for row in rows],
            [row.leaf_words for row in rows],
            [row.mark for row in rows],
        )
        options, scored = [row.options for row in rows], any(row.scored for row in rows)
        return self.text_generator.generate(bag, syntax, options, "text", rules, scored, self._hints(rows, parses))

    def _hints(self, rows: list[Row], parses: list[Decoded]) -> Hints | None:
        """What the texts are likely to be made of, if no lexicon aligns them with their parses."""
        if not any(row.hints for row in rows):
            return None
        leaves = [self.vocabulary.decode_syntax(self.parse_grammar.leaves(parse.ids)) for parse in parses]
        return Hints(leaves, [row.hints for row in rows], self.common)

    def _parse_rules(self, templates: list[list[int]]) -> ParseRules | None:
        return ParseRules(self.parse_grammar, templates, self.parse_generator.config.max_steps) if self.config.constrained else None

    def _text_rules(
        self,
        sentences: list[list[int]],
        parses: list[list[int]],
        tagged: list[list[tuple[int, int]]],
        leaf_words: list[list[int]],
        marks: list[int],
    ) -> TextRules | None:
        c = self.config
        if not c.constrained:
            return None
        alignment = None
        if self.lexicon:
            leaves = [self._leaves(ids) if words else self._split_leaves(ids) for ids, words in zip(parses, leaf_words)]
            due = [mark if row[-1:] == [ROWS["."]] else FILL for mark, row in zip(marks, leaves)]
            alignment = Alignment(self.lexicon, leaves, tagged, leaf_words, due)
        return TextRules(
            self.text_grammar,
            sentences,
            self.text_generator.config.max_steps,
            c.source_bonus,
            c.repetition_penalty,
            c.order_bonus,
            c.copy_odds,
            c.word_weight if c.movement else 0.0,
            alignment,
        )

    def _leaves(self, parse: list[int]) -> list[int]:
        """Rows of the lexicon for a parse's leaves."""
        return [self.leaf_rows.get(leaf, NO_TAG) for leaf in self.parse_grammar.leaves(parse)]

    def _split_leaves(self, parse: list[int]) -> list[int]:
        """The same with the places of the leaves, where the lexicon splits their tags."""
        leaves = self._leaves(parse)
        if self.lexicon is None or self.lexicon.splits is None or not leaves:
            return leaves
        places = split_tags(self.vocabulary.decode_syntax(parse[:-1] if parse[-1] == EOS else parse))
        first = len(self.lexicon.table) - len(self.lexicon.splits)
        return [leaf if place == NONE else first + place for leaf, place in zip(leaves, places)]

    def _inflected(self, row: Row, parse: Decoded) -> Row:
        """The row with its sentence's words in the forms that the parse asks for. Moved parses have their own words."""
        if not (self.config.inflection and row.words and not row.leaf_words):
            return row
        syntax = self.vocabulary.decode_syntax(parse.ids[: len(parse.ids) - parse.ended])
        return self.planner.inflected(row, content_tags(syntax))

    def _promise(self, row: Row, candidate: Row) -> float | None:
        """What a candidate of a row can score at most; None where it is not known what it will say, or where nothing competes with it."""
        if row.candidates == 1 or row.source is None or candidate.meaning is None:
            return None
        return self._promise_of(row.source, candidate, candidate.meaning)

    def _promise_of(self, source: Meaning, candidate: Row, meaning: Meaning) -> float:
        return rerank.promise(source, meaning, self.config.relation_weight) - rerank.RESORT_PENALTY * candidate.resort

    def _rerank_score(self, row: Row, candidate: Row, parse: Decoded, text: Decoded, promised: float | None = None) -> float:
        """The higher, the better. row: whose answer is wanted, one of whose candidates this is; promised: as `_promise` says of it."""
        if row.source is None:
            return rerank.rerank_score(parse, text, rerank.content_of(row.tagged_words), self._leaves(parse.ids))
        said = self._text(candidate, text).split(" ")
        if promised is None or candidate.meaning is None or said != candidate.meaning.words:
            promised = self._promise_of(row.source, candidate, Meaning(read_tree(self._tree(parse)), said))
        return rerank.meaning_score(parse, text, promised)

    @staticmethod
    def _pad(sequences: list[list[int]], backend: Backend, width: int) -> np.ndarray:
        """(B, width) ids, filled up with <pad>. Where pads are masked, the width is that of the longest row."""
        if not backend.config.attend_pads:
            width = max(map(len, sequences))
        padded = np.full((len(sequences), width), PAD, np.int64)
        for row, ids in zip(padded, sequences):
            row[: len(ids)] = ids
        return padded

    def _tree(self, parse: Decoded) -> str:
        """A parse as brackets and labels."""
        return from_syntax_tokens(self.vocabulary.decode_syntax(parse.ids[: len(parse.ids) - parse.ended]))

    def _text(self, row: Row, text: Decoded) -> str:
        """A text as words; its row has the sentence that the text's columns are numbered by."""
        ids = self.text_grammar.tokens(text.ids, row.pieces)
        said = self.vocabulary.decode_text(ids[: len(ids) - text.ended])
        return " ".join(row.stand_ins.get(word, word) for word in said.split(" ")) if row.stand_ins else said

    def _written(self, row: Row, said: str, parse: Decoded) -> str:
        """A text as people write it, if its words are Penn Treebank tokens."""
        if row.surface is None:
            return said
        ids = self.parse_grammar.leaves(parse.ids)
        return write(said.split(" "), self.vocabulary.decode_syntax(ids), row.surface) if said else said

    def _paraphrase(self, row: Row, candidate: Row, parse: Decoded, text: Decoded) -> Paraphrase:
        said, tree = self._text(candidate, text), self._tree(parse)
        return Paraphrase(
            text=said,
            written=self._written(row, said, parse),
            template=str(template_of(row.target.tree)),
            parse=tree,
            log_probability=text.log_probability if row.scored else None,
            truncated=not (parse.ended and text.ended),
            seed=row.seed,
            unknown_words=row.unknown,
            tags_predicted=row.tags_predicted,
            moves=candidate.moves,
            source_parse=str(row.source.parse) if row.source is not None else None,
        )
