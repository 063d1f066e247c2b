"""The plots of doc/performance.md: panels of bars, panels of lines, stacked bars."""

import math

from svg import COLOURS, FAINT, GRID, INK, PALETTE, Svg

MARGIN, TOP = 24, 84
PANEL_WIDTH, GAP = 256, 32
BAR, BAR_GAP = 18, 7


def header(svg, title, subtitle, colours):
    svg.text(MARGIN, 32, title, 17, weight="bold")
    svg.text(MARGIN, 51, subtitle, 12, fill=FAINT)
    if colours:
        svg.legend(MARGIN, 72, colours)


def text_of(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def bar_panels(title, subtitle, panels, columns=3):
    """`panels`: [(name, {contestant: value})]; each panel has a scale of its own, from 0."""
    names = [name for name in COLOURS if any(name in values for _, values in panels)]
    height = 30 + len(names) * (BAR + BAR_GAP) + 18
    rows = math.ceil(len(panels) / columns)
    svg = Svg(2 * MARGIN + columns * PANEL_WIDTH + (columns - 1) * GAP, TOP + rows * height + 8, title)
    header(svg, title, subtitle, {name: COLOURS[name] for name in names})
    for number, (panel, values) in enumerate(panels):
        x, y = MARGIN + number % columns * (PANEL_WIDTH + GAP), TOP + number // columns * height + 24
        svg.text(x, y, panel, 13, weight="bold")
        scale = (PANEL_WIDTH - 58) / (max(values.values()) or 1)
        for place, name in enumerate(names):
            top = y + 10 + place * (BAR + BAR_GAP)
            if name not in values:
                svg.text(x + 2, top + 13, "takes no part", 11, fill=FAINT)
                continue
            width = values[name] * scale
            svg.rect(x, top, width, BAR, COLOURS[name], f"{name}: {text_of(values[name])}", 2)
            svg.text(x + width + 6, top + 13, text_of(values[name]), 12)
    return svg


def ticks(least, most):
    """1, 2, 5 times powers of ten that enclose both."""
    all_ = [one * 10.0 ** power for power in range(-2, 6) for one in (1, 2, 5)]
    first = max(place for place, value in enumerate(all_) if value <= least)
    last = min(place for place, value in enumerate(all_) if value >= most)
    return all_[first:max(last, first + 1) + 1]


def line_panels(title, subtitle, panels, unit):
    """`panels`: [(name, {contestant: [(count, value)]})]; counts and values on logarithmic scales, one for all."""
    values = [value for _, lines in panels for points in lines.values() for _, value in points]
    names = [name for name in COLOURS if any(name in lines for _, lines in panels)]
    height, left = 210, 44
    marks = ticks(min(values), max(values))
    low, span = math.log(marks[0]), math.log(marks[-1] / marks[0])
    svg = Svg(2 * MARGIN + len(panels) * (PANEL_WIDTH + left) + (len(panels) - 1) * GAP, TOP + height + 78, title)
    header(svg, title, subtitle, {name: COLOURS[name] for name in names})
    for number, (panel, lines) in enumerate(panels):
        x, y = MARGIN + left + number * (PANEL_WIDTH + left + GAP), TOP + 34
        svg.text(x, y - 14, panel, 13, weight="bold")
        for mark in marks:
            level = y + height * (1 - (math.log(mark) - low) / span)
            svg.line(x, level, x + PANEL_WIDTH, level)
            svg.text(x - 7, level + 4, f"{mark:g}", 11, "end", FAINT)
        counts = sorted({count for points in lines.values() for count, _ in points})
        step = (PANEL_WIDTH - 24) / max(len(counts) - 1, 1)
        place = {count: x + 12 + step * index for index, count in enumerate(counts)}
        for count in counts:
            svg.line(place[count], y + height, place[count], y + height + 5, INK)
            svg.text(place[count], y + height + 19, f"{count:,}", 11, "middle", FAINT)
        for name in reversed([name for name in names if name in lines]):
            points = [(place[count], y + height * (1 - (math.log(value) - low) / span)) for count, value in lines[name]]
            svg.polyline(points, COLOURS[name], 3 if name == "loomgate" else 2)
            for (px, py), (count, value) in zip(points, lines[name]):
                svg.dot(px, py, COLOURS[name], f"{name}, {count:,}: {text_of(value)} {unit}")
    return svg


def stacked_bars(title, subtitle, bars, unit):
    """`bars`: [(name, {part: value})]; parts of the same name have the same colour."""
    parts = list(dict.fromkeys(part for _, values in bars for part in values))
    colours = dict(zip(parts, PALETTE))
    width, height, left = 920, 60, 208
    top = TOP + 24 * math.ceil(len(parts) / 4) - 18
    svg = Svg(width, top + len(bars) * height + 12, title)
    header(svg, title, subtitle, {})
    for number, (part, colour) in enumerate(colours.items()):
        svg.legend(MARGIN + number % 4 * 220, 74 + number // 4 * 22, {part: colour})
    scale = (width - left - MARGIN - 90) / max(sum(values.values()) for _, values in bars)
    for number, (name, values) in enumerate(bars):
        y = top + number * height + 14
        svg.text(MARGIN, y + 24, name, 13, weight="bold")
        x = left
        for part, value in values.items():
            svg.rect(x, y, value * scale, 36, colours[part], f"{part}: {value:,} {unit}")
            if value * scale > 44:
                svg.text(x + value * scale / 2, y + 23, f"{value:,}", 12, "middle", "#ffffff")
            x += value * scale
        svg.line(x, y, x, y + 36, GRID)
        svg.text(x + 8, y + 23, f"{sum(values.values()):,} {unit}", 13)
    return svg
