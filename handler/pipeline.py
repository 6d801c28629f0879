"""Requests in, paraphrases out: tokens, parse generator, paraphrase generator, text. No HTTP, no TorchServe, no files.

    paraphraser = handler.artifacts.load("model_store/demo")
    request = handler.request.read_request({"sent": …, "synt": …, "tmpl": …})
    paraphraser.run(paraphraser.plan(request))
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from handler import candidates
from handler.constraints import ParseConstraint, ParseGrammar, TextConstraint, TextGrammar
from handler.decoding import Constraint, Decoded, DecodingOptions, draft_parses, draft_texts, generate
from handler.drafts import Drafts
from handler.engine import Engine
from handler.errors import RequestError
from handler.graphs import Graphed
from handler.lexicon import AUXILIARIES, NO_TAG, ROWS, VERBS, Alignment, Lexicon
from handler.machines import ParseMachines, ParseTables, TextMachines
from handler.model import EOS, PAD, SOS, UNK, SynPG
from handler.request import MAX_CANDIDATES, Envelope, Request, Target, guarded
from handler.response import Paraphrase
from handler.syntax import from_syntax_tokens, syntax_tokens, tags, template_of, words
from handler.tagger import Tagger
from handler.text import Vocabulary, WordPieces, tokenize

TOKENIZATIONS = "ptb", "raw"
Net = SynPG | Engine | Graphed
CHUNK_ROWS = 32  # rows decoded together; bounds memory whatever a body asks for


@dataclass(frozen=True)
class PipelineConfig:
    """Section `pipeline` of `config.json`."""

    tokenization: str  # "ptb": lower-cased Penn Treebank tokens. "raw": the string as it is, split at blanks (published)
    bpe_threshold: int  # pieces counted less often in bpe.vocab.txt are split further
    constrained: bool  # True: parses are trees with the asked top, texts are words. False: whatever the networks say
    source_bonus: float = 0.0  # nats on the logit of a piece of the sentence not yet written; with constraints only
    repetition_penalty: float = 0.0  # nats off the logit of a piece written often enough; with constraints only
    tag_weight: float = 0.0  # times log p(tag | word), on a word at a leaf of that tag; above 0: exactly one word a leaf
    order_bonus: float = 0.0  # nats on the word that follows the last one in the sentence; with constraints only
    candidates: int = 1  # paraphrases made of a template, of which the best answers; a request may say otherwise
    copy_odds: float = 0.0  # of copying a word of the leaf's kind not yet written to what the network says; with tag_weight only

    def __post_init__(self):
        if self.tokenization not in TOKENIZATIONS:
            raise ValueError(f"tokenization must be one of {', '.join(TOKENIZATIONS)}, not {self.tokenization!r}")
        if type(self.bpe_threshold) is not int or self.bpe_threshold < 0:
            raise ValueError(f"bpe_threshold must be an integer of at least 0, not {self.bpe_threshold!r}")
        if type(self.constrained) is not bool:
            raise ValueError(f"constrained must be true or false, not {self.constrained!r}")
        for name in ("source_bonus", "repetition_penalty", "tag_weight", "order_bonus", "copy_odds"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value <= 100:
                raise ValueError(f"{name} must be a number from 0 to 100, not {value!r}")
        if type(self.candidates) is not int or not 1 <= self.candidates <= MAX_CANDIDATES:
            raise ValueError(f"candidates must be an integer from 1 to {MAX_CANDIDATES}, not {self.candidates!r}")
        if self.tag_weight and not (self.constrained and self.tokenization == "ptb"):
            raise ValueError("tag_weight above 0 needs constrained true and tokenization ptb, where words and tags line up")


@dataclass(frozen=True)
class Row:
    """One paraphrase to be made: everything the networks need, checked against their limits."""

    pieces: list[int]  # ids of the sentence's BPE pieces
    tags: list[int]  # ids of its part-of-speech tags; empty when a whole parse is followed
    seen: list[tuple[int, int]]  # as `lexicon.Alignment` has it; empty where tags are not known, do not line up or are not used
    tags_predicted: bool  # by the tagger, for want of a parse; used as `tags` or as `seen`
    syntax: list[int]  # ids of the target's syntax tokens, without <sos> and <eos>
    target: Target
    options: DecodingOptions
    seed: int  # of the request
    scored: bool = True  # the text's log-probability is asked for
    candidates: int = 1  # how many are made, of which the best answers

    def candidate(self, number: int) -> "Row":
        """One of them, to be made by itself."""
        return replace(self, options=replace(self.options, candidate=number), scored=self.scored or self.candidates > 1)

    @property
    def parse_options(self) -> DecodingOptions:
        """Of its parse. The first candidate's is the one that there would be without others. At temperature 0, where a request
        needs no seed to be repeated, the others' random numbers are always the same."""
        given = self.options
        if not given.candidate or given.temperature >= candidates.TEMPERATURE:
            return given
        return replace(given, temperature=candidates.TEMPERATURE, seed=given.seed if given.temperature else 0)


