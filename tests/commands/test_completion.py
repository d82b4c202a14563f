"""What a shell offers after a Tab."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.planning.compose import shipped
from harness.planning.suite import PROFILES
from tests.terminal import harness


def offered(line: str) -> list[str]:
    """What is offered at the end of a line, as bash divides it."""
    *before, typed = line.replace("=", " = ").split(" ")
    words = [w for w in before if w]
    if not typed and words[-1] == "=":
        typed = words.pop()
    done = subprocess.run(
        [sys.executable, "-m", "harness"], capture_output=True, text=True, check=True, timeout=60,
        env={
            "COMP_WORDS": "\n".join([*words, typed]), "COMP_CWORD": str(len(words)),
            "_HARNESS_COMPLETE": "complete_bash", "PATH": "", "PYTHONPATH": ":".join(sys.path),
        },
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(("line", "expected"), [
    ("harness re", ["regress", "report"]),
    ("harness run mu", [s for s in shipped() if s.startswith("mu")]),
    ("harness run muon_scaling profile=", list(PROFILES)),
    ("harness run muon_scaling profile=c", ["cpu"]),
    ("harness show muon_scaling profile=s", ["smoke"]),
    ("harness show optimizer.mu", ["optimizer.muon"]),
    ("harness show est", ["estimator."]),
    ("harness list pro", ["profiles", "probes"]),
    ("harness analyse x.csv --estimator compute", ["compute_ratio"]),
    ("harness run muon_scaling --executor lo", ["local"]),
    ("harness data build vo", ["vocab_size="]),
])  # fmt: skip
def test_a_tab_offers_what_may_follow(line, expected):
    assert sorted(offered(line)) == sorted(expected)


def test_every_suite_and_a_profile_are_offered_where_nothing_is_typed():
    assert offered("harness plan ") == [*shipped(), "all", "profile="]


def test_a_shell_is_given_a_script():
    assert "complete" in harness("--show-completion", "bash").stdout
