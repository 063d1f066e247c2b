#!/usr/bin/env python3
"""Checks the floors of the house: an include reaches only areas below, and goes in no circle inside an area.

usage: tests/layers.py [ROOT]        prints what reaches what, or the offending lines (FILE:LINE: ...) and exits 1

What is checked, for src/, include/loomgate/ and src/main.c:
  - "loomgate/AREA/THING.h" is there and lies in an area below, or in the same area; other quoted includes are private
    (*_internal.h beside the source)
  - inside an area the things form no circle; a thing is a public header with its private one and its sources. A source
    or private header that has no public one of its name belongs to the header it includes whose name is nearest
    (log_ring.c to log_internal.h, and that to log.h); each source must belong to some header of its area
  - a source that has a header of its name includes it before anything else, so that it is seen to stand alone
  - some system headers have one door (SYSTEM_DOORS)
"""

import collections
import pathlib
import re
import sys

# From below; areas on one floor do not know each other. main.c stands on top.
FLOORS = ["base", "config stats", "net", "http", "backend", "snapshot", "proxy", "runtime", "control"]
FLOOR_OF = {area: number for number, areas in enumerate(FLOORS) for area in areas.split()}

# A system header (by its beginning): which sources and headers may include it; main.c may, to tell versions.
SYSTEM_DOORS = {
    "yaml.h": "src/config/yaml.c",
    "cjson/": "src/control/view.c",
    "cJSON": "src/control/view.c",
    "pcre2": "src/proxy/record_filter_internal.h",
    "llhttp": ("src/http/", "include/loomgate/http/"),
    "ev.h": ("src/net/", "include/loomgate/net/", "src/runtime/", "include/loomgate/runtime/"),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
PUBLIC = re.compile(r"loomgate/([a-z0-9_]+)/([a-z0-9_]+)\.(?:h|def)")


def common_words(one, other):
    pairs = zip(one.split("_"), other.split("_"))
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(one.count("_"), other.count("_")) + 1)


