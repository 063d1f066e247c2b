"""What a request may cost: the file `budget`, and the verdict on what was counted.

The file has a line a figure, `NAME VALUE`, and one that says which compiler made the program: other compilers come to
other numbers of instructions. Lines that begin with # are for readers.
"""

import collections

TOLERANCE = 0.03
STRAY = 0.01  # one more call in a hundred requests is chance
HEAD = """\
# What a request costs LoomGate's worker, compared by `make bench-guard`; BENCH_ARGS=--record writes it. Instructions in
# user mode and calls of malloc by callgrind, system calls by strace: see doc/performance.md.
"""

Verdict = collections.namedtuple("Verdict", "name value budget percent is_over is_under")


def read(path):
    """({name: value}, the compiler); both empty when there is no file. Raises ValueError with the line that is none."""
    figures, compiler = {}, ""
    if not path.exists():
        return figures, compiler
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if line.startswith("compiler "):
            compiler = line.partition(" ")[2]
        elif line and not line.startswith("#"):
            try:
                name, value = line.split()
                figures[name] = float(value)
            except ValueError:
                raise ValueError(f"{path}:{number}: no 'NAME VALUE': {line}") from None
    return figures, compiler


def write(path, figures, compiler):
    lines = [f"{name} {rounded(name, value)}" for name, value in figures.items()]
    path.write_text(HEAD + "\n".join([f"compiler {compiler}", *lines, ""]))


def rounded(name, value):
    return f"{value:.0f}" if name.endswith(".instructions") else f"{max(value, 0):.2f}"


def signed(value, digits):
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # + 0.0: there is no -0


def judge(name, value, budget):
    """Over, under or neither; percent is None where the budget is 0."""
    return Verdict(name, value, budget, (value / budget - 1) * 100 if budget else None,
                   value > budget * (1 + TOLERANCE) + STRAY, value < budget * (1 - TOLERANCE) - STRAY)


def judge_all(counted, budgets):
    """([Verdict], names that were counted and have no budget)"""
    return ([judge(name, value, budgets[name]) for name, value in counted.items() if name in budgets],
            [name for name in counted if name not in budgets])


def describe(verdict):
    by = signed(verdict.percent, 1) + " %" if verdict.percent is not None else signed(verdict.value - verdict.budget, 2)
    word = "OVER" if verdict.is_over else "under: record it" if verdict.is_under else ""
    return [verdict.name, rounded(verdict.name, verdict.value), rounded(verdict.name, verdict.budget), by, word]
