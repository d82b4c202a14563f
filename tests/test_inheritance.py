"""A user's code in the planning process leaves what the trials' processes inherit as it was."""

import os
import resource
from pathlib import Path

import pytest

from harness import inheritance, registry

DEED = """
import os, resource
os.environ["MKL_CBWR"] = "COMPATIBLE"
os.environ.pop("PATH")
os.chdir("/")
os.umask(0o777)
resource.setrlimit(resource.RLIMIT_NOFILE, (16, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
"""


def state():
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    return (
        dict(os.environ), Path.cwd(), inheritance._mask(), resource.getrlimit(resource.RLIMIT_NOFILE), cpus,
    )


def test_what_is_inherited_is_what_it_was():
    before = state()
    with pytest.raises(KeyError), inheritance.kept():
        exec(DEED)
        assert all(now != then for now, then in zip(state()[:4], before[:4], strict=True))
        raise KeyError
    assert state() == before


def test_a_plugin_that_is_imported_to_plan_changes_none_of_it(clean_registry, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        DEED + "from dataclasses import dataclass\nfrom harness.registry import register\n"
        '@register("rank")\n@dataclass(frozen=True, kw_only=True)\nclass Mine: ...\n'
    )
    before = state()
    assert registry.load_plugin(path)
    assert state() == before