@dataclass(frozen=True)
class Stage:
    """What one network did with one chunk of rows."""

    name: str  # "parse" or "text"
    seconds: float
    rows: int
    tokens: int  # generated, <eos> included


class Paraphraser:
    """Both networks and the vocabulary. Stateless between calls: the same rows give the same paraphrases."""

    def __init__(self, config: PipelineConfig, vocabulary: Vocabulary, pieces: WordPieces, parse_generator: Net, paraphraser: Net,
                 tagger: Tagger | None = None, drafts: Drafts | None = None, endings: Iterable[int] = (),
                 lexicon: Lexicon | None = None):
        """lexicon: with it texts follow their parses leaf by leaf; its weight is the configuration's `tag_weight`."""
        self.config, self.vocabulary, self.pieces, self.tagger = config, vocabulary, pieces, tagger
        self.parse_generator, self.paraphraser, self.drafts, self.lexicon = parse_generator, paraphraser, drafts, lexicon
        self.auxiliaries = {vocabulary.ids[word] for word in AUXILIARIES & vocabulary.ids.keys()}
        self.tag_rows = {vocabulary.syntax_ids[tag]: row for tag, row in ROWS.items()}  # of the lexicon, by ids
        self.device = paraphraser.device
        self.parse_grammar = ParseGrammar(vocabulary, parse_generator.vocabulary, self.device)
        writer = paraphraser.config
        self.text_grammar = TextGrammar(vocabulary, writer.vocab_size, self.device, endings, writer.written)
        on_cpu = isinstance(parse_generator, Engine)  # rules as machines rather than tensors
        self.parse_tables = ParseTables(self.parse_grammar) if on_cpu and config.constrained else None
        self.text_constraint = TextMachines if on_cpu else TextConstraint

    def warm(self, rows: int) -> None:
        """On a GPU, get ready for every chunk of up to `rows` rows, so that no request has to wait for it."""
        if isinstance(self.parse_generator, Graphed):
            self.parse_generator.warm(rows, self._parse_constraint([[]]), scored=self.config.candidates > 1)
            self.paraphraser.warm(rows, self._text_constraint([[]], [[]], [[]]))

    def plan(self, request: Request) -> list[Row]:
        """The rows of a request, targets x samples. Raises RequestError for what does not fit; costs no network."""
        pieces = self.encode_words(request)
        if len(pieces) > self.paraphraser.config.bag_width:
            raise RequestError(f"has {len(pieces)} word pieces, at most {self.paraphraser.config.bag_width} are read", "sent")
        from_template = not all(target.whole for target in request.targets)
        labels = self.source_tags(request) if from_template or self.lexicon else None
        source_tags = self.encode_tags(request, labels) if from_template else []
        seen = self.seen(pieces, labels)
        rows = []
        for target in request.targets:
            syntax = self.encode_syntax(target)
            for sample in range(request.num_paraphrases):
                # The seed names the sample, not the target: a target's answer is the same alone and in a list.
                options = DecodingOptions(request.temperature, request.seed * 1_000_003 + sample)
                predicted = request.source is None and (not target.whole or bool(seen))
                tries = 1 if target.whole else request.candidates or self.config.candidates
                rows.append(Row(pieces, [] if target.whole else source_tags, seen, predicted, syntax, target, options, request.seed,
                                request.details, tries))
        return rows

    def source_tags(self, request: Request) -> list[str] | None:
        """The sentence's part-of-speech tags: its parse's, or the tagger's where there is none; None without either."""
        if request.source is not None:
            return tags(request.source)
        return self.tagger and self.tagger.tag(tokenize(request.sentence))  # case is kept: it tells names

    def encode_tags(self, request: Request, labels: list[str] | None) -> list[int]:
        """Ids of a sentence's part-of-speech tags, for the parse generator."""
        if labels is None:
            raise RequestError("is required: this model has no tagger, and the parse generator reads tags", "synt")
        if len(labels) > self.parse_generator.config.bag_width:
            raise RequestError(f"has {len(labels)} words, at most {self.parse_generator.config.bag_width} are read",
                               "sent" if request.source is None else "synt")
        return [self.vocabulary.syntax_ids[tag] for tag in labels]

    def seen(self, pieces: list[int], labels: list[str] | None) -> list[tuple[int, int]]:
        """Words of a sentence with their tags, as `lexicon.Alignment` has them; none where they are not used or do not line up.

        Without auxiliaries, which are no content words and whose tags are known, and unknown pieces, which cannot be written.
        """
        begin = self.text_grammar.begin(pieces)
        if not (self.lexicon and labels and len(labels) == len(begin)):
            return []
        found = [(piece, ROWS[tag]) for piece, tag in zip(begin, labels) if piece != UNK]
        return [(piece, row) for piece, row in found if row not in VERBS or piece not in self.auxiliaries]

    def encode_words(self, request: Request) -> list[int]:
        """Ids of the sentence's BPE pieces. The leaves of its parse are its tokens where there is one."""
        if self.config.tokenization == "raw":
            tokens = request.sentence.strip("\r\n ").split(" ")
        else:
            tokens = words(request.source) if request.source is not None else tokenize(request.sentence)
            tokens = [token.lower() for token in tokens]
        return [self.vocabulary.ids.get(piece, UNK) for piece in self.pieces.split(tokens)]

    def encode_syntax(self, target: Target) -> list[int]:
        """Ids of the target's syntax tokens. Raises RequestError when they do not fit."""
        ids = [self.vocabulary.syntax_ids[token] for token in syntax_tokens(target.tree)]
        net = self.paraphraser if target.whole else self.parse_generator
        if len(ids) + 2 > net.config.syntax_width:
            raise RequestError(f"has {len(ids)} brackets and labels, at most {net.config.syntax_width - 2} are read",
                               target.field)
        if target.whole and self.lexicon:
            leaves, most = len(self.parse_grammar.leaves(ids)), self.paraphraser.config.max_steps - 1
            if leaves > most:
                raise RequestError(f"has {leaves} leaves, at most {most} words are written", target.field)
        if not target.whole and self.config.constrained:
            shortest = ParseConstraint.shortest(ids, self.parse_grammar)
            if shortest > self.parse_generator.config.max_steps:
                raise RequestError(f"has no parse of fewer than {shortest} tokens, at most "
                                   f"{self.parse_generator.config.max_steps} are generated", target.field)
        return ids

    def answer(self, envelopes: list[Envelope | RequestError], chunk_rows: int = CHUNK_ROWS,
               observe: Callable[[Stage], None] = lambda stage: None) -> list[tuple]:
        """All rows of all envelopes as one batch: each envelope with its answers as `response.build` takes them, errors in
        their places."""
        plans = [[] if isinstance(envelope, RequestError) else
                 [guarded(lambda: item if isinstance(item, RequestError) else self.plan(item)) for item in envelope.items]
                 for envelope in envelopes]
        rows = [row for plan in plans for item in plan if not isinstance(item, RequestError) for row in item]
        done = iter(self.run(rows, chunk_rows, observe))
        return [(envelope, [item if isinstance(item, RequestError) else [next(done) for _ in item] for item in plan])
                for envelope, plan in zip(envelopes, plans)]

    def run(self, rows: list[Row], chunk_rows: int = CHUNK_ROWS,
            observe: Callable[[Stage], None] = lambda stage: None) -> list[Paraphrase]:
        """Paraphrases in the order of the rows, `chunk_rows` candidates at a time; `observe` is told of every stage that ran."""
        tries = [(place, row.candidate(number)) for place, row in enumerate(rows) for number in range(row.candidates)]
        best: list[tuple] = [()] * len(rows)  # merit, parse and text
        for i in range(0, len(tries), chunk_rows):
            places, chunk = zip(*tries[i : i + chunk_rows])
            for place, row, (parse, text) in zip(places, chunk, self._run_chunk(chunk, observe)):
                merit = self._merit(row, parse, text) if row.candidates > 1 else 0.0
                if not best[place] or merit > best[place][0]:
                    best[place] = merit, parse, text
        return [self._paraphrase(row, *done[1:]) for row, done in zip(rows, best)]

    def _merit(self, row: Row, parse: Decoded, text: Decoded) -> float:
        leaves = [self.tag_rows.get(leaf, NO_TAG) for leaf in self.parse_grammar.leaves(parse.ids)]
        return candidates.merit(parse, text, candidates.content_of(row.seen), leaves)

    def _run_chunk(self, rows: Sequence[Row], observe: Callable[[Stage], None]) -> list[tuple[Decoded, Decoded]]:
        """Parse and text of each row."""
        parses = [Decoded(row.syntax + [EOS], ended=True) for row in rows]
        from_template = [i for i, row in enumerate(rows) if not row.target.whole]
        began = time.perf_counter()
        generated = self.generate_parses([rows[i] for i in from_template])
        between = time.perf_counter()
        for i, parse in zip(from_template, generated):
            parses[i] = parse
        # Candidates often have the same parse, and a greedy text of it is then the same.
        same = [(id(row.pieces), id(row.seen), row.options if row.options.temperature else None, *parse.ids)
                for row, parse in zip(rows, parses)]
        first = list({key: i for i, key in reversed(list(enumerate(same)))}.values())
        made = dict(zip((same[i] for i in first), self.generate_texts([rows[i] for i in first], [parses[i] for i in first])))
        texts = [made[key] for key in same]
        if generated:
            observe(Stage("parse", between - began, len(generated), sum(len(parse.ids) for parse in generated)))
        observe(Stage("text", time.perf_counter() - between, len(made), sum(len(text.ids) for text in made.values())))
        return list(zip(parses, texts))

    def generate_parses(self, rows: list[Row]) -> list[Decoded]:
        """The parse generator's answer to each row's tags and template."""
        if not rows:
            return []
        net = self.parse_generator
        bag = self._pad([row.tags for row in rows], net.config.bag_width, net)
        syntax = self._pad([[SOS, *row.syntax, EOS] for row in rows], net.config.syntax_width, net)
        options, templates = [row.parse_options for row in rows], [row.syntax for row in rows]
        constraint, scored = self._parse_constraint(templates), any(row.candidates > 1 for row in rows)
        if self.drafts and isinstance(constraint, ParseMachines):
            return draft_parses(net, bag, syntax, options, "parse", constraint, self.drafts, scored)
        return self._generate(net, bag, syntax, options, "parse", constraint, scored)

    def generate_texts(self, rows: list[Row], parses: list[Decoded]) -> list[Decoded]:
        """The paraphraser's answer to each row's words and parse."""
        net = self.paraphraser
        sentences = [row.pieces for row in rows]
        inputs = (self._pad(sentences, net.config.bag_width, net),
                  self._pad([[SOS, *parse.ids] for parse in parses], net.config.syntax_width, net), [row.options for row in rows], "text")
        constraint = self._text_constraint(sentences, [parse.ids for parse in parses], [row.seen for row in rows])
        scored = not isinstance(net, Engine) or any(row.scored for row in rows)
        if self.drafts and self.lexicon and isinstance(constraint, TextMachines):
            return draft_texts(net, *inputs, constraint, scored)
        return self._generate(net, *inputs, constraint, scored)

    def _generate(self, net: Net, *inputs, **options) -> list[Decoded]:
        return net.generate(*inputs, **options) if isinstance(net, Graphed) else generate(net, *inputs, **options)

    def _parse_constraint(self, templates: list[list[int]]) -> Constraint | None:
        steps = self.parse_generator.config.max_steps
        if not self.config.constrained:
            return None
        return (ParseMachines(self.parse_tables, templates, steps) if self.parse_tables else
                ParseConstraint(self.parse_grammar, templates, steps))

    def _text_constraint(self, sentences: list[list[int]], parses: list[list[int]],
                         seen: list[list[tuple[int, int]]]) -> Constraint | None:
        if not self.config.constrained:
            return None
        alignment = None
        if self.lexicon:
            leaves = [[self.tag_rows.get(leaf, NO_TAG) for leaf in self.parse_grammar.leaves(ids)] for ids in parses]
            alignment = Alignment(self.lexicon, leaves, seen)
        return self.text_constraint(self.text_grammar, sentences, self.paraphraser.config.max_steps, self.config.source_bonus,
                                    self.config.repetition_penalty, self.config.order_bonus, self.config.copy_odds, alignment)

    def _pad(self, sequences: list[list[int]], width: int, net: Net) -> Tensor:
        """(B, width) ids, <pad> after each row's end; the width follows the batch where pads are masked."""
        if not net.config.attend_pads:
            width = max(map(len, sequences))
        return torch.tensor([ids + [PAD] * (width - len(ids)) for ids in sequences], device=self.device)

    def _paraphrase(self, row: Row, parse: Decoded, text: Decoded) -> Paraphrase:
        parse_tokens = self.vocabulary.decode_syntax(parse.ids[: len(parse.ids) - parse.ended])
        written = self.text_grammar.tokens(text.ids, row.pieces)
        return Paraphrase(
            text=self.vocabulary.decode_text(written[: len(written) - text.ended]),
            template=str(template_of(row.target.tree)), parse=from_syntax_tokens(parse_tokens),
            log_probability=text.log_probability if row.scored else None, truncated=not (parse.ended and text.ended), seed=row.seed,
            unknown_words=row.pieces.count(UNK), tags_predicted=row.tags_predicted)
