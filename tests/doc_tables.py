#!/usr/bin/env python3
"""Compares what the pages say of failures, counters, log events, record fields, atomics, files and options with the
sources, so that neither can drift.

usage: tests/doc_tables.py [--write]      prints what disagrees (FILE:LINE: ...) and exits 1; --write puts the
                                          generated tables into the pages

A page marks a table by the line before it:
  <!-- generated: failures -->   rows of include/loomgate/base/failure.def, line by line the same (doc/failures.md)
  <!-- generated: metrics -->    rows of include/loomgate/stats/metrics.def (doc/observability.md)
  <!-- generated: families -->   the families of src/runtime/metrics_page.c (doc/observability.md)
  <!-- names: WHAT -->           written by hand; the names in its first column must be those of the sources:
      failures   each failure, in the order of the table                     (doc/failures.md)
      record     the fields of the access record, in their order             (doc/observability.md)
      events     event, level and fields of each log_LEVEL(), event_LEVEL()  (doc/observability.md)
      shared     what is atomic, locked or a thread's own, with its file     (doc/threads.md)
      files AREA the things of an area: src/AREA/*.c, include/loomgate/AREA  (doc/architecture.md)
Also: each option of the command line stands in doc/loomgate.8, and so do the words of an access record as text; the
README shows conf/loomgate.yaml as it is; links to a heading (PAGE.md#HEADING) find it.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOC = ROOT / "doc"
PAGES = ["failures.md", "observability.md", "threads.md", "architecture.md"]
MARK = re.compile(r"<!-- (generated|names): (.+) -->")
CODE = re.compile(r"`([^`]+)`")


class Table:
    def __init__(self, page, number, lines):
        self.page, self.number, self.lines = page, number, lines

    @property
    def place(self):
        return f"doc/{self.page}:{self.number}"

    def rows(self):
        """The cells of each row below the head."""
        return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in self.lines[2:]]

    def names(self):
        return [name for row in self.rows() for name in CODE.findall(row[0])]


def read_tables():
    """{(kind, what): Table}"""
    tables = {}
    for page in PAGES:
        lines = (DOC / page).read_text().split("\n")
        for number, line in enumerate(lines):
            if mark := MARK.fullmatch(line.strip()):
                end = number + 1
                while end < len(lines) and lines[end].startswith("|"):
                    end += 1
                tables[mark[1], mark[2]] = Table(page, number + 2, lines[number + 1:end])
    return tables


# --- what the sources say ---------------------------------------------------------------------------------------------


def read_rows(path, macro):
    """The arguments of each MACRO(...) line of a .def file."""
    rows = []
    for line in (ROOT / path).read_text().split("\n"):
        if match := re.fullmatch(macro + r"\((.*)\)", line.strip()):
            *words, sentence = re.fullmatch(r'(.*),\s*"(.*)"', match[1]).groups()
            rows.append([word.strip() for word in words[0].split(",")] + [sentence])
    return rows


AGAIN = {"ALWAYS": "always", "IDEMPOTENT": "when idempotent", "NEVER": "never"}


def failures_table():
    yield "| cause | blame | answer | may be sent again | against the server | sentence |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, blame, status, retry, breaker, sentence in read_rows("include/loomgate/base/failure.def", "FAILURE"):
        answer, against = "-" if status == "0" else status, "yes" if breaker == "1" else "no"
        yield f"| `{name}` | {blame.lower()} | {answer} | {AGAIN[retry]} | {against} | {sentence} |"


def metrics_table():
    yield "| name | kind | meaning |"
    yield "| --- | --- | --- |"
    for name, kind, text in read_rows("include/loomgate/stats/metrics.def", "METRIC"):
        yield f"| `{name}` | {kind.lower()} | {text} |"


SCOPES = {"PROCESS": "", "FRONTENDS": "frontend", "ROUTES": "route", "BACKENDS": "backend", "SERVERS": "server"}


def families_table():
    yield "| name | of | type | meaning |"
    yield "| --- | --- | --- | --- |"
    source = (ROOT / "src/runtime/metrics_page.c").read_text().split("families[] = {")[1].split("\n};")[0]
    for row, scopes, name, text in re.findall(r'\b([A-Z]+)\(([^"]*?)"(\w+)",\s*"([^"]*)"', source):
        named = re.findall(r"(?<!~)IN\((\w+)\)", scopes) or list(SCOPES)[1:]
        of = [SCOPES[scope] for scope in named if f"~IN({scope})" not in scopes]
        prefix = "*_" if len(of) > 1 else of[0] + "_" if of[0] else ""
        kind = next(kind for kind in ("gauge", "counter", "histogram") if kind.upper() in row + scopes)
        yield f"| `loomgate_{prefix}{name}` | {', '.join(of) or 'the process'} | {kind} | {text} |"


def failure_names():
    return [row[0] for row in read_rows("include/loomgate/base/failure.def", "FAILURE")]


def record_fields():
    text = (ROOT / "src/proxy/access_record.c").read_text()
    return re.findall(r"\bX\((\w+), KIND_\w+,", text.split("#define FIELDS(X)")[1].split("\n\n")[0])


def source_files():
    return [path for folder in ("src", "include") for path in sorted((ROOT / folder).rglob("*.[ch]"))]


def call_at(text, start):
    """The text from the parenthesis at `start` to the one that closes it."""
    depth, in_string, at = 0, False, start
    while at < len(text):
        c = text[at]
        if c == '"' and text[at - 1] != "\\":
            in_string = not in_string
        elif not in_string and c in "()":
            depth += 1 if c == "(" else -1
            if depth == 0:
                return text[start:at + 1]
        at += 1
    return text[start:]


def events():
    """{(event, level): {fields}} of all calls, and of the record that the log writes itself."""
    found = {}
    for path in source_files():
        text = path.read_text()
        if path.suffix == ".c":
            for match in re.finditer(r"\b(?:log|event)_(debug|info|warn|error)(?=\()", text):
                call = call_at(text, match.end())
                event = re.match(r'\(\s*"(\w+)"', call)
                name = event[1] if event else f"(not a literal, {path.relative_to(ROOT)})"
                found.setdefault((name, match[1]), set()).update(re.findall(r'LOG_(?:STR|SLICE|INT)\("(\w+)"', call))
        for line in re.findall(r'"\{\\"time.*', text):
            words = re.findall(r'\\"(\w+)\\":(?:\\"(\w+)\\")?', line)
            values = {name: value for name, value in words if value}
            if "event" in values:
                fields = {name for name, _ in words} - {"time", "level", "event"}
                found.setdefault((values["event"], values["level"]), set()).update(fields)
    return found


SHARED = re.compile(r"^\s*(?:static\s+)?(?:_Thread_local|_Atomic|atomic_bool|atomic_int|pthread_mutex_t)\b([^;()]*);",
                    re.MULTILINE)


def shared():
    """{(name, file)} of all declarations of what threads share, or explicitly do not."""
    found = set()
    for path in source_files():
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        text = re.sub(r"\b(?:_Alignas|alignas)\([^()]*\)", "", text)
        text = re.sub(r"\b_Atomic\([^()]*\)", "_Atomic x", text)
        for declaration in SHARED.findall(text):
            for declarator in re.sub(r"=[^,]*", "", declaration).split(","):
                name = re.findall(r"\w+", re.sub(r"\[.*", "", declarator))[-1]
                found.add((name, str(path.relative_to(ROOT))))
    return found


def things(area):
    """The names of an area's files, each once, private headers with those that have a public one."""
    public = [path.stem for path in (ROOT / "include/loomgate" / area).iterdir()]
    private = [path.stem.removesuffix("_internal") for path in (ROOT / "src" / area).glob("*.[ch]")]
    return set(public) | set(private)


