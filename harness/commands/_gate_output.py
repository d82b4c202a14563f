"""What the regression gate says: for a terminal, for programs, for a pull request, for a CI's list of tests."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from harness.analysis.gate import Judgement
from harness.regression import Verdicts

ORDER = ("regression", "missing", "unresolved", "changed", "improvement", "equivalent", "identical")
"""What a reader wants to see first."""
MOST = 5
"""Differences shown of an arm."""


def as_dict(found: Verdicts) -> dict[str, Any]:
    """For programs."""
    return {
        "against": found.against,
        "result": result(found),
        "same_numerics_class": found.same_class,
        "compared": found.num_compared,
        "trials": found.num_trials,
        "notes": found.notes,
        "arms": [
            {
                "suite": j.suite, "arm": j.arm, "status": j.status, "metric": j.metric, "estimate": j.estimate,
                "ci95": j.ci95, "num_pairs": j.num_pairs, "seed_sd": j.seed_sd, "why": j.why,
                "differences": j.differences,
            }
            for j in _sorted(found)
        ],
    }  # fmt: skip


def result(found: Verdicts) -> str:
    """The whole in a few words; never "no regression" where an arm was not compared."""
    missing = len(found.missing)
    if found.regressions:
        left = f"; {missing} could not be compared" if missing else ""
        return f"{len(found.regressions)} of {found.num_compared} arms regressed against {found.against}{left}"
    if not found.num_compared:
        return f"nothing compared with {found.against}: make a reference: harness regress --update --reason '...'"
    if missing:
        return (
            f"{missing} of {len(found.judgements)} arms could not be compared with {found.against}; "
            f"of the others none regressed"
        )
    how = f"{len(found.judgements) - len(found.altered)} bit-identical, {len(found.altered)} changed in bits"
    if not found.same_class:
        how = "in another numerics class, where only large differences show (--base compares on one machine)"
    return f"no regression: {found.num_compared} arms held against {found.against}, {how}"


def as_text(found: Verdicts) -> str:
    """For a terminal."""
    rows = [(j.suite, j.arm, j.status, _said(j)) for j in _sorted(found)]
    widths = [max((len(row[n]) for row in rows), default=0) for n in range(3)]
    lines = ["  ".join([*(f"{text:<{w}}" for text, w in zip(row, widths, strict=False)), row[3]]) for row in rows]
    lines += [f"note: {note}" for note in found.notes]
    return "\n".join([*(line.rstrip() for line in lines), result(found)])


def as_markdown(found: Verdicts) -> str:
    """For a pull request."""
    lines = [f"### Regression gate: {result(found)}", "", "| suite | arm | status | what |", "|---|---|---|---|"]
    for j in _sorted(found):
        status = f"**{j.status}**" if j.status == "regression" else j.status
        lines.append(f"| {j.suite} | {j.arm} | {status} | {_cell(_said(j))} |")
    if differing := [j for j in _sorted(found) if j.differences]:
        lines += ["", "<details><summary>What differs in bits</summary>", ""]
        lines += [f"- {j.suite} {j.arm}: {_cell('; '.join(_few(j)))}" for j in differing]
        lines += ["", "</details>"]
    lines += ["", *(f"Note: {note}" for note in found.notes)]
    return "\n".join(lines).rstrip() + "\n"


def as_junit(found: Verdicts) -> str:
    """A CI's list of tests, one an arm: a regression fails, what was not compared is an error."""
    count = {s: sum(j.status == s for j in found.judgements) for s in ORDER}
    suite = ElementTree.Element(
        "testsuite", name="harness regress", tests=str(len(found.judgements)),
        failures=str(count["regression"]), errors=str(count["missing"]), skipped="0",
    )  # fmt: skip
    for j in _sorted(found):
        case = ElementTree.SubElement(suite, "testcase", classname=j.suite, name=j.arm)
        told = "\n".join([_said(j), *_few(j)])
        if j.status == "regression":
            ElementTree.SubElement(case, "failure", message=_said(j)).text = told
        elif j.status == "missing":
            ElementTree.SubElement(case, "error", message=j.why).text = told
        else:
            ElementTree.SubElement(case, "system-out").text = f"{j.status}: {told}"
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _sorted(found: Verdicts) -> list[Judgement]:
    return sorted(found.judgements, key=lambda j: ORDER.index(j.status))


def _said(j: Judgement) -> str:
    parts = [j.why] if j.why else []
    if j.estimate is not None:
        low_high = f" [{j.ci95[0]:+.4g}, {j.ci95[1]:+.4g}]" if j.ci95 else ""
        sd = f", seed sd {j.seed_sd:.2g}" if j.seed_sd else ""
        parts.append(f"{j.metric} {j.estimate:+.4g}{low_high} over {j.num_pairs} pairs{sd}, positive is worse")
    elif j.status == "identical":
        parts.append(f"{j.num_pairs} sentinels")
    elif j.differences and j.status != "regression":
        parts += j.differences[:1]
    return "; ".join(parts)


def _few(j: Judgement) -> list[str]:
    more = len(j.differences) - MOST
    return [*j.differences[:MOST], *([f"{more} more"] if more > 0 else [])]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
