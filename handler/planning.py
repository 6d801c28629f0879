"""Turns a request into rows of ids and checks them against the networks' limits. No network, no files."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import Protocol

from handler.decoding import rerank
from handler.decoding.grammar import ParseGrammar, TextGrammar
from handler.decoding.lexicon import FILL
from handler.decoding.sampling import DecodingOptions
from handler.errors import RequestError
from handler.language.english import is_english
from handler.language.inflection import fitted
from handler.language.relations import Meaning
from handler.language.surface import Surface
from handler.language.tagger import Tagger
from handler.language.tokenizer import tokenize
from handler.language.trees import Tree, read_tree, syntax_tokens, tags, template_of, words
from handler.language.vocabulary import Vocabulary, WordPieces
from handler.language.word_classes import AUXILIARIES, ROWS, VERBS
from handler.language.wordlists import STAND_INS
from handler.model.network import UNK, ModelConfig
from handler.movement.propose import Mover
from handler.wire.request import MAX_CANDIDATES, Request, Target, added_templates

FRAME_GAP = 5  # ranks of last resort behind the best parse, from which one does not compete with it
MOST_MOVED = 8  # parses by movement that are considered for a template
TOKENIZATIONS = "ptb", "raw"
MARKS = frozenset(".!?")
QUESTIONS = frozenset({"SQ", "SBARQ"})


@dataclass(frozen=True)
class PipelineConfig:
    """Section `pipeline` of `config.json`."""

    tokenization: str  # "ptb": lower-cased Penn Treebank tokens. "raw": the string as it is, split at blanks (published)
    bpe_threshold: int  # BPE pieces that bpe.vocab.txt counts less often are split further
    constrained: bool  # True: parses follow the template, texts are real words. False: no rules
    source_bonus: float = 0.0  # nats added to the logit of an unwritten piece of the sentence; with constraints only
    repetition_penalty: float = 0.0  # nats subtracted from the logit of a piece written often enough; with constraints only
    tag_weight: float = 0.0  # times log p(tag | word), added to a word at a leaf of that tag; above 0: one word a leaf
    split_weight: float = 0.0  # times ln p(place | word, tag) / p(place | tag), added to a word at a leaf; with tag_weight only
    order_bonus: float = 0.0  # nats added to the word that follows the last one in the sentence; with constraints only
    candidates: int = 1  # paraphrases generated for a template, of which rerank keeps the best; a request may override it
    inflection: bool = False  # words of the sentence take the forms that a parse asks for; with tag_weight only
    movement: bool = False  # templates are also reached by moving the constituents of the sentence's own parse
    word_weight: float = 0.0  # nats on the word that a moved parse has at the leaf; with movement and tag_weight only
    relation_weight: float = 0.0  # nats a token in the choice of a candidate, for all relations of the sentence kept; with movement only
    copy_odds: float = 0.0  # of copying an unwritten word of the leaf's kind, to the network's choice; with tag_weight only
    templates: dict[str, str] = field(default_factory=dict)  # named ones besides the catalogue: name -> template

    def __post_init__(self) -> None:
        if self.tokenization not in TOKENIZATIONS:
            raise ValueError(f"tokenization must be one of {', '.join(TOKENIZATIONS)}, not {self.tokenization!r}")
        if type(self.bpe_threshold) is not int or self.bpe_threshold < 0:
            raise ValueError(f"bpe_threshold must be an integer of at least 0, not {self.bpe_threshold!r}")
        for name in ("constrained", "inflection", "movement"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} must be true or false, not {getattr(self, name)!r}")
        if self.movement and not (self.constrained and self.tokenization == "ptb"):
            raise ValueError("movement needs constrained true and tokenization ptb, where words and tags line up")
        for name in (
            "source_bonus",
            "repetition_penalty",
            "tag_weight",
            "split_weight",
            "order_bonus",
            "copy_odds",
            "word_weight",
            "relation_weight",
        ):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value <= 100:
                raise ValueError(f"{name} must be a number from 0 to 100, not {value!r}")
        if type(self.candidates) is not int or not 1 <= self.candidates <= MAX_CANDIDATES:
            raise ValueError(f"candidates must be an integer from 1 to {MAX_CANDIDATES}, not {self.candidates!r}")
        if self.tag_weight and not (self.constrained and self.tokenization == "ptb"):
            raise ValueError("tag_weight above 0 needs constrained true and tokenization ptb, where words and tags line up")
        added_templates(self.templates)


@dataclass(frozen=True)
class Moved:
    """A parse made by moving constituents of the source's own, and the words that it is to be written with."""

    pieces: list[int]  # ids of the BPE pieces of its words
    tagged_words: list[tuple[int, int]]  # as `Row.tagged_words`
    leaf_words: list[int]  # of each leaf its word, by its first piece as the row's columns are numbered
    syntax: list[int]  # ids of its brackets and labels
    moves: tuple[str, ...]  # that led to it from the source's parse
    resort: int  # as `Proposal.resort`
    meaning: Meaning  # what it will say


