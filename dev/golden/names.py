"""Every name of the product that golden records use: commands, settings, addresses, masked keys.

When flags, keys or routes are renamed, this file and ``http_cases.py`` change, and a file for
``--rename`` says what the recorded side called them. Nothing here reads or writes anything.
"""

from __future__ import annotations

from collections.abc import Mapping

# --- commands; they run in a folder that holds the files and the workspaces ----------------------

SHOP: Mapping[str, str] = {
    "init": (
        "init -w shop --items files/items.csv --events files/events.csv "
        "--map events.query=typed --map events.user_id=customer --json"
    ),
    "import": "import -w shop --json",
    "ids build": "ids build -w shop --json",
    "ids refit": "ids build -w shop --refit --seed 3 --json",
    "ids append": "ids build -w shop --json",
    "synonyms build": "synonyms build -w shop --json",
    "synonyms accept": "synonyms accept settee sofa -w shop --json",
    "synonyms reject": "synonyms reject carpet rug -w shop --json",
    "enrich run": "enrich run --writer rules --fields keywords -w shop --json",
    "enrich gate": "enrich gate --judgements files/gold.csv -w shop --json",
    "train": "train -w shop --json",
}
"""What makes a shop, in this order; all files of the catalogue are imported once more between
``ids refit`` and ``ids append``."""

USE: Mapping[str, str] = {
    "recommend": "recommend -w shop --user u3 -k 5 --json",
    "recommend similar": "recommend -w shop --surface similar --item p24 -k 5 --json",
    "recommend search": "recommend -w shop --surface search --query 'red lamp' -k 5 --json",
    "recommend country": (
        "recommend -w shop --surface local --query chair --country KR --user u1 -k 5 --json"
    ),
    "recommend batch home": "recommend -w shop --batch --out home.parquet -k 5 --json",
    "recommend batch digest": (
        "recommend -w shop --batch --surface digest --out digest.parquet --json"
    ),
    "embed items": "embed items -w shop --out items.parquet --json",
    "embed users": "embed users -w shop --out users.parquet --json",
    "embed queries": "embed queries -w shop --out queries.parquet --json",
    "embed queries of file": (
        "embed queries -w shop --file files/texts.txt --out texts.parquet --json"
    ),
    "llm ledger": "llm ledger -w shop --json",
    "enrich estimate": "enrich run --budget 1 --estimate -w shop --json",
    "queries estimate": "queries build --llm --estimate -w shop --json",
    "synonyms estimate": "synonyms build --llm --estimate -w shop --json",
    "judge run estimate": (
        "judge run --pairs files/pairs.csv --out answers.csv --budget 1 --estimate -w shop --json"
    ),
    "judge batch file": (
        "judge run --pairs files/pairs.csv --out answers.csv --budget 1 "
        "--batch-file questions.jsonl -w shop --json"
    ),
    "judge agreement": (
        "judge agreement --labels files/labels.csv --labels files/other-labels.csv --json"
    ),
    "judge gate": (
        "judge gate --labels files/model-labels.csv --gold files/gold.csv --nothing-seen --json"
    ),
    "judge export": "judge export --labels files/labels.csv --out chats.jsonl -w shop --json",
    "doctor": "doctor -w shop --json",
    "ids show item": "ids show p4 -w shop --json",
    "ids show group": "ids show 0- -w shop --json",
    "ids diff": "ids diff v1 v3 -w shop --json",
    "ids report": "ids report -w shop --json",
    "synonyms show": "synonyms show -w shop --json",
    "queries build": "queries build -w shop --json",
    "enrich gate by the log": "enrich gate --writer rules -w shop --json",
    "enrich show": "enrich show -w shop --json",
    "enrich revert": "enrich revert -w shop --json",
    "enrich show reverted": "enrich show -w shop --json",
}
"""What a trained shop is used for, on a copy of it."""

JUDGE: Mapping[str, str] = {
    "distil": "judge distil --labels files/labels.csv --gold files/gold.csv -w shop --json",
    "train with filter": "train -w shop --json",
    "report": "judge report --gold files/gold.csv -w shop --json",
    "gate failed": (
        "judge distil --labels files/model-labels.csv --gold files/labels.csv -w shop --json"
    ),
    "rollback": "rollback -w shop --json",
    "rollback too far": "rollback -w shop --json",
}
"""Commands about irrelevant items, on a copy of a trained shop."""

BARE: Mapping[str, str] = {
    "init": "init -w bare --items files/bare.jsonl --json",
    "synonyms build": "synonyms build -w bare --json",
    "synonyms show": "synonyms show -w bare --json",
    "train": "train -w bare --json",
}
"""What makes a workspace without events."""

