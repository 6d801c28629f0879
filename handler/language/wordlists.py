"""Closed lists of English words that the modules here ask. What is not listed is taken for an ordinary word."""

# What one says before a sentence, whatever its parse calls it.
LEADS = frozenset(
    """hi hello hey yes yeah yep no nope ok okay oh well please thanks sorry alright sure great cool perfect awesome nice
good fine so and but or right ah wow hmm um uh""".split()
)
# What a noun can be taken up by; any other noun is repeated.
HE = frozenset(
    """man boy father brother husband son uncle king prince gentleman guy grandfather nephew mr. sir policeman fireman
fisherman tom john bill jim jack mike bob james robert david richard george ken fred paul peter mark steve harry dan sami ziri""".split()
)
SHE = frozenset(
    """woman girl mother sister wife daughter aunt queen princess lady grandmother niece mrs. ms. miss waitress actress
mary jane alice ann anna susan linda nancy lucy emily kate betty helen carol layla""".split()
)
COLLECTIVES = frozenset("group couple pair crowd bunch lot".split())
# Who can act.
ANIMATE = (
    HE
    | SHE
    | frozenset(
        """person people child kid baby adult dog cat horse player worker student teacher doctor crowd team group
couple someone somebody everyone friend family parent bird animal cyclist biker rider runner skateboarder surfer skier swimmer dancer
singer musician artist soldier officer baker cook guard nurse neighbor neighbour lawyer boss clerk farmer writer author president
manager captain chef waiter poet scientist reporter actor judge minister hunter thief pilot customer guest
visitor owner enemy stranger hero voter patient victim suspect murderer mechanic carpenter builder painter photographer driver
toddler teenager i you he she we they passenger tourist performer athlete""".split()
    )
)
SENTENCE_ADVERBS = frozenset(
    """also then still now already perhaps maybe probably certainly finally suddenly actually apparently
usually often sometimes generally recently eventually immediately soon always never just really clearly obviously however therefore thus
nevertheless otherwise again once first""".split()
)
# Prepositions that verbs and adjectives choose: what they govern is needed.
CHOSEN = {
    verb: frozenset(prepositions.split())
    for verb, prepositions in (
        pair.split(":")
        for pair in """
look:at for after into like through up out forward over on|listen:to|wait:for on|depend:on|rely:on|belong:to|believe:in|consist:of
think:of about|talk:to about with on|speak:to with about of|laugh:at|forgive:for|glance:at|gaze:at|assist:in with|fit:in into through
consent:to|rest:on against|smile:at|agree:with on to|disagree:with|apologize:for to|apply:for to|ask:for about of|care:about for
complain:about to|concentrate:on|focus:on|deal:with|decide:on against|dream:of about|hear:of from about|insist:on|lead:to
live:in with on at by near for under next|object:to|pay:for to|point:at to|prepare:for|refer:to|respond:to|reply:to|result:in from
search:for|suffer:from|take:off to for from into out by on up over|turn:to into on off down up out around over
work:for with on at as in|worry:about|write:to about|shout:at|stare:at|arrive:at in
go:to into on in with for by through out off over down up along under|come:from to into with in on out off back
get:on off in into to out up through over along from with|run:into to out over through after from
put:on in into under at up over off to out away|place:on in under at|set:on in up off to|lay:on in|keep:in on from to with out up off
stay:in at with on home out up off|remain:in at on under|sit:on in at by down next|stand:on in at by up next behind
lie:on in to down about|give:to up in for|send:to for out|tell:about of to|show:to up|bring:to in up out|base:on|locate:in on at near
situate:in on|make:of from into up for out|know:about of for as
be:in on at of for from with to like about into under by out up off over against above below behind near|call:on for off
hand:to in out over|throw:to at into away out|fall:in into on off over down from out for|move:to into from out in toward|return:to from
start:with|end:in up with|begin:with|fill:with in out|cover:with in|provide:with for to|supply:with to|compare:to with|connect:to with
introduce:to|marry:to|invite:to|add:to|drop:in on off out|participate:in|play:with on for|fight:with for against over
compete:with for in|use:for as|serve:as for in|act:as|see:to off|find:out|figure:out|jump:on into over off out in
climb:up on over onto into down|walk:to into on over down up through along past|drive:to into through|travel:to|fly:to into over
dress:in as|lean:on against over|hold:on in up to onto|pick:up out for|check:in out on for|break:into up down out in|hang:on from out up
burst:into|divide:into|name:after|elect:as|appoint:as|regard:as|describe:as|treat:as like with|consider:as|define:as|reach:for out
vote:for against|account:for|approve:of|accuse:of|remind:of about|rob:of|convince:of|inform:of about|warn:of about|help:with to in
spend:on in with|lose:to|win:at|beat:at|succeed:in at|fail:in|engage:in|involve:in|trust:in with|borrow:from|steal:from|buy:from for
hide:from in|protect:from against|prevent:from|stop:from at by|save:from|free:from|differ:from|matter:to|happen:to|occur:to|seem:to like
appear:to in|sound:like|taste:like of|smell:like of|feel:like about for|pull:in on out off up into through|push:into on off out over
pass:by to through on|enter:into|join:in with|meet:with|reserve:at|reside:in|exist:in|head:to for|leave:for to|own:by|translate:into
change:into to|interest:in|born:to|blame:for|thank:for|say:to about of|read:about to|learn:about of|step:on into over|shoot:at|aim:at
try:on out|want:for from in with|need:for from in with|have:for with on about of to against from as|like:about for|close:to|book:for at
interfere:with|cooperate:with|associate:with|satisfy:with|ride:on in|race:in|perform:for|pose:for with
""".strip()
        .replace("\n", "|")
        .split("|")
    )
}
SURE = frozenset(
    """during after before despite without because until throughout within since among amid unlike besides under beneath
near inside outside beside across behind""".split()
)
# Prepositions of two words that no verb chooses.
COMPOUND = "because of ", "due to ", "thanks to ", "owing to ", "according to ", "instead of "
FREE = frozenset(
    """in on at by with for from through over around along between above below against upon off out down up next past
via""".split()
)
# Along a path one goes; such a phrase stays with its verb.
MOTION = frozenset(
    """walk run go come drive fly ride swim climb jump travel move wade sail hike march wander stroll crawl roll look
turn""".split()
)
PATHS = frozenset("around along through across over past up down toward towards off out by".split())
# Markers of clauses that say when, why or under which condition.
ADVERBIAL = frozenset("because if when while although though since after before until unless whenever once till whereas even".split())
SAYING = frozenset(
    """say think believe know hope guess suppose fear feel claim admit announce report explain hear understand realize
swear insist argue suspect predict notice imagine promise remember mean assume""".split()
)
ASKING = frozenset(
    """ask wonder know see tell say understand remember forget decide doubt care mind find figure learn explain show
check""".split()
)
# Where one does it can be said first, though the verb goes with it: on the stage , a man plays.
POSTURES = frozenset("sit stand lie play walk run ride jump meet pose perform race".split())
# The same where something else is said of it besides: in Rome , she lives with her sister.
LOCATED = frozenset("live work stay study teach remain".split())
# Verbs of what is done for a purpose.
PURPOSEFUL = frozenset("go come use stop work study sit stand run call visit open take buy save".split())
FRONTABLE = frozenset(
    """now then soon later often sometimes also again today tomorrow yesterday recently already perhaps maybe
however once""".split()
)
# Adverbs that stay where they are: of degree, particles, and those that would ask for inversion.
STAYING = frozenset(
    """first open solid though before very too so quite pretty rather enough much more most less least not n't never
seldom rarely hardly barely scarcely nearly almost only just even ever yet either well hard fast long far up down out off away back in
over on through around by along together alone home about all better best worse worst as completely totally fully highly entirely
extremely deeply strongly tightly absolutely badly any anymore anyway right straight close near high low forward ahead apart aside
across late early lots inside outside always no neither nor indeed upstairs downstairs abroad behind under past further else likely ago
there here quickly half somewhat anywhere nowhere everywhere somewhere still altogether kindly friendly ashore aboard indoors
outdoors forth such equally simply dearly""".split()
)
# Verbs of states, of which one asks why rather than how.
STATES = frozenset(
    """be have realize know like love want need think believe hope seem own belong hate prefer live stay feel understand
mean cost contain include consist remain resemble deserve doubt fear wish matter appear exist sit stand lie wear sleep wait see hear
become tell say ask agree care remember forget enjoy expect miss suppose guess depend plan speak look lack weigh get let last
happen die try start begin continue stop keep used stare watch""".split()
)
# Verbs of what goes on without anything to be seen.
UNSEEN = STATES - frozenset("sit stand lie wear sleep wait speak look weigh stare watch".split())
# Nouns of what is not counted: rain, not a rain.
UNCOUNTED = frozenset(
    """rain snow fog ice traffic heat cold weather noise smoke dust water wind work money time corruption violence
pressure damage poverty hunger inflation pollution bad competition""".split()
)
# States and others of STATES that one nevertheless does: she waited , and she did so in silence.
DONE = frozenset("sleep wait sit stand lie stay live wear stare watch speak look work tell say ask try continue".split())
# Adjectives that can be said of a thing by themselves.
QUALITIES = frozenset(
    """new old big large small tall short long wide narrow heavy light red blue green yellow black white brown wooden round
expensive cheap beautiful pretty ugly dirty clean wet dry cold warm hot empty full dark bright famous modern ancient broken""".split()
)
# Adjectives that can be said of someone by themselves.
DESCRIBING = frozenset(
    """young old tall short small big large black white brown blonde happy sad tired angry thin fat beautiful pretty
shirtless bald elderly muscular asian african american chinese japanese wet naked rich strong blind smiling bearded hungry""".split()
)
# Verbs of saying that stand in `as … said`.
SAID_AS = frozenset("say announce report claim state note explain warn predict reveal confirm mention show suggest argue admit".split())
# Who belongs to someone: one has them.
RELATIVES = frozenset(
    """mother father mom dad brother sister son daughter child kid wife husband uncle aunt cousin nephew niece grandmother
grandfather grandparent friend girlfriend boyfriend neighbor neighbour boss colleague teacher doctor dentist lawyer dog cat roommate
classmate""".split()
)
# Adjectives that are said of a noun only before it.
NEVER_SAID = frozenset(
    """main former own other same next last certain mere whole first only such many few more most several early late key chief
entire sole very single double major minor upper lower inner outer left right top bottom real true sheer utter joint potential
future past present recent previous following various different following alternative daily weekly monthly primary secondary
middle high senior junior fellow full-time part-time live favorite favourite little second third nuclear solar""".split()
)
# Nouns that say nothing without their adjective.
VAGUE = frozenset("deal time times way number amount lot look bit while part piece kind sort thing things distance attention".split())
# What a question word stands for where it is not asked.
UNASKED = {"what": "something", "who": "someone", "where": "somewhere", "how": "somehow"}
# Verbs of knowing, asking and telling that a question word may follow alone: nobody knows what.
WONDERING = frozenset("know wonder ask tell say understand remember explain see forget learn guess".split())
# What one thinks of a statement by a verb or an adjective -> the adverb that says so before it.
STANCES = {
    "hope": "hopefully", "guess": "presumably", "suppose": "presumably", "assume": "presumably", "likely": "probably",
    "probable": "probably", "possible": "possibly", "clear": "clearly", "obvious": "obviously", "evident": "evidently",
    "unfortunate": "unfortunately", "fortunate": "fortunately", "lucky": "luckily", "sad": "sadly", "strange": "strangely",
    "odd": "oddly", "certain": "certainly", "true": "truly", "apparent": "apparently", "surprising": "surprisingly",
}  # fmt: skip
CERTAIN = frozenset("sure certain positive convinced confident".split())
OPINIONS = frozenset("think believe feel reckon".split())
# Verbs of liking and wanting, which their speaker means.
MEANT = frozenset("love like hate want hope need promise adore miss wish appreciate enjoy".split())
# Verbs that state what is true; it can be said first and taken up by `it`.
KNOWING = frozenset("know regret notice realize remember understand forget".split())
# Verbs that stand beside what is said in quotation marks.
UTTERING = frozenset(
    "say ask shout whisper reply answer cry yell add explain exclaim mutter murmur tell call scream laugh think write".split()
)
REPORTING = frozenset("say think believe hope guess suppose fear claim suspect imagine assume report".split())
# Prepositions of place that say where someone or something is: after `to be`, and of a subject by themselves.
PREDICATIVE = frozenset("in on at near under behind outside inside".split())
# Verbs with an object that have no passive, or an odd one.
NO_PASSIVE = frozenset(
    """have be become resemble cost weigh lack fit suit mean remain seem let get go come want need like wish hope
last take contain spend stay stand look feel sound smell taste turn equal marry lose own enter leave reach keep do try start begin stop
enjoy thank play run walk would belong""".split()
)
TELLING = frozenset("tell ask order allow force advise persuade invite teach warn remind encourage".split())
# Verbs with two objects, and the preposition that the first of these can have instead.
DATIVES = {
    **dict.fromkeys("give send show lend offer teach hand sell throw bring pass owe grant award feed mail".split(), "to"),
    **dict.fromkeys("buy cook order build bake fetch".split(), "for"),
}
# Verbs whose particle may stand on either side of the object.
SEPARABLE = frozenset(
    "turn put take pick switch throw shut cut clean fill write set tear blow lock wipe wash cross hang call pull push knock try".split()
)
GIVING = frozenset("give show offer send pay lend award grant deny hand promise".split())
# What `by` may govern without meaning who did it.
NO_AGENTS = frozenset(
    """car bus train plane bike bicycle foot hand mail phone email mistake accident chance law river window sea door
road side lake fire boat ship taxi air way means heart name nature""".split()
)
# Modals that a command can do without.
LIGHT_MODALS = frozenset("can could will would should must shall may might 'll 'd ca wo".split())
# Prepositions of place, after which a fragment's noun is somewhere.
PLACES = frozenset(
    """in on at under near behind beside above below inside outside by with over around across between among along
against beneath from""".split()
)
# Words that questions have in the place of others.
ASKED_WORDS = {
    "any": "some",
    "anything": "something",
    "anyone": "someone",
    "anybody": "somebody",
    "anywhere": "somewhere",
    "yet": "already",
}
NOT_WHO = COLLECTIVES | frozenset("dog cat horse bird animal team family it".split())
# Nouns that parsers take for names where they begin a sentence.
COMMON = frozenset(
    """man boy woman girl child children people men women boys girls kid kids dog cat group two three a
the""".split()
) | (ANIMATE - HE - SHE)
# Nouns that `which` does not go with, and words before a noun that it does not go with.
NOT_ASKED = frozenset(
    """something anything nothing everything someone anyone everyone somebody anybody nobody everybody lot couple number
group pair bit kind sort home way thing top part end side rest care fun idea name use place step time turn advantage fact chance deal
following one future past truth world sun moon sky point police""".split()
)
NOT_ASKED_WITH = frozenset(
    """many much few other same own lot such several only more first last entire whole enough great
next""".split()
)
# Verbs of what goes on while something else happens.
LASTING = frozenset("be have know sit stand lie sleep wait look watch stay live wear".split())
# Words of grammar, which are written small in the middle of a sentence whatever a parser takes them for.
LOWER = frozenset(
    """a an the this that these those my your his her its our their some any no every each all both either neither another such
what which who whom whose where when why how whether if unless although though because since while until after before as than of in on at
by for with from to into onto over under about above below between among through during without within against across behind beside near
and or but nor so yet not is am are was were be been being have has had do does did can could shall should would must might ought
he she it we you they me him them us himself herself itself themselves yourself ourselves mine yours there here then now also
only even just very too more most many much few several other one two three four five six seven eight nine ten once maybe perhaps
please yes well oh however therefore indeed first finally today tomorrow yesterday tonight let someone everyone something
everything nothing nobody everybody somebody anyone anything""".split()
)
# Words that have a capital wherever they stand.
PROPER = frozenset(
    """monday tuesday wednesday thursday friday saturday sunday january february april june july september october november
december christmas easter english american british french german spanish italian chinese japanese russian european african asian
canadian australian indian irish scottish greek dutch swedish portuguese turkish mexican christian jewish muslim islamic catholic
america england britain france germany spain italy china japan russia europe africa asia canada australia india ireland scotland london
paris""".split()
)
# Words of grammar of other languages; none of them is one in English.
FOREIGN = (
    frozenset(
        """le la les des du et est une que qui dans pour sur ne pas je tu il elle nous vous ce cette avec au aux sont mais ou el
los las del por con es lo su como para pero muy yo der das und ist nicht ein eine den dem mit auf ich sie wir von zu im auch di che
e non sono della gli per sei os não em um uma da het een van niet dat ik maar og det jag som att är w na nie się jest""".split()
    )
    - LOWER
)
# Rare names that are one piece of most vocabularies. They stand for words that a vocabulary lacks.
STAND_INS = tuple("""takahashi novak vasquez petrov johansson nakamura herrera hoffmann schneider fitzgerald mcallister""".split())