def areas():
    return sorted(path.name for path in (ROOT / "src").iterdir() if path.is_dir() and any(path.iterdir()))


def options():
    text = (ROOT / "src/main.c").read_text()
    short = re.search(r'getopt_long\(argc, argv, ":?([\w:]+)"', text)[1]
    long = re.findall(r'\{"([\w-]+)", \w+_argument', text)
    return [f"-{c}" for c in short if c != ":"] + [f"--{name}" for name in long]


# --- comparing --------------------------------------------------------------------------------------------------------


def compare_generated(table, wanted):
    for index in range(max(len(table.lines), len(wanted))):
        have = table.lines[index] if index < len(table.lines) else "(nothing)"
        want = wanted[index] if index < len(wanted) else "(nothing)"
        if have != want:
            yield f"doc/{table.page}:{table.number + index}: {have}\n  the source says: {want}"


def compare_sets(table, have, want, what):
    for name in sorted(want - have, key=str):
        yield f"{table.place}: {what} {name} is missing"
    for name in sorted(have - want, key=str):
        yield f"{table.place}: {what} {name} is not in the sources"


def compare_lists(table, want, what):
    have = table.names()
    yield from compare_sets(table, set(have), set(want), what)
    if set(have) == set(want) and have != want:
        yield f"{table.place}: not in the order of the source: {', '.join(want)}"