class Tree:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.offences = []
        self.edges = collections.defaultdict(dict)  # (area, thing) -> {(area, thing): "file:line"}
        self.files = sorted(
            path.relative_to(self.root)
            for folder in ("src", "include")
            for path in (self.root / folder).rglob("*")
            if path.suffix in (".c", ".h", ".def")
        )
        self.includes = {path: self.read_includes(path) for path in self.files}

    def read_includes(self, path):
        lines = (self.root / path).read_text(errors="replace").splitlines()
        found = ((number, INCLUDE.match(line)) for number, line in enumerate(lines, 1))
        return [(number, match[1], match[2]) for number, match in found if match]

    def offend(self, path, line, message):
        self.offences.append(f"{path}:{line}: {message}")

    def target(self, path, name):
        """The file that a quoted include means."""
        return pathlib.Path("include", name) if name.startswith("loomgate/") else path.parent / name

    def thing_of(self, path):
        """(area, thing) of a file; the thing is None for a source that has no header. main.c is of no area."""
        if path == pathlib.Path("src/main.c"):
            return "main.c", "main.c"
        area, stem = path.parent.name, path.stem
        public = pathlib.Path("include", "loomgate", area)
        if path.suffix == ".def" or path.parent == public:
            return area, stem
        name = stem.removesuffix("_internal")
        if public / f"{name}.h" in self.includes:
            return area, name
        private = path.with_name(f"{name}_internal.h")
        if path.suffix == ".c" and private in self.includes:
            return self.thing_of(private)
        headers = [self.target(path, n) for _, quote, n in self.includes[path] if quote == '"']
        headers = [h for h in headers if h.parent.name == area and h in self.includes and h != path]
        if path.suffix == ".h":
            headers = [h for h in headers if h.parent == public and common_words(name, h.stem)]
        nearest = max(headers, key=lambda h: (common_words(name, h.stem), h.parent != public), default=None)
        return self.thing_of(nearest) if nearest else (area, name if path.suffix == ".h" else None)

    def check_place(self, path):
        parts = path.parts
        good = path == pathlib.Path("src/main.c")
        good |= len(parts) == 3 and parts[0] == "src" and (path.suffix == ".c" or path.stem.endswith("_internal"))
        good |= len(parts) == 4 and parts[:2] == ("include", "loomgate") and path.suffix in (".h", ".def")
        if not good:
            self.offend(path, 1, "is neither src/AREA/THING.c or _internal.h nor include/loomgate/AREA/THING.h")
        elif parts[-2] != "src" and parts[-2] not in FLOOR_OF:
            self.offend(path, 1, f"there is no area {parts[-2]!r} ({', '.join(FLOOR_OF)})")
        else:
            return True
        return False

    def check_public(self, path, number, own, name):
        match = PUBLIC.fullmatch(name)
        if not match or self.target(path, name) not in self.includes:
            return self.offend(path, number, f'"{name}" is not a header of LoomGate')
        area = match[1]
        if area not in FLOOR_OF:
            return self.offend(path, number, f"there is no area {area!r}")
        here, there = FLOOR_OF.get(own[0], len(FLOORS)), FLOOR_OF[area]
        if own[0] != area and there >= here:
            way = "up" if there > here else "over"
            return self.offend(path, number, f'{own[0]} must not reach {way} into {area}: "{name}"')
        self.edges[own].setdefault(self.thing_of(self.target(path, name)), f"{path}:{number}")

    def check_private(self, path, number, own, name):
        if not name.endswith("_internal.h") or self.target(path, name) not in self.includes:
            return self.offend(path, number, f'"{name}" is neither "loomgate/AREA/THING.h" nor a private one beside it')
        if path.parts[0] != "src":
            return self.offend(path, number, f'a public header must not include the private "{name}"')
        self.edges[own].setdefault(self.thing_of(self.target(path, name)), f"{path}:{number}")

    def check_system(self, path, number, name):
        for beginning, doors in SYSTEM_DOORS.items():
            doors = (doors,) if isinstance(doors, str) else doors
            if path == pathlib.Path("src/main.c"):
                continue
            if name.startswith(beginning) and not str(path).startswith(doors):
                self.offend(path, number, f"<{name}> is only for {' and '.join(doors)}")

    def check_first(self, path, own):
        if path.suffix != ".c" or own[0] == "main.c":
            return
        if own[1] is None:
            self.offend(path, 1, f"has no header: include/loomgate/{own[0]}/{path.stem}.h, or another one of its area")
        public = pathlib.Path("include", "loomgate", own[0], f"{path.stem}.h")
        headers = [public, path.with_name(f"{path.stem}_internal.h")]
        headers = [header for header in headers if header in self.includes]
        number, _, name = (self.includes[path] or [(1, "", "")])[0]
        first = self.target(path, name)
        private = first.parent == path.parent and first in self.includes and self.thing_of(first) == own
        if headers and first not in headers and not private:
            self.offend(path, number, f"its own header comes first: {headers[0]}")

    def check_file(self, path):
        own = self.thing_of(path)
        for number, quote, name in self.includes[path]:
            if quote == "<":
                self.check_system(path, number, name)
            elif name.startswith("loomgate/"):
                self.check_public(path, number, own, name)
            else:
                self.check_private(path, number, own, name)
        self.check_first(path, own)

    def check_circles(self):
        """Depth first; an edge back to a thing on the way closes a circle."""
        done, way = set(), []

        def visit(node):
            way.append(node)
            for to, place in sorted(self.edges.get(node, {}).items(), key=str):
                if to == node or to in done:
                    continue
                if to in way:
                    circle = [thing for _, thing in way[way.index(to) :]] + [to[1]]
                    self.offences.append(f"{place}: closes a circle in {to[0]}: {' > '.join(map(str, circle))}")
                else:
                    visit(to)
            done.add(way.pop())

        for node in sorted(self.edges, key=str):
            if node not in done:
                visit(node)

    def check(self):
        for path in self.files:
            if self.check_place(path):
                self.check_file(path)
        self.check_circles()
        return self.offences

    def drawing(self):
        counts = collections.Counter(path.parent.name for path in self.files if path.suffix == ".c")
        floors = [", ".join(f"{area} {counts[area]}" for area in floor.split() if counts[area]) for floor in FLOORS]
        reach = collections.defaultdict(set)
        for (area, _), targets in self.edges.items():
            reach[area] |= {to for to, _ in targets if to != area}
        order = [*FLOOR_OF, "main.c"]
        ways = "; ".join(f"{a} > {' '.join(sorted(reach[a], key=order.index))}" for a in order if reach[a])
        return f"layers: {' < '.join(filter(None, floors))} < main.c (sources each); no circles\n        {ways}"


def main():
    tree = Tree(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    offences = tree.check()
    print("\n".join(offences) if offences else tree.drawing())
    return 1 if offences or not tree.files else 0


if __name__ == "__main__":
    sys.exit(main())
