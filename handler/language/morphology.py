"""English inflection by rules and tables: the lemma of a word with its tag, and the form of a lemma for a tag.

    lemma("bit", "VBD")     # "bite"
    inflect("bite", "VBZ")  # "bites"

Tags are the Penn Treebank's. Words are lower-cased, names included: a lemma is for comparing. The tables hold what the
rules get wrong; a word that neither knows is taken for a regular one.
"""

import re
from functools import cache, lru_cache

CACHED_WORDS = 1 << 14  # lemmas kept of each kind

# Base, past and participle; alternatives after a slash, the usual one first. A participle like the past is left out.
IRREGULAR_VERBS = """
arise arose arisen|awake awoke awoken|bear bore borne/born|beat beat beaten|become became become|begin began begun|bend bent|bet bet
bid bid|bind bound|bite bit bitten|bleed bled|blow blew blown|break broke broken|breed bred|bring brought|broadcast broadcast
build built|burn burned/burnt|burst burst|buy bought|cast cast|catch caught|choose chose chosen|cling clung|come came come|cost cost
creep crept|cut cut|deal dealt|dig dug|do did done|draw drew drawn|dream dreamed/dreamt|drink drank drunk|drive drove driven|dwell dwelt
eat ate eaten|fall fell fallen|feed fed|feel felt|fight fought|find found|flee fled|fling flung|fly flew flown|forbid forbade forbidden
forecast forecast|foresee foresaw foreseen|forget forgot forgotten|forgive forgave forgiven|freeze froze frozen|get got gotten/got
give gave given|go went gone|grind ground|grow grew grown|hang hung|have had|hear heard|hide hid hidden|hit hit|hold held|hurt hurt
keep kept|kneel knelt|know knew known|lay laid|lead led|lean leaned/leant|leap leaped/leapt|learn learned/learnt|leave left|lend lent
let let|lie lay lain|light lit|lose lost|make made|mean meant|meet met|mislead misled|mistake mistook mistaken
misunderstand misunderstood|mow mowed mown|outdo outdid outdone|overcome overcame overcome|overdo overdid overdone|overhear overheard
overrun overran overrun|remake remade|unbind unbound|offset offset|inlay inlaid|embed embedded|oversee oversaw overseen
oversleep overslept|overtake overtook overtaken|overthrow overthrew overthrown|pay paid|prove proved proven/proved|put put|quit quit
read read|rebuild rebuilt|redo redid redone|repay repaid|rerun reran rerun|reset reset|rewrite rewrote rewritten|rid rid
ride rode ridden|ring rang rung|rise rose risen|run ran run|saw sawed sawn|say said|see saw seen|seek sought|sell sold|send sent|set set
sew sewed sewn|shake shook shaken|shed shed|shine shone/shined|shoot shot|show showed shown|shrink shrank shrunk|shut shut
sing sang sung|sink sank sunk|sit sat|sleep slept|slide slid|sling slung|slit slit|smell smelled/smelt|sneak sneaked/snuck
sow sowed sown|speak spoke spoken|speed sped|spell spelled/spelt|spend spent|spill spilled/spilt|spin spun|spit spat|split split
spoil spoiled/spoilt|spread spread|spring sprang sprung|stand stood|steal stole stolen|stick stuck|sting stung|stink stank stunk
stride strode|strike struck|string strung|strive strove striven|swear swore sworn|sweep swept|swell swelled swollen|swim swam swum
swing swung|take took taken|teach taught|tear tore torn|tell told|think thought|throw threw thrown|thrust thrust|tread trod trodden
undergo underwent undergone|understand understood|undertake undertook undertaken|undo undid undone|uphold upheld|upset upset
wake woke woken|wear wore worn|weave wove woven|wed wed|weep wept|wet wet|win won|wind wound|withdraw withdrew withdrawn
withhold withheld|withstand withstood|wring wrung|write wrote written
"""

# Forms of be, have, do and the modals, clitics and short spellings included.
AUXILIARY_LEMMAS = {
    **dict.fromkeys("be am is are was were been being 'm 're 's ai".split(), "be"),
    **dict.fromkeys("have has had having 've".split(), "have"),
    **dict.fromkeys("do does did done doing".split(), "do"),
    "ca": "can",
    "wo": "will",
    "'ll": "will",
    "sha": "shall",
    "'d": "would",
    "ll": "will",
    "ve": "have",
    "m": "be",
    "re": "be",
}
NEGATIONS = {"n't": "not", "nt": "not", "n’t": "not"}
PRONOUNS = {"me": "i", "him": "he", "her": "she", "us": "we", "them": "they", "'s": "we", "'em": "they", "ya": "you", "whom": "who"}

