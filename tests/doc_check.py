"""Compares the tables in the pages with those of the program, so that neither can drift.

usage: tests/doc_check.py BINARY [--write]

A table in a page stands behind a line `<!-- settings: NAME -->`; `BINARY --print-settings` prints all of them in the
same form. Each must be in doc/configuration.md exactly once, line by line the same. --write puts the program's tables
into the page. Also: names of files that the pages link to, and sample configurations, which must be valid.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "doc" / "configuration.md"
MARK = re.compile(r"<!-- settings: (.+) -->")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def read_tables(text):
    """[(name, [lines of the table], number of the mark's line)]"""
    tables = []
    lines = text.split("\n")
    for number, line in enumerate(lines):
        mark = MARK.fullmatch(line.strip())
        if not mark:
            continue
        end = number + 1
        while end < len(lines) and lines[end].startswith("|"):
            end += 1
        tables.append((mark[1], lines[number + 1:end], number + 1))
    return tables


def compare(page_tables, program_tables):
    """Complaints about the page."""
    wanted = {name: lines for name, lines, _ in program_tables}
    seen = {}
    for name, lines, number in page_tables:
        where = f"{PAGE.relative_to(ROOT)}:{number}"
        if name in seen:
            yield f"{where}: the table '{name}' is there twice, first at line {seen[name]}"
            continue
        seen[name] = number
        if name not in wanted:
            yield f"{where}: the program has no table '{name}'"
            continue
        for index in range(max(len(lines), len(wanted[name]))):
            have = lines[index] if index < len(lines) else "(nothing)"
            want = wanted[name][index] if index < len(wanted[name]) else "(nothing)"
            if have != want:
                yield f"{PAGE.relative_to(ROOT)}:{number + 1 + index}: {have}\n  the program says: {want}"
    for name in wanted:
        if name not in seen:
            yield f"{PAGE.relative_to(ROOT)}: the table '{name}' is missing"


def write(text, program_tables):
    wanted = {name: lines for name, lines, _ in program_tables}
    lines = text.split("\n")
    for name, old, number in reversed(read_tables(text)):
        if name in wanted:
            lines[number:number + len(old)] = wanted[name]
    PAGE.write_text("\n".join(lines))


def check_links():
    for page in [*sorted((ROOT / "doc").glob("*.md")), *sorted(ROOT.glob("*.md"))]:
        for target in LINK.findall(page.read_text()):
            if not (page.parent / target).exists():
                yield f"{page.relative_to(ROOT)}: there is no {target}"


def check_samples(binary):
    for sample in sorted((ROOT / "conf").glob("*.yaml")):
        done = subprocess.run([binary, "-c", "-f", sample], capture_output=True, text=True, timeout=30)
        if done.returncode != 0 or done.stderr:
            yield f"{sample.relative_to(ROOT)}:\n{done.stderr}"


def main():
    binary = sys.argv[1]
    printed = subprocess.run([binary, "--print-settings"], capture_output=True, text=True, check=True, timeout=30).stdout
    program_tables = read_tables(printed)
    if len(program_tables) < 10:
        sys.exit(f"{binary} --print-settings printed no tables")
    if "--write" in sys.argv[2:]:
        write(PAGE.read_text(), program_tables)
    complaints = [*compare(read_tables(PAGE.read_text()), program_tables), *check_links(), *check_samples(binary)]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    if complaints:
        sys.exit(1)
    print(f"doc-check: {len(program_tables)} tables are as the program says, links and samples are good")


main()
