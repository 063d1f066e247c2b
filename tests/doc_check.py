"""Compares the tables in the pages with those of the program, so that neither can drift.

usage: tests/doc_check.py BINARY [--write]

A table in a page stands behind a line `<!-- settings: NAME -->`; `BINARY --print-settings` prints all of them in the
same form. Each must be in doc/configuration.md exactly once, line by line the same. So must the commands of the control
socket (`<!-- commands -->`, `BINARY --print-commands`) in doc/control.md, and their usage in the completion for bash.
What a connection is made of (`<!-- sizes: NAME -->`, the program `sizes` beside BINARY) is in doc/performance.md.
--write puts the program's tables into the pages. Also: names of files that the pages link to, and sample
configurations, which must be valid.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
SETTINGS = ROOT / "doc" / "configuration.md"
CONTROL = ROOT / "doc" / "control.md"
PERFORMANCE = ROOT / "doc" / "performance.md"
COMPLETION = ROOT / "contrib" / "completion" / "loomgate.bash"
MARK = re.compile(r"<!-- (?:(?:settings|sizes): (.+)|(commands)) -->")
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
        tables.append((mark[1] or mark[2], lines[number + 1:end], number + 1))
    return tables


def compare(page, program_tables):
    """Complaints about a page."""
    wanted = {name: lines for name, lines, _ in program_tables}
    seen = {}
    for name, lines, number in read_tables(page.read_text()):
        where = f"{page.relative_to(ROOT)}:{number}"
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
                yield f"{page.relative_to(ROOT)}:{number + 1 + index}: {have}\n  the program says: {want}"
    for name in wanted:
        if name not in seen:
            yield f"{page.relative_to(ROOT)}: the table '{name}' is missing"


def write(page, program_tables):
    wanted = {name: lines for name, lines, _ in program_tables}
    lines = page.read_text().split("\n")
    for name, old, number in reversed(read_tables(page.read_text())):
        if name in wanted:
            lines[number:number + len(old)] = wanted[name]
    page.write_text("\n".join(lines))


def split_completion():
    """The text before, in and behind the list of commands."""
    before, rest = COMPLETION.read_text().split("__loomctl_commands='\n")
    listed, behind = rest.split("'\n# end of commands")
    return before + "__loomctl_commands='\n", listed, "'\n# end of commands" + behind


def usages(command_tables):
    """What the completion lists: "show servers [BACKEND]", a line each."""
    cells = [re.match(r"\| `(.*?)` \|", line)[1].replace("\\|", "|") for line in command_tables[0][1][2:]]
    return "".join(f"{cell}\n" for cell in sorted(cells))


def check_completion(command_tables):
    if split_completion()[1] != usages(command_tables):
        yield f"{COMPLETION.relative_to(ROOT)}: its commands are not those of the program (--write puts them there)"


def ask(*command):
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    return read_tables(printed)


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
    settings, commands = ask(binary, "--print-settings"), ask(binary, "--print-commands")
    sizes = ask(pathlib.Path(binary).with_name("sizes"))
    if len(settings) < 10 or len(commands) != 1 or len(commands[0][1]) < 10:
        sys.exit(f"{binary} --print-settings or --print-commands printed no tables")
    if "--write" in sys.argv[2:]:
        write(SETTINGS, settings)
        write(CONTROL, commands)
        write(PERFORMANCE, sizes)
        before, _, behind = split_completion()
        COMPLETION.write_text(before + usages(commands) + behind)
    complaints = [*compare(SETTINGS, settings), *compare(CONTROL, commands), *compare(PERFORMANCE, sizes),
                  *check_completion(commands), *check_links(), *check_samples(binary)]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    if complaints:
        sys.exit(1)
    print(f"doc-check: {len(settings) + len(sizes)} tables and {len(commands[0][1]) - 2} commands are as the program says, links and "
          "samples are good")


main()