SMALL_IMPORT = "import -w small --json"
EVALUATE = "evaluate --full -w shop --json"
ALIGNMENT = "evaluate --alignment -w small --json"

ERRORS: Mapping[str, str] = {
    "no workspace": "recommend -w nowhere --json",
    "serve no workspace": "serve -w nowhere",
    "no such command": "recomend",
    "no such option": "train -w shop --colour red",
    "no such file": "init -w other --items nothing.csv --json",
    "initialised before": "init -w shop --items files/items.csv --json",
    "column not there": "init -w other --items files/items.csv --map item_id=code --json",
    "surface not there": "recommend -w shop --surface window --json",
    "item not there": "recommend -w shop --surface similar --item nothing --json",
    "search without words": "recommend -w shop --surface search --json",
    "k of 0": "recommend -w shop -k 0 --json",
    "batch without file": "recommend -w shop --batch --json",
    "file that cannot be written": "recommend -w shop --batch --out /proc/x.parquet --json",
    "id not there": "ids show nothing -w shop --json",
    "version not there": "ids diff v1 v77 -w shop --json",
    "term too long": "synonyms accept 'a b c d' e -w shop --json",
    "nothing proposed": "synonyms accept nothing -w shop --json",
    "no budget": "synonyms build --llm -w shop --json",
    "budget without LLM": "queries build --budget 1 -w shop --json",
    "gate without seen": "judge gate --labels files/labels.csv --gold files/gold.csv --json",
    "gold learned from": (
        "judge distil --labels files/labels.csv --gold files/labels.csv -w shop --json"
    ),
    "host of others": "serve -w shop --host 0.0.0.0",
    "rollback of the first": "rollback -w shop --json",
    "bench model not there": "bench sequential --data files --json out.json --models nothing",
    "bench data not there": "bench cold --data nowhere --json out.json",
}
"""Commands that are refused; ``shop`` is trained."""

BROKEN_SETTINGS: Mapping[str, tuple[str, str]] = {
    "unknown key": ('name = "hashing"', 'name = "hashing"\nflavour = 1'),
    "wrong type": ("epochs = 2\nmax_len", 'epochs = "many"\nmax_len'),
    "not TOML": ("[content]", "[content"),
    "unknown source": ("[surfaces.home]", "[surfaces.home]\nsources = {nobody = 10}"),
    "unknown template form": ("{brand} {category}", "{brand:shout} {category}"),
    "surface without a task": ("[surfaces.under_80]\ntask", "[surfaces.under_80]\nerrand"),
}
"""Old text of the settings -> new text, with which ``REFUSED`` is refused."""
REFUSED = "import -w broken --json"
SERVE = "serve -w {workspace} --port 0"
"""Prints ``READY`` and its address once it answers."""
READY = "Ready: "

BENCH: Mapping[str, str] = {
    "sequential": (
        "bench sequential --data bench/circles --json out.json --seeds 1 "
        "--models popularity,item-knn,transitions+content,sasrec"
    ),
    "cold": "bench cold --data bench/circles --json out.json --seeds 1 --models content-knn",
    "unified of films": ("bench unified --data bench/films --json out.json --seeds 1 --models rrf"),
    "judge": (
        "bench judge --data bench/judged --json out.json --seeds 1 --models rules,cosine,student"
    ),
    "judge of occupations": (
        "bench judge --data bench/onet --json out.json --seeds 1 --models rules,cosine"
    ),
    "enrich": "bench enrich --data bench/products --json out.json",
    "spelling": "bench spelling --data bench/products --json out.json --seeds 1",
    "spelling of films": "bench spelling --data bench/films --json out.json --seeds 1",
    "rewrites": "bench rewrites --data bench/products --json out.json",
    "suggest": "bench suggest --data bench/films --json out.json --models 'serendip,without rules'",
}
"""Each writes ``out.json``; their data are made by the builders of the tests."""
SLOW_BENCH: Mapping[str, str] = {
    "sequential": (
        "bench sequential --data bench/circles --json out.json --seeds 1 "
        "--models ease,transitions,item2vec,gru4rec,retriever,blend"
    ),
    "cold": "bench cold --data bench/circles --json out.json --seeds 1 --models id,content+codes",
    "unified of sequences": (
        "bench unified --data bench/circles --json out.json --seeds 1 "
        "--models unified,specialist,unified-no-user,engine,bm25,vectors,rrf"
    ),
    "unified of products": (
        "bench unified --data bench/products --json out.json --seeds 1 --models bm25,vectors"
    ),
    "unified of a shop": (
        "bench unified --data bench/retail --json out.json --seeds 1 --models unified"
    ),
    "judge of occupations": (
        "bench judge --data bench/onet --json out.json --seeds 1 --models student"
    ),
}
BENCH_ROW_KEYS = ("task", "set", "model", "mode", "search", "text", "typed", "seed")
"""What a row of their files is about."""
BENCH_WORK, BENCH_CACHE = "out.json.work", "cache"
"""What benchmarks keep beside their files, and the part of it that all of them may share."""