IRREGULAR_NOUNS = dict(
    pair.split(":")
    for pair in """
man:men woman:women child:children foot:feet tooth:teeth goose:geese mouse:mice louse:lice ox:oxen die:dice sheep:sheep deer:deer
fish:fish series:series species:species means:means aircraft:aircraft spacecraft:spacecraft offspring:offspring salmon:salmon
headquarters:headquarters crossroads:crossroads knife:knives wife:wives life:lives leaf:leaves wolf:wolves shelf:shelves half:halves
loaf:loaves thief:thieves calf:calves scarf:scarves self:selves hoof:hooves elf:elves midwife:midwives housewife:housewives
bookshelf:bookshelves analysis:analyses basis:bases crisis:crises thesis:theses hypothesis:hypotheses emphasis:emphases axis:axes
oasis:oases diagnosis:diagnoses parenthesis:parentheses synthesis:syntheses phenomenon:phenomena criterion:criteria bacterium:bacteria
medium:media datum:data curriculum:curricula stratum:strata cactus:cacti fungus:fungi nucleus:nuclei stimulus:stimuli alumnus:alumni
radius:radii larva:larvae alga:algae formula:formulas index:indices matrix:matrices appendix:appendices vertex:vertices quiz:quizzes
gentleman:gentlemen tomato:tomatoes potato:potatoes hero:heroes echo:echoes veto:vetoes torpedo:torpedoes mosquito:mosquitoes
volcano:volcanoes mango:mangoes cargo:cargoes movie:movies cookie:cookies tie:ties pie:pies lie:lies calorie:calories zombie:zombies
hoodie:hoodies selfie:selfies genie:genies brownie:brownies rookie:rookies bus:buses gas:gases lens:lenses virus:viruses campus:campuses
bonus:bonuses census:censuses status:statuses plus:pluses chorus:choruses circus:circuses atlas:atlases canvas:canvases iris:irises
octopus:octopuses christmas:christmases bias:biases bass:basses alias:aliases surplus:surpluses walrus:walruses sinus:sinuses ache:aches
headache:headaches toothache:toothaches stomachache:stomachaches backache:backaches cache:caches niche:niches avalanche:avalanches
moustache:moustaches mustache:mustaches clothes:clothes pants:pants trousers:trousers jeans:jeans scissors:scissors news:news
thanks:thanks police:police cattle:cattle surroundings:surroundings politics:politics savings:savings outdoors:outdoors goggles:goggles
acoustics:acoustics physics:physics economics:economics
""".split()
)

COMPARATIVES = {
    "good": ("better", "best"),
    "well": ("better", "best"),
    "bad": ("worse", "worst"),
    "badly": ("worse", "worst"),
    "far": ("farther", "farthest"),
    "little": ("less", "least"),
    "many": ("more", "most"),
    "much": ("more", "most"),
    "less": ("less", "least"),
    "late": ("later", "latest"),
}
OTHER_COMPARATIVES = dict(
    pair.split(":")
    for pair in """further:far furthest:far elder:old eldest:old more:more most:most less:less
least:least better:good best:good later:late lesser:less worse:bad worst:bad""".split()
)

# Verbs of more than one syllable whose last consonant doubles; others of that kind do not double it.
DOUBLING = frozenset(
    """admit abet acquit allot begin commit compel concur confer control defer deter dispel emit equip excel expel
extol format forget handicap incur input kidnap occur omit outfit overlap patrol permit prefer program propel rebel recur refer
regret remit repel submit transfer transmit upset cancel travel label quarrel model signal unwrap unplug zigzag offset embed
impel""".split()
)
# Verbs and adjectives that end in an e which the rules below do not see, as they are without it.
WITH_E = frozenset(
    """past tast wast hast bath breath cloth sooth loath teeth invit unit excit ignit recit cit incit expedit complet
delet compet obsolet creat recreat procreat postpon dethron interfer adher persever sever welcom overcom ton ston sprinkl hing infring
bing sing cring ting impos continu freez sneez squeez breez seiz gaz axe escap reshap landscap telescop evok smil
achiev quot vot promot devot not denot remot hat stat dat rat provok dictat leas eas pleas increas releas decreas eras creas purchas
prais rais nois paus caus claus cheez browns hors nurs cours curs els fals dens tens sens rins licens expens immens intens lic
interven supersed permeat persuad reunit renam guid conven alleg ow telephon writh underli tipto colleagu
fre bor bru agre decre guarante refere se fle disagre overse forese""".split()
)
# What looks as if it had lost an e and has not.
WITHOUT_E = frozenset(
    """focus bus gas bias canvas hang bang pang clang format combat pilot pivot bigot riot carrot favor labor harbor
honor humor color monitor mirror tutor anchor sponsor author factor doctor error rumor tailor minor visit edit exit limit credit profit
benefit inherit exhibit inhibit prohibit deposit merit orbit audit solicit elicit vomit debit forfeit summit market target budget
trumpet carpet pocket rocket blanket ticket quiet diet magnet total signal pedal metal rival medal final equal label model travel cancel
level fuel duel tunnel panel channel counsel shovel quarrel novel pencil stencil basin margin ruin bargain begin captain open listen
happen gossip worship develop gallop envelop blossom ransom custom fathom victim program waltz quiz solid avid rapid splendid humid
timid pardon reason season poison summon abandon mention question ion kayak debut stupid beckon reckon button cotton iron
bacon murmur sulfur""".split()
)

