"""Figures as tables of Markdown: medians of samples, ratios of neighbours in a round."""

import statistics


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def column(samples, key):
    return [sample[key] for sample in samples]


def middle(samples, key):
    return statistics.median(column(samples, key))


def ratios(samples, name, other, key="cpu_us"):
    """One of each round; a busy moment of the machine hits both parts of it."""
    return [mine[key] / its[key] for mine, its in zip(samples[name], samples[other]) if its[key]]


def ratio(samples, name, other, key="cpu_us"):
    """The median of the rounds' ratios; None when one of the two is not there."""
    if name == other or not samples.get(name) or not samples.get(other):
        return None
    list_ = ratios(samples, name, other, key)
    return statistics.median(list_) if list_ else None


def text_of(value, digits=2):
    return "-" if value is None else f"{value:,.{digits}f}"


def spread(values, digits=2):
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


RIVALS = ["haproxy", "nginx", "relay"]
RATIO_HEADS = [f"/ {name}" for name in RIVALS]


def ratio_cells(samples, name, key="cpu_us"):
    return [text_of(ratio(samples, name, other, key)) for other in RIVALS]


def pair_table(result, label):
    """Two ways of running, and the ratio of the second to the first."""
    samples = result["samples"]
    first, second = samples
    rows = [[name, text_of(middle(list_, "cpu_us")), spread(column(list_, "cpu_us")), text_of(middle(list_, "rate"), 0)]
            for name, list_ in samples.items()]
    list_ = ratios(samples, second, first)
    rows.append([label, text_of(statistics.median(list_), 3), spread(list_, 3), "-"])
    return table(["", "CPU us", "min to max", "requests/s"], rows)
