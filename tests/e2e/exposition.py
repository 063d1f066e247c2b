"""A strict parser of Prometheus' text exposition format 0.0.4: whatever a careful writer would not do is an error.

    metrics = parse(text)
    metrics.value("loomgate_server_tries_total", backend="app", server="a1")
    metrics.histogram("loomgate_backend_duration_seconds", backend="app").count
"""

import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
COMMENT = re.compile(rf"# (HELP|TYPE) ({NAME}) (.+)")
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
NUMBER = re.compile(r"[0-9]+(\.[0-9]*[1-9])?")
ESCAPES = {'\\"': '"', "\\\\": "\\", "\\n": "\n"}


class Bad(AssertionError):
    """The text is not what it should be."""


def require(condition, *what):
    if not condition:
        raise Bad(*what)


class Histogram:
    """One series of a histogram: [(limit, cumulative count)], sum, count."""

    def __init__(self, buckets, total, count):
        self.buckets, self.sum, self.count = buckets, total, count


class Family:
    def __init__(self, name, text):
        self.name, self.help, self.type = name, text, None
        self.samples = {}  # (suffix, frozenset of labels): value

    def histograms(self):
        """{labels: Histogram}, each checked to be whole."""
        groups = {}
        for (suffix, labels), value in self.samples.items():
            limit = [v for k, v in labels if k == "le"]
            require(len(limit) == (suffix == "_bucket"), self.name, suffix, labels)
            rest = frozenset((k, v) for k, v in labels if k != "le")
            groups.setdefault(rest, {"_bucket": []})
            if limit:
                groups[rest]["_bucket"].append((float(limit[0]), value))
            else:
                groups[rest][suffix] = value
        return {labels: self._histogram(labels, group) for labels, group in groups.items()}

    def _histogram(self, labels, group):
        require({"_bucket", "_sum", "_count"} == set(group), self.name, labels, group)
        buckets = group["_bucket"]
        require(buckets == sorted(buckets), "buckets must ascend and be cumulative", self.name, labels, buckets)
        require([value for _, value in buckets] == sorted(value for _, value in buckets), self.name, labels, buckets)
        require(buckets[-1] == (math.inf, group["_count"]), "+Inf is not the count", self.name, labels, group)
        return Histogram(buckets, group["_sum"], group["_count"])

    def check(self):
        require(self.type, f"{self.name} has no TYPE")
        require(self.samples, f"{self.name} has no sample")
        require((self.type == "counter") == self.name.endswith("_total"), f"{self.name} is a {self.type}")
        require(not re.search(r"_(us|ms|microseconds|milliseconds|kb|kib)(_|$)", self.name), f"unit of {self.name}")
        if self.type == "histogram":
            limits = {tuple(limit for limit, _ in h.buckets) for h in self.histograms().values()}
            require(len(limits) == 1, f"the series of {self.name} have different buckets")
        else:
            require(all(suffix == "" for suffix, _ in self.samples), self.name)
        if self.type != "gauge":
            require(all(value >= 0 for value in self.samples.values()), self.name)
        names = {frozenset(k for k, _ in labels if k != "le") for _, labels in self.samples}
        require(len(names) == 1, f"the samples of {self.name} have different labels: {names}")


class Metrics(dict):
    """{name: Family}"""

    def value(self, name, default=None, **labels):
        family = self.get(name)
        value = family.samples.get(("", frozenset(labels.items()))) if family else None
        require(value is not None or default is not None, f"no {name} {labels}")
        return default if value is None else value

    def histogram(self, name, **labels):
        return self[name].histograms()[frozenset(labels.items())]

    def count(self, name, **labels):
        """Of a histogram; 0 where there is none yet."""
        return self[name].samples.get(("_count", frozenset(labels.items())), 0) if name in self else 0

    def counters(self):
        """{(name, suffix, labels): value} of all that can only grow."""
        return {(name, *key): value for name, family in self.items() if family.type != "gauge"
                for key, value in family.samples.items()}


def parse_labels(text):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        require(match, f"bad labels: {text!r}")
        name, value = match[1], re.sub(r"\\.", lambda m: ESCAPES[m[0]], match[2])
        require(name not in labels and not name.startswith("__"), f"label {name}: {text!r}")
        labels[name] = value
        at = match.end()
        require((match[3] == ",") == (at < len(text)), f"bad labels: {text!r}")
    return frozenset(labels.items())


def parse_sample(family, line):
    match = SAMPLE.fullmatch(line)
    require(match and family and match[1].startswith(family.name), f"not a sample of {family and family.name}: {line!r}")
    suffix = match[1][len(family.name):]
    allowed = ("_bucket", "_sum", "_count") if family.type == "histogram" else ("",)
    require(suffix in allowed, f"not a sample of {family.name}: {line!r}")
    require(NUMBER.fullmatch(match[3]), f"bad number: {line!r}")
    require(match[2] != "", f"empty labels: {line!r}")
    key = suffix, parse_labels(match[2] or "")
    require(key not in family.samples, f"twice: {line!r}")
    family.samples[key] = float(match[3])


def parse(text):
    """The families of a whole text. Each is HELP, TYPE and its samples, in one piece."""
    require(text.endswith("\n") and "\r" not in text, "lines end with LF")
    metrics, family = Metrics(), None
    for line in text[:-1].split("\n"):
        if not line.startswith("#"):
            parse_sample(family, line)
            continue
        match = COMMENT.fullmatch(line)
        require(match, f"not HELP nor TYPE: {line!r}")
        kind, name, rest = match.groups()
        if kind == "HELP":
            require(name not in metrics and name.startswith("loomgate_"), f"family {name}")
            if family:
                family.check()
            family = metrics[name] = Family(name, rest)
        else:
            require(family and name == family.name and not family.type and not family.samples, line)
            require(rest in ("counter", "gauge", "histogram"), line)
            family.type = rest
    require(family, "there is nothing")
    family.check()
    return metrics
