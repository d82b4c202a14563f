"""Tables as LaTeX that needs no package."""

from __future__ import annotations

from harness.report.content import ShownTable

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\n": " ",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "√": r"$\surd$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "✓": "",
    "✗": "",
    "²": "$^2$",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
}
_RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def escape(text: str) -> str:
    """Text for LaTeX; characters beyond Latin-1 that it has no rule for become '?'."""
    out, i = [], 0
    while i < len(text):
        raised = 0
        while i + raised < len(text) and text[i + raised] in "⁻⁰¹²³⁴⁵⁶⁷⁸⁹":
            raised += 1
        if raised:
            out.append(f"$^{{{text[i : i + raised].translate(_RAISED)}}}$")
            i += raised
            continue
        char = text[i]
        out.append(_LATEX.get(char, char if ord(char) < 256 else "?"))
        i += 1
    return "".join(out).strip()


def render(table: ShownTable) -> str:
    """A ``table`` environment that needs no package; long text columns wrap."""
    widest = [max([len(c), *(len(r[i].text) for r in table.rows)]) for i, c in enumerate(table.columns)]
    spec = "".join("r" if n else "p{4.5cm}" if w > 36 else "l" for n, w in zip(table.numeric, widest, strict=True))
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{escape(table.title)}}}",
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        rf"\begin{{tabular}}{{{spec}}}",
        r"\hline",
        " & ".join(escape(c) for c in table.columns) + r" \\",
        r"\hline",
    ]
    lines += [" & ".join(escape(c.text) for c in row) + r" \\" for row in table.rows]
    lines += [r"\hline", r"\end{tabular}"]
    if table.note:
        lines.append(rf"\par {escape(table.note)}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"
