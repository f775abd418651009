"""A few shapes of SVG: boxes with lines of text, and arrows."""

from collections.abc import Sequence
from html import escape

FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"
INK, GREY = "#1b2a30", "#5b6b73"
COLOURS = {
    "scan": "#b2dfdb",  # what holds a selective scan
    "attention": "#ffe0b2",
    "convolution": "#cfd8dc",
    "map": "#ffffff",  # images and logits
    "plain": "#f1f5f6",
}


class Drawing:
    """Shapes on a white sheet of `width` x `height` pixels. `title` is what a screen reader says."""

    def __init__(self, width: int, height: int, title: str):
        self.size, self.title = (width, height), title
        self.shapes: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, lines: Sequence[str], kind: str = "plain") -> None:
        """The first line is bold, the others are smaller."""
        self.shapes.append(
            f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='6' fill='{COLOURS[kind]}' "
            f"stroke='{GREY}'/>"
        )
        top = y + height / 2 - 7.5 * (len(lines) - 1) + 4.5
        for number, line in enumerate(lines):
            style = "bold" if number == 0 else ""
            self.text(x + width / 2, top + 15 * number, line, 13 if number == 0 else 11.5, style)

    def text(self, x: float, y: float, text: str, size: float = 12, style: str = "", anchor: str = "middle") -> None:
        weight = " font-weight='bold'" if style == "bold" else ""
        colour = GREY if style == "grey" else INK
        self.shapes.append(
            f"<text x='{x:g}' y='{y:g}' font-size='{size:g}' text-anchor='{anchor}' fill='{colour}'{weight}>"
            f"{escape(text)}</text>"
        )

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """Through all points, with its head at the last one."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        dash = " stroke-dasharray='5 4'" if dashed else ""
        self.shapes.append(
            f"<polyline points='{path}' fill='none' stroke='{INK}' stroke-width='1.4'{dash} marker-end='url(#head)'/>"
        )

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 2) -> None:
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.shapes.append(
            f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='{width:g}' "
            f"stroke-linejoin='round' marker-end='url(#head)'/>"
        )

    def circle(self, x: float, y: float, sign: str) -> None:
        self.shapes.append(f"<circle cx='{x:g}' cy='{y:g}' r='10' fill='#ffffff' stroke='{INK}'/>")
        self.text(x, y + 5, sign, 14)

    def cell(self, x: float, y: float, side: float, fill: str) -> None:
        self.shapes.append(
            f"<rect x='{x:g}' y='{y:g}' width='{side:g}' height='{side:g}' fill='{fill}' stroke='#b0bec5'/>"
        )

    def svg(self) -> str:
        width, height = self.size
        marker = (
            "<defs><marker id='head' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' "
            f"orient='auto'><path d='M0,0 L8,4 L0,8 z' fill='{INK}'/></marker></defs>"
        )
        return "\n".join(
            [
                f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' "
                f"height='{height}' role='img' {FONT}>",
                f"<title>{escape(self.title)}</title>",
                marker,
                f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
                *self.shapes,
                "</svg>\n",
            ]
        )
