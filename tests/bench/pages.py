"""Parts of the pages that are made of a run of the benchmark, between two marks:

    <!-- bench: begin NAME -->
    ...
    <!-- bench: end -->
"""

import re

MARK = re.compile(r"(<!-- bench: begin (\w+) -->\n).*?(<!-- bench: end -->)", re.S)


def names(text):
    return [match[2] for match in MARK.finditer(text)]


def fill(text, parts):
    """The text with those parts put in that are there; what no part was given for stays as it is."""
    return MARK.sub(lambda match: match[1] + parts[match[2]].strip("\n") + "\n" + match[3] if match[2] in parts
                    else match[0], text)