@dataclass(frozen=True)
class Row:
    """One paraphrase to be made: the unit of a batch."""

    pieces: list[int]  # ids of the sentence's BPE pieces
    tags: list[int]  # ids of its part-of-speech tags; empty when a whole parse is followed
    tagged_words: list[tuple[int, int]]  # see `lexicon.Alignment`; empty if tags are unknown, do not line up or are not used
    words: list[tuple[str, str]]  # its words as they are encoded, with their tags; empty where `tagged_words` is
    hints: list[tuple[tuple[int, ...], str]]  # its words' pieces, with their tags, as `rules.Hints`; empty if texts are aligned
    tags_predicted: bool  # by the parser or the tagger, because the request has no parse; they are in `tags` or in `tagged_words`
    syntax: list[int]  # ids of the target's syntax tokens, without <sos> and <eos>
    target: Target
    options: DecodingOptions
    seed: int  # of the request
    scored: bool = True  # the text's log-probability is asked for
    candidates: int = 1  # how many are made, of which the best answers
    follows: bool = False  # `syntax` is a whole parse, to be followed as it is
    source: Meaning | None = None  # by the sentence's own parse, given or predicted; None where that is not known or not used
    moved: tuple[Moved, ...] = ()  # a parse for each candidate, best first; empty: its parses are generated
    moves: tuple[str, ...] | None = None  # of this candidate's parse; None: it is generated, or the request's own
    leaf_words: list[int] = field(default_factory=list)  # as `Moved.leaf_words`, where this candidate's parse is moved
    mark: int = FILL  # that a text ends in whose parse ends in one, by its id; FILL where the network chooses it
    surface: Surface | None = None  # how the sentence is written; None where answers stay as the network writes them
    stand_ins: dict[str, str] = field(default_factory=dict)  # word that stands for one the vocabulary lacks -> that word
    unknown: int = 0  # pieces of the sentence that are not in the vocabulary
    resort: int = 0  # as `Moved.resort`, where this candidate's parse is moved
    meaning: Meaning | None = None  # what this candidate will say, where its parse is moved

    def candidate(self, number: int) -> "Row":
        """One of its candidates, to be made by itself. Where moves reach the template, all have moved parses; else all are generated,
        and the first of these is the one that there would be without others."""
        scored = self.scored or self.candidates > 1
        if self.moved:
            one = self.moved[number]
            made = replace(
                self,
                pieces=one.pieces,
                tagged_words=one.tagged_words,
                syntax=one.syntax,
                tags=[],
                follows=True,
                words=[],
                moves=one.moves,
                leaf_words=one.leaf_words,
                mark=FILL,
                resort=one.resort,
                meaning=one.meaning,
            )
            return replace(made, options=replace(self.options, candidate=number), scored=scored)
        return replace(self, options=replace(self.options, candidate=number), scored=scored)

    @property
    def parse_options(self) -> DecodingOptions:
        """How its parse is decoded.

        The first candidate's parse is the one that would be generated without other candidates. The others are sampled, because
        otherwise they would be the same. At temperature 0 a request repeats without a seed, so they always use the same random numbers.
        """
        given = self.options
        if not given.candidate or given.temperature >= rerank.TEMPERATURE:
            return given
        return replace(given, temperature=rerank.TEMPERATURE, seed=given.seed if given.temperature else 0)


