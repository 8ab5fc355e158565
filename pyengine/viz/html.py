"""A page of HTML that needs nothing but itself: no script, no file, no address of elsewhere."""

from html import escape

from .style import shown, svg

_POINT = 4 / 3  # CSS pixels
_READABLE = 720  # a wider picture scrolls on a narrow screen and does not shrink below this

_CSS = """
:root { color-scheme: light dark; --page: #f5f6f8; --card: #ffffff; --ink: #1c2430; --quiet: #5b6675;
  --line: #dfe3e8; --good: #14805e; --bad: #b3382c; --bad-tint: #fdf1ef; --good-tint: #eef8f4; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1a2029; --ink: #e4e8ee; --quiet: #98a3b3;
  --line: #2c3541; --good: #4cc59b; --bad: #f08a7c; --bad-tint: #2b2022; --good-tint: #1a2926; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 .2rem; }
p { margin: .2rem 0 .6rem; color: var(--quiet); max-width: 72ch; overflow-wrap: anywhere; }
dl { display: flex; flex-wrap: wrap; gap: .4rem 1.8rem; margin: .6rem 0 0; }
dt { font-size: .78rem; color: var(--quiet); } dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1rem 1.1rem;
  margin-top: 1rem; }
figure { margin: .4rem 0 0; overflow-x: auto; }
figure svg { display: block; width: 100%; height: auto; font-family: inherit; }
.scroll { overflow: auto; max-height: 34rem; margin-top: .6rem; }
table { border-collapse: collapse; width: 100%; font-size: .84rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .28rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { position: sticky; top: 0; background: var(--card); color: var(--quiet); font-weight: 600; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.text, th.text { text-align: left; }
tr.bad td:first-child { color: var(--bad); font-weight: 600; }
.note { border-left: 4px solid var(--bad); background: var(--bad-tint); border-radius: 6px; padding: .55rem .8rem;
  margin: .6rem 0; }
.note.good { border-color: var(--good); background: var(--good-tint); }
.note b { color: var(--bad); } .note.good b { color: var(--good); } .note p { margin: .2rem 0 0; max-width: none; }
code { font: .92em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
"""


def text(value, longest=200):
    """value for the page: escaped, printable, not endless."""
    return escape(shown(value, longest))


def section(title, told="", body=""):
    """A card."""
    intro = f"<p>{text(told, 1000)}</p>" if told else ""
    return f"<section><h2>{text(title)}</h2>{intro}{body}</section>\n"


def picture(figure, key, label):
    """A Figure as an inline SVG that takes the page's width, but stays readable; key as in style.svg."""
    width = figure.get_figwidth() * 72 * _POINT
    style = f"max-width:{width:.0f}px;min-width:{min(width, _READABLE):.0f}px"
    start = f'<svg role="img" aria-label="{text(label)}" style="{style}"'
    return f"<figure>{svg(figure, key).replace('<svg', start, 1)}</figure>"


def note(title, measured, advice, good=False):
    """A finding."""
    kind, more = "note good" if good else "note", f"<p>{text(advice, 1000)}</p>" if advice else ""
    return f'<div class="{kind}"><b>{text(title)}</b> {text(measured, 1000)}{more}</div>'


def table(head, rows, bad=(), texts=()):
    """A table; head, names of columns; bad, numbers of rows that are marked; texts, numbers of columns with words."""

    def cell(kind, place, value):
        name = ' class="text"' if place in texts else ""
        return f"<{kind}{name}>{text(value, 60)}</{kind}>"

    top = "".join(cell("th", place, name) for place, name in enumerate(head))
    lines = [f"<tr{' class=bad' * (number in bad)}>"
             + "".join(cell("td", place, value) for place, value in enumerate(row)) + "</tr>"
             for number, row in enumerate(rows)]  # fmt: skip
    body = "\n".join(lines)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def whole(title, facts, sections):
    """The page. facts: name -> value, under the title. The policy in its head forbids everything from elsewhere."""
    told = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in facts.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">\n'
        f"<title>{text(title)}</title>\n<style>{_CSS}</style></head>\n<body><main>\n"
        f"<header><h1>{text(title)}</h1>{f'<dl>{told}</dl>' if told else ''}</header>\n"
        f"{''.join(sections)}</main></body></html>\n"
    )