# --- settings -------------------------------------------------------------------------------------

SETTINGS_FILE = "serendip.toml"
_COLUMNS = """
[items]
path = "../files/{items}"

[events]
path = "../files/{events}"

[events.columns]
user_id = "customer"
item_id = "item_id"
timestamp = "timestamp"
action = "action"
value = "value"
query = "typed"
request_id = "request_id"
position = "position"
surface = "surface"
session_id = "session_id"
event_id = "event_id"
"""
_TINY_MODELS = """
[content]
name = "hashing"
fields = ["title", "description", "category", "brand"]

[models.retriever]
embedding_size = 16
search_size = 8
epochs = 2
max_len = 12
quality_loss = 0.05

[ranker]
epochs = 2
"""
_SURFACES = """
[actions]
strengths = {purchase = 3.0}

[queries]
templates = [
  "{category}", "{brand}", "{brand} {category}", "{colour} {category}", "{year:decade} {category}",
  "like {title}",
]
new_categories_first = true
exploration = 5

[search]
offer_from = 0.3

[evaluation]
cuts = [0.8]

[surfaces.home]
diversity = {most = 2, window = 6}
exploration = {share = 0.2, max_interactions = 5}

[surfaces.ads]
sponsored = {positions = [1, 4], floor = 0.2}

[surfaces.digest.min_value]
k = 4
min_items = 2
threshold = 0.5

[surfaces.under_80]
task = "home"
filters = ["seen", {attribute = "price", at_most = 80}, {attribute = "category", has = "Seating"}]

[surfaces.local]
task = "search"
context = ["user", "query", "country", "time"]
filters = [{attribute = "countries", has = "request"}]

[llm]
provider = "endpoint"
base_url = "http://127.0.0.1:9/v1"
model = "nobody"
input_price = 1.0
output_price = 2.0
"""
SHOP_SETTINGS = (
    _COLUMNS.replace("{items}", "items.csv").replace("{events}", "events.csv")
    + _TINY_MODELS
    + _SURFACES
)
SMALL_SETTINGS = (
    _COLUMNS.replace("{items}", "small-items.csv").replace("{events}", "small-events.csv")
    + _TINY_MODELS
)
FILTER_SETTINGS = "\n[surfaces.search.relevance_filter]\nthreshold = 0.5\ndepth = 60\n"
BARE_SETTINGS = "\n[models.retriever]\nembedding_size = 16\nsearch_size = 8\nepochs = 2\n"
"""What is added to the settings that `init` writes."""

# --- what is stored -------------------------------------------------------------------------------

DOCUMENTS: tuple[str, ...] = (
    *("manifest.json", "config.json", "state.json", "lexical.json", "space.json", "names.json"),
    *("query-ranker.json", "rewrites.json", "relevance.json"),
)
"""Files of JSON in a workspace that are recorded whole, wherever they stand."""
TABLES: tuple[str, ...] = ("synonyms.csv",)
REPORT, REPORT_PAGES = "reports/report.json", "reports/*.html"
VECTOR_COLUMN = "vector"
COST_LINES: Mapping[str, str] = {
    'class="meter"': "</th>",
    "<figcaption>Quality and cost": "</figcaption>",
}
"""What marks a line about seconds and memory on a page of reports -> how far it is recorded."""

# --- what differs from run to run -----------------------------------------------------------------

MASKED_KEYS: Mapping[str, str] = {
    "request_id": "drawn for every answer",
    "created": "time of writing",
    "code_version": "version of the package",
    "fingerprint": "hash of the package's own sources",
    "files": "checksums of artefacts, some of which have names drawn at random",
    "digest": "hash of a benchmark's code or configuration",
    "machine": "what it ran on",
    "wall_s": "seconds",
    "cpu_s": "seconds",
    "seconds": "seconds",
    "ms": "CPU-milliseconds",
    "cpu_ms": "CPU-milliseconds",
    "read_ms": "CPU-milliseconds",
    "ms_per_200": "CPU-milliseconds",
    "cpu_s_per_1000": "CPU-seconds",
    "encode_cpu_s": "CPU-seconds",
    "train_cpu_s": "CPU-seconds",
    "train_wall_s": "seconds",
    "score_cpu_s": "CPU-seconds",
    "score_wall_s": "seconds",
    "peak_mb": "memory",
}
"""Keys of JSON objects whose values are masked, and why."""
