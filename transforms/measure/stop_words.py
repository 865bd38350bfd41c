"""English words that end a phrase: function words, and verbs that captions use as verbs.

Written for captions, and kept by kinds. No word is here that captions use to name a thing or to
tell one from another, with few exceptions among the function words (`can`, `may`, `like`).
"""

_ARTICLES_AND_DETERMINERS = """
a an the this that these those each every either neither both all any some no none another other
others such same own several many much more most few fewer fewest less least enough various lots
plenty half
"""

_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve dozen dozens hundred hundreds
thousand thousands million millions
"""

_PRONOUNS = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself
she her hers herself it its itself they them their theirs themselves who whom whose which what
whatever whoever someone somebody something anyone anybody anything everyone everybody everything
nobody nothing oneself
"""

_PREPOSITIONS = """
aboard about above across after against ahead along alongside amid amidst among amongst around as
at atop away before behind below beneath beside besides between beyond by despite down during
except for from in inside into like near nearby next of off on onto opposite out outside over past
per since than through throughout till to together toward towards under underneath unlike until up
upon upside via with within without
"""

_CONJUNCTIONS = """
and but or nor so yet if because although though unless whereas whether while whilst when whenever
where wherever how why
"""

_AUXILIARIES = """
am is are was were be been being has have had having do does did done doing can could may might
must shall should will would cannot ought need needs let lets get gets getting got gotten
ain't isn't aren't wasn't weren't hasn't haven't hadn't don't doesn't didn't can't couldn't won't
wouldn't shouldn't mustn't i'm i've i'd i'll you're you've you'll we're we've we'll they're they've
they'll s t d m ll re ve n't he's she's it's that's there's here's what's who's let's
"""

_ADVERBS = """
not never ever always often sometimes usually again also too very quite rather just only even still
already almost nearly maybe perhaps here there now then soon later once twice away forward
outdoors indoors apart aside quickly slowly happily
well however therefore thus else instead
alone asleep ready able
"""

# Verbs of captions in the forms that are rarely nouns: `watching` is here, `watch` is not.
_VERBS = """
appear appearing appears ate attached attempt attempting attempts begin beginning begins bend
bending bends biting blow blowing blows bouncing bring bringing brings came carried carries carry
carrying catches catching caught chase chased chases chasing chewing chews climbing climbs closed
come comes coming compete competes competing contain containing contains covered covering crawl
crawling crawls crossing crouch crouches crouching dancing depict depicting depicts digging digs
dressed driving eat eating eats enjoy enjoying enjoys facing fallen falling fell fighting flew
floating flying follow following follows gather gathered gathering gathers gave give gives giving go
goes going gone grab grabbing grabs handing hang hanging hangs happen happening happens held helping
helps hit hits hitting hold holding holds hugging include includes including jogging jumped jumping
jumps keep keeping keeps kept kicking kissing kneel kneeling kneels know known knows laugh laughing
laughs lay laying lays leading lean leaning leans leap leaping leaps leave leaving left lick licking
licks lie lies lined listen listening listens located looking looks lying made make makes making
moves moving overlook overlooking overlooks paddling parked pass passed passes passing perform
performing performs played playing plays pointing posed poses posing prepare prepares preparing pull
pulled pulling pulls push pushed pushes pushing put puts putting ran reaches reaching read reads
resting rides riding rode rolled rowing running runs sat saw seated see seeing seem seems seen sees
serve served serves shake shakes shaking showing shown sit sits sitting sleep sleeping sleeps
sliding smeared smiles smiling splashes splashing squatting standing stands stare stares staring
sticking stood surround surrounded surrounding surrounds swim swims tackled tackling take taken
takes taking talking talks tell telling tells throwing thrown throws took tried tries trying turning
used uses using wade wades wading waiting waits walked walking walks watching waving wear wearing
wears went wore worn wrestling
"""

STOP_WORDS = frozenset(
    " ".join(
        (
            _ARTICLES_AND_DETERMINERS,
            _NUMBERS,
            _PRONOUNS,
            _PREPOSITIONS,
            _CONJUNCTIONS,
            _AUXILIARIES,
            _ADVERBS,
            _VERBS,
        )
    ).split()
)
