"""A small writer of SVG: shapes on a panel of its own colour, so that it can be read on light and dark pages alike."""

from xml.sax.saxutils import escape, quoteattr

PAPER, INK, FAINT, GRID = "#fbfaf7", "#22262b", "#5d646d", "#dcdad3"
FONT = "font-family=\"'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif\""
COLOURS = {"loomgate": "#1f6f8b", "haproxy": "#c8773a", "nginx": "#6a9a52", "relay": "#9a9da3"}
PALETTE = ["#1f6f8b", "#c8773a", "#6a9a52", "#8a6aa8", "#b8525e", "#b39b3a", "#4b8f8c", "#9a9da3"]


class Svg:
    """Shapes in the order in which they are drawn; all lengths in pixels."""

    def __init__(self, width, height, title):
        self.width, self.height, self.title = width, height, title
        self.parts = []

    def rect(self, x, y, width, height, fill, title="", radius=0):
        shape = (f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill="{fill}"'
                 + (f' rx="{radius}"' if radius else ""))
        self.parts.append(f"{shape}><title>{escape(title)}</title></rect>" if title else shape + "/>")

    def text(self, x, y, text, size=12, anchor="start", fill=INK, weight="normal"):
        more = (f' text-anchor="{anchor}"' if anchor != "start" else "") + (
            f' font-weight="{weight}"' if weight != "normal" else "")
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"{more}>{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, stroke=GRID, width=1):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" '
                          f'stroke-width="{width}"/>')

    def polyline(self, points, stroke, width=2):
        listed = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{listed}" fill="none" stroke="{stroke}" stroke-width="{width}"/>')

    def dot(self, x, y, fill, title):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{fill}"><title>{escape(title)}</title>'
                          "</circle>")

    def legend(self, x, y, colours):
        """A row of names with their colours."""
        for name, colour in colours.items():
            self.rect(x, y - 10, 12, 12, colour, radius=2)
            self.text(x + 17, y, name)
            x += 17 + len(name) * 7.2 + 22

    def write(self, path):
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" {FONT} role="img" aria-label={quoteattr(self.title)}>\n'
                f"<title>{escape(self.title)}</title>\n")
        paper = f'<rect width="{self.width}" height="{self.height}" rx="8" fill="{PAPER}"/>\n'
        path.write_text(head + paper + "\n".join(self.parts) + "\n</svg>\n")