class SourceParser(Protocol):
    """What predicts the parse of a sentence."""

    def parse(self, tokens: list[str]) -> Tree:
        """A tree with exactly these tokens at its leaves."""
        ...


class Planner:
    """Turns words and trees into ids, within the limits of the two networks. It keeps no state between calls."""

    def __init__(
        self,
        config: PipelineConfig,
        vocabulary: Vocabulary,
        pieces: WordPieces,
        tagger: Tagger | None,
        parse_grammar: ParseGrammar,
        text_grammar: TextGrammar,
        parse_limits: ModelConfig,
        text_limits: ModelConfig,
        aligned: bool,
        parser: SourceParser | None = None,
    ):
        """parse_limits, text_limits: the two networks' configurations. aligned: texts follow their parses leaf by leaf."""
        self.config, self.vocabulary, self.pieces, self.tagger, self.parser = config, vocabulary, pieces, tagger, parser
        self.parse_grammar, self.text_grammar = parse_grammar, text_grammar
        self.parse_limits, self.text_limits, self.aligned = parse_limits, text_limits, aligned
        self.auxiliaries = {vocabulary.ids[word] for word in AUXILIARIES & vocabulary.ids.keys()}

    def plan(self, request: Request) -> list[Row]:
        """The rows of a request, targets x samples. Raises RequestError if something exceeds a limit."""
        tokens = self.tokens(request)
        pieces_of = cache(self._known_pieces)  # long words take time
        if self.config.constrained and self.config.tokenization == "ptb" and not is_english(tokens, pieces_of):
            raise RequestError("is mostly outside this model's vocabulary, which is English", "sent")
        stand_ins = self.stand_ins(tokens, pieces_of)
        pieces = self.encode_words(tokens, stand_ins)
        if len(pieces) > self.text_limits.bag_width:
            raise RequestError(f"has {len(pieces)} word pieces, at most {self.text_limits.bag_width} are read", "sent")
        targets = [self.template_like(target) if target.like is not None else target for target in request.targets]
        from_template = not all(target.whole for target in targets)
        source = self.source_tree(request, tokens) if from_template or self.aligned else None
        labels = self.source_tags(request, source) if from_template or self.aligned else None
        source_tags = self.encode_tags(request, labels) if from_template else []
        tagged = self.tagged_words(pieces, labels)
        lowered = [stand_ins.get(token.lower(), token.lower()) for token in tokens]
        labelled = list(zip(lowered, labels)) if tagged and labels and self.config.inflection else []
        hints = [] if self.aligned else self.hints(pieces, labels or self.source_tags(request, request.source) or [])
        mover = Mover(source) if self.config.movement and from_template and source is not None else None
        surface = Surface(request.sentence, tokens, labels) if self.config.tokenization == "ptb" else None
        written_for = {stand_in: word for word, stand_in in stand_ins.items()}
        unknown = self.encode_words(tokens).count(UNK) if stand_ins else pieces.count(UNK)
        rows = []
        for target in targets:
            syntax = self.encode_syntax(target)
            candidates = 1 if target.whole else request.candidates or self.config.candidates
            competing = request.num_paraphrases - 1 + candidates  # parses that a sample may begin with or compare
            moved = list(islice(self.moved(mover, target, stand_ins), competing)) if mover and not target.whole else []
            for sample in range(request.num_paraphrases):
                left = tuple(moved[sample : sample + candidates])  # another sample begins with another parse, while there are some
                left = tuple(one for one in left if one.resort < left[0].resort + FRAME_GAP)  # an empty frame only for want of better
                # The seed depends on the sample, not on the target: a target's answer is the same alone and in a list.
                options = DecodingOptions(request.temperature, request.seed * 1_000_003 + sample)
                rows.append(
                    Row(
                        pieces=pieces,
                        tags=[] if target.whole else source_tags,
                        tagged_words=tagged,
                        words=labelled,
                        hints=hints,
                        tags_predicted=request.source is None and (not target.whole or bool(tagged)),
                        syntax=syntax,
                        target=target,
                        options=options,
                        seed=request.seed,
                        scored=request.details,
                        candidates=len(left) or candidates,
                        follows=target.whole,
                        source=mover.meaning if mover else None,
                        moved=left,
                        mark=self.final_mark(target, tokens),
                        surface=surface,
                        stand_ins=written_for,
                        unknown=unknown,
                    )
                )
        return rows

    def check_template(self, template: str) -> None:
        """Raise RequestError if the networks cannot read this template, which is well-formed."""
        self.encode_syntax(Target(read_tree(template), False, "tmpl"))

    def template_like(self, target: Target) -> Target:
        """The target with the template of its example sentence: the top of what the parser makes of it."""
        if self.parser is None:
            raise RequestError("needs a parser, which this model has not; give tmpl", target.field)
        return replace(target, tree=template_of(self.parser.parse(tokenize(target.like or ""))))

    def source_tree(self, request: Request, tokens: list[str]) -> Tree | None:
        """The sentence's parse: the request's, or the parser's where there is none; None without either. tokens: of the sentence."""
        if request.source is not None or self.parser is None:
            return request.source
        return self.parser.parse(tokens if self.config.tokenization == "ptb" else tokenize(request.sentence))  # case tells names

    def source_tags(self, request: Request, source: Tree | None) -> list[str] | None:
        """The sentence's part-of-speech tags: its parse's, or the tagger's where there is none; None without either."""
        if source is not None:
            return tags(source)
        return self.tagger.tag(tokenize(request.sentence)) if self.tagger else None

    def moved(self, mover: Mover, target: Target, stand_ins: dict[str, str]) -> Iterator[Moved]:
        """Parses under a target's template that are made of the source's own, best first, as far as the networks can write them."""
        for proposal in mover.propose(target.tree, MOST_MOVED):
            pieces = self.encode_words(words(proposal.tree), stand_ins)
            syntax = [self.vocabulary.syntax_ids[token] for token in syntax_tokens(proposal.tree)]
            limits = self.text_limits
            fits = len(pieces) <= limits.bag_width and len(syntax) + 2 <= limits.syntax_width and len(pieces) < limits.max_steps
            leaf_words = self.text_grammar.begin(pieces)
            if fits and UNK not in pieces and len(leaf_words) == len(proposal.tree.leaves()):
                tagged = self.tagged_words(pieces, tags(proposal.tree))
                yield Moved(pieces, tagged, leaf_words, syntax, proposal.moves, proposal.resort, proposal.meaning)

    def final_mark(self, target: Target, tokens: list[str]) -> int:
        """The id of the mark that a target ends in, if it ends in one; FILL where the network chooses.

        Questions end in `?`, whatever the sentence ends in. Other templates end in the sentence's `!` or in a full stop. A whole parse
        that is no question may still be one in its words, so there the `?` of a sentence leaves the choice to the network.
        """
        tops = [child.label for child in target.tree.children]
        inner = [child.label for top in target.tree.children for child in top.children]
        own = next((token for token in reversed(tokens) if token in MARKS), ".")
        if QUESTIONS & {*tops, *(inner if target.whole else ())}:
            mark = "?"
        elif own == "?":
            mark = "" if target.whole else "."
        else:
            mark = own
        found = self.vocabulary.ids.get(mark, FILL)
        known = found < len(self.text_grammar.is_word) and self.text_grammar.is_word[found]
        return found if self.aligned and known else FILL

    def encode_tags(self, request: Request, labels: list[str] | None) -> list[int]:
        """Ids of a sentence's part-of-speech tags, for the parse generator."""
        if labels is None:
            raise RequestError("is required: this model has no tagger, and the parse generator reads tags", "synt")
        if len(labels) > self.parse_limits.bag_width:
            raise RequestError(
                f"has {len(labels)} words, at most {self.parse_limits.bag_width} are read", "sent" if request.source is None else "synt"
            )
        return [self.vocabulary.syntax_ids[tag] for tag in labels]

    def tagged_words(self, pieces: list[int], labels: list[str] | None) -> list[tuple[int, int]]:
        """Words of a sentence with their tags, as `lexicon.Alignment` expects them. Empty if they are not used or do not line up.

        Auxiliaries are left out, because they are not content words and their tags are known. Unknown pieces are left out, because
        they cannot be written.
        """
        begin = self.text_grammar.begin(pieces)
        if not (self.aligned and labels and len(labels) == len(begin)):
            return []
        found = [(piece, ROWS[tag]) for piece, tag in zip(begin, labels) if piece != UNK]
        return [(piece, row) for piece, row in found if row not in VERBS or piece not in self.auxiliaries]

    def hints(self, pieces: list[int], labels: list[str]) -> list[tuple[tuple[int, ...], str]]:
        """As `Row.hints`; none where words and tags do not line up."""
        spelled = self.text_grammar.spelled(pieces)
        return list(zip(spelled, labels)) if len(spelled) == len(labels) else []

    def inflected(self, row: Row, leaves: list[str]) -> Row:
        """The row with its sentence's words in the forms that leaves with these tags ask for, as far as the network can read them."""
        if not row.words:
            return row
        said, labels = zip(*row.words)
        made = fitted(said, labels, leaves, self.vocabulary.ids.__contains__)
        if made is None:
            return row
        pieces = self.encode_words([word for word, _ in made])
        if len(pieces) > self.text_limits.bag_width or pieces.count(UNK) != row.pieces.count(UNK):
            return row
        return replace(row, pieces=pieces, tagged_words=self.tagged_words(pieces, [tag for _, tag in made]))

    def tokens(self, request: Request) -> list[str]:
        """The sentence's tokens, case kept. If the request has a parse, they are its leaves."""
        if self.config.tokenization == "raw":
            return request.sentence.strip("\r\n ").split(" ")
        return words(request.source) if request.source is not None else tokenize(request.sentence)

    def stand_ins(self, tokens: list[str], pieces_of: Callable[[str], list[str | None]]) -> dict[str, str]:
        """For each token that the vocabulary cannot write, such as an address or an emoji, a word that goes through the networks for it.

        Without it the token would be lost, and its sentence could not be moved. With rules only, because only they keep words whole.
        """
        if not self.config.constrained or self.config.tokenization == "raw":
            return {}
        lowered = dict.fromkeys(token.lower() for token in tokens)
        unknown = [token for token in lowered if None in pieces_of(token)]
        if not unknown:
            return {}
        free = [name for name in STAND_INS if name in self.vocabulary.ids and name not in lowered]
        return dict(zip(unknown, free))

    def _known_pieces(self, word: str) -> list[str | None]:
        """The BPE pieces of a word, None for each that the vocabulary lacks."""
        return [piece if piece in self.vocabulary.ids else None for piece in self.pieces.of(word)]

    def encode_words(self, tokens: list[str], stand_ins: dict[str, str] | None = None) -> list[int]:
        """Ids of the BPE pieces of tokens, lower-cased where they are Penn Treebank's."""
        if self.config.tokenization == "ptb":
            tokens = [(stand_ins or {}).get(token.lower(), token.lower()) for token in tokens]
        return [self.vocabulary.ids.get(piece, UNK) for piece in self.pieces.split(tokens)]

    def encode_syntax(self, target: Target) -> list[int]:
        """Ids of the target's syntax tokens. Raises RequestError if they exceed a limit."""
        ids = [self.vocabulary.syntax_ids[token] for token in syntax_tokens(target.tree)]
        limits = self.text_limits if target.whole else self.parse_limits
        if len(ids) + 2 > limits.syntax_width:
            raise RequestError(f"has {len(ids)} brackets and labels, at most {limits.syntax_width - 2} are read", target.field)
        if target.whole and self.aligned:
            leaves, most = len(self.parse_grammar.leaves(ids)), self.text_limits.max_steps - 1
            if leaves > most:
                raise RequestError(f"has {leaves} leaves, at most {most} words are written", target.field)
        if not target.whole and self.config.constrained:
            shortest = self.parse_grammar.shortest(ids)
            if shortest > self.parse_limits.max_steps:
                raise RequestError(
                    f"has no parse of fewer than {shortest} tokens, at most {self.parse_limits.max_steps} are generated", target.field
                )
        return ids