VOWEL = "[aeiouy]"


@cache
def _verbs() -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Past and participle of each irregular verb, and the verb of each such form."""
    forms: dict[str, tuple[str, str]] = {}
    bases: dict[str, str] = {}
    for entry in re.split(r"[|\n]", IRREGULAR_VERBS.strip()):
        base, past, *participle = entry.split()
        participles = (participle[0] if participle else past).split("/")
        forms[base] = past.split("/")[0], participles[0]
        for form in (*past.split("/"), *participles):
            bases.setdefault(form, base)
    return forms, bases


@cache
def _singulars() -> dict[str, str]:
    return {plural: singular for singular, plural in IRREGULAR_NOUNS.items()} | {"lives": "life", "leaves": "leaf", "bases": "base"}


def syllables(word: str) -> int:
    """About how many, by groups of vowels; `qu` is a consonant."""
    return len(re.findall(r"[aeiouy]+", re.sub(r"^y|(?<=q)u", "c", word)))


def lemma(word: str, tag: str) -> str:
    """The dictionary form of a word with this tag, lower-cased."""
    word = word.lower()
    if tag == "RB" and word in NEGATIONS:
        return NEGATIONS[word]
    if tag in ("PRP", "WP"):
        return PRONOUNS.get(word, word)
    if tag == "MD" or tag.startswith("VB"):
        return _verb_lemma(word, tag)
    if tag in ("NNS", "NNPS"):
        return _singular(word)
    if tag in ("JJR", "JJS", "RBR", "RBS"):
        return _positive(word)
    return word


@lru_cache(CACHED_WORDS)
def _verb_lemma(word: str, tag: str) -> str:
    if word == "'d":
        return "would" if tag == "MD" else "have"
    if word in AUXILIARY_LEMMAS:
        return AUXILIARY_LEMMAS[word]
    if tag in ("MD", "VB", "VBP"):
        return word
    if tag == "VBZ":
        return _without_s(word)
    forms, bases = _verbs()
    if tag in ("VBD", "VBN") and word in bases:
        return bases[word]
    if tag in ("VBD", "VBN") and word.endswith("ied"):
        return {"died": "die", "lied": "lie", "tied": "tie", "untied": "untie", "vied": "vie"}.get(word, word[:-3] + "y")
    ending = "ing" if tag == "VBG" else "ed"
    if not word.endswith(ending) or not re.search(VOWEL, word[: -len(ending)]):
        return word
    if tag == "VBG" and re.fullmatch(r"(un)?[dltv]ying", word):
        return word[:-4] + "ie"
    stem = word[: -len(ending)]
    short = re.search(r"[^aeiou][aeiou][bdfgklmnprtvz]$", stem) and syllables(stem) == 1  # would have doubled: riding is of ride
    return stem if stem in forms and not short else restore(stem)


def restore(stem: str) -> str:
    """The word that a stem is left of when -ed, -ing, -er or -est has been taken off: `hop` is hope, `hopp` is hop."""
    if stem in WITHOUT_E or stem in DOUBLING:
        return stem
    if stem in WITH_E or any(len(verb) > 4 and verb[:-1] == stem for verb in _verbs()[0] if verb.endswith("e")):
        return stem + "e"
    if re.search(r"([bdfgklmnprtvz])\1$", stem):  # doubled, or two of them in the word itself
        single = stem[:-1]
        if single in DOUBLING or stem[-1] not in "lfz":
            return stem if stem in ("add", "egg", "err", "purr", "odd") else single
        return stem
    if re.search(r"(ee|ss|[aeiou]w|[aeiou]?[xy]|sh|ch|th|ck)$", stem):
        return stem
    return stem + "e" if _lost_e(stem) else stem


def _lost_e(stem: str) -> bool:
    if re.search(r"([vcuz]|[bcdfgkptz]l|[dlr]g|[nrplkwaeiou]s|eng|ang|ung)$", stem):
        return True
    if re.search(r"[aeiou][aeiou][a-z]$", re.sub("qu", "q", stem)):
        return bool(re.search(r"[iu]at$", stem))  # two vowels: wait, explain; but create, evaluate
    if syllables(stem) == 1:
        hidden = re.search(r"[^aeiou][aeiouy][bdfgjklmnprt]$|^[aeiou][bdgmnprt]$|^qu[aeio][a-z]$", stem)
        return bool(hidden) and not stem.endswith("ng")
    return bool(re.search(r"([aiou]b|[aiou]d|ced|[aiu]g|[aio]k|[iu]l|[u]m|in|[aip]p|[aiu]r|[^e]or|at|ut|ot|rit)$", stem))


def _without_s(word: str) -> str:
    if word in ("goes", "does", "undergoes", "foregoes", "echoes", "vetoes"):
        return word[:-2]
    if word in ("dies", "lies", "ties", "vies", "unties"):
        return word[:-1]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(ss|sh|[^a]ch|tch|each|oach|[xz]z|x)es$", word) and not word.endswith("ches") or re.search(r"[^m]ches$", word):
        return word[:-1] if word in ("aches", "caches") else word[:-2]
    if word in ("focuses", "buses", "gases", "biases"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


@lru_cache(CACHED_WORDS)
def _singular(word: str) -> str:
    singulars = _singulars()
    if word in singulars:
        return singulars[word]
    if word.endswith("men") and len(word) > 4:
        return word[:-3] + "man"
    if word.endswith("ics"):
        return word
    if word.endswith("children"):
        return word[:-3]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(ss|sh|ch|x|zz)es$", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 2 else word


@lru_cache(CACHED_WORDS)
def _positive(word: str) -> str:
    if word in OTHER_COMPARATIVES:
        return OTHER_COMPARATIVES[word]
    for positive, forms in COMPARATIVES.items():
        if word in forms:
            return positive
    stem = re.sub(r"(er|est)$", "", word)
    if stem == word or not re.search(VOWEL, stem):
        return word
    if stem.endswith("i"):
        return stem[:-1] + "y"
    if re.search(r"(all|ull|ill)$", stem):
        return stem
    return stem if stem in ("young", "long", "strong", "soon", "cool", "near", "dear", "clear") else restore(stem)


def inflect(word: str, tag: str) -> str:
    """The form that a lemma takes under a tag; the lemma itself under a tag that does not change it."""
    word = word.lower()
    if word == "be":
        return {"VBZ": "is", "VBP": "are", "VBD": "was", "VBN": "been", "VBG": "being"}.get(tag, "be")
    if word == "have" and tag in ("VBZ", "VBD", "VBN"):
        return "has" if tag == "VBZ" else "had"
    if tag in ("VBD", "VBN"):
        forms = _verbs()[0]
        return forms[word][tag == "VBN"] if word in forms else _add(word, "ed")
    if tag == "VBG":
        if word.endswith("ie"):
            return word[:-2] + "ying"
        return word + "ing" if word.endswith(("ee", "oe", "ye")) else _add(word, "ing")
    if tag == "VBZ":
        return word + "es" if word in ("do", "go", "undergo", "echo", "veto") else _add_s(word)
    if tag in ("NNS", "NNPS"):
        if word.endswith("man") and word not in ("human", "german", "roman"):
            return word[:-3] + "men"
        return IRREGULAR_NOUNS.get(word) or (word if word.endswith("ics") else _add_s(word))
    if tag in ("JJR", "RBR", "JJS", "RBS"):
        best = tag.endswith("S")
        return COMPARATIVES[word][best] if word in COMPARATIVES else _add(word, "est" if best else "er")
    return word


def _add_s(word: str) -> str:
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(s|sh|ch|x|z)$", word) else "s")


def _add(word: str, ending: str) -> str:
    """A word with -ed, -ing, -er or -est: a last e goes, y becomes i, a consonant doubles."""
    if word.endswith("e"):
        return word[:-1] + ending
    if ending != "ing" and re.search(r"[^aeiou]y$", word):
        return word[:-1] + "i" + ending
    short = syllables(word) == 1 and re.search(r"([^aeiou]|qu|^)[aeiouy][bdfgklmnprtvz]$", word)
    if (short or word in DOUBLING) and not word.endswith(("ll", "ck")):
        return word + word[-1] + ending
    return word + ending