def compare_events(table):
    have = {}
    for row in table.rows():
        fields = set(CODE.findall(row[2]))
        for event in CODE.findall(row[0]):
            have[event, row[1]] = fields
    want = events()
    yield from compare_sets(table, set(have), set(want), "event")
    for key in sorted(set(have) & set(want)):
        yield from compare_sets(table, have[key], want[key], f"event {key[0]} ({key[1]}): field")


def compare_shared(table):
    have = set()
    for row in table.rows():
        have |= {(name, CODE.findall(row[1])[0]) for name in CODE.findall(row[0])}
    yield from compare_sets(table, have, shared(), "shared")


def compare_files(tables):
    for area in areas():
        table = tables.get(("names", f"files {area}"))
        if table:
            yield from compare_sets(table, set(table.names()), things(area), f"{area}: file")
        else:
            yield f"doc/architecture.md: the table 'files {area}' is missing"


def compare_manual():
    text = (DOC / "loomgate.8").read_text().replace("\\-", "-")
    for option in options():
        if not re.search(rf"(?<![\w-]){re.escape(option)}\b", text):
            yield f"doc/loomgate.8: the option {option} is missing"
    layout = re.findall(r'SLICE\(" (\w+=)"\), AT_', (ROOT / "src/proxy/access_record.c").read_text())
    for word in layout:
        if word not in text:
            yield f"doc/loomgate.8: the word '{word}' of a text access record is missing"


def compare_readme():
    if (ROOT / "conf/loomgate.yaml").read_text().strip() not in (ROOT / "README.md").read_text():
        yield "README.md: what it shows of conf/loomgate.yaml is not that file"


def headings(page):
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def compare_anchors():
    for page in [ROOT / "README.md", *sorted(DOC.glob("*.md"))]:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text()):
            other = page.parent / target if target else page
            if not other.exists() or anchor not in headings(other):
                yield f"{page.relative_to(ROOT)}: there is no {target}#{anchor}"


GENERATED = {"failures": failures_table, "metrics": metrics_table, "families": families_table}


def compare_all(tables):
    missing = [key for key in [("generated", "failures"), ("generated", "metrics"), ("names", "failures"),
                               ("names", "record"), ("names", "events"), ("names", "shared")] if key not in tables]
    if missing:
        for kind, what in missing:
            yield f"doc: no page has a table '{kind}: {what}'"
        return
    for what, make in GENERATED.items():
        yield from compare_generated(tables["generated", what], list(make()))
    yield from compare_lists(tables["names", "failures"], failure_names(), "failure")
    yield from compare_lists(tables["names", "record"], record_fields(), "field")
    yield from compare_events(tables["names", "events"])
    yield from compare_shared(tables["names", "shared"])
    yield from compare_files(tables)
    yield from compare_manual()
    yield from compare_readme()
    yield from compare_anchors()


def write(tables):
    for what, make in GENERATED.items():
        table = tables["generated", what]
        page = DOC / table.page
        lines = page.read_text().split("\n")
        lines[table.number - 1:table.number - 1 + len(table.lines)] = list(make())
        page.write_text("\n".join(lines))


def main():
    if "--write" in sys.argv[1:]:
        write(read_tables())
    complaints = list(compare_all(read_tables()))
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    if complaints:
        sys.exit(1)
    print(f"doc-tables: {len(failure_names())} failures, {len(events())} log events, {len(record_fields())} record "
          f"fields, {len(shared())} shared things and {len(areas())} areas are as the sources say")


if __name__ == "__main__":
    main()
