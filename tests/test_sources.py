"""What a process executes of first-party code are the bytes that its fingerprints digest."""

import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from harness import sources


@pytest.fixture
def tree(tmp_path):
    """A copy of what ships, whose edits touch nobody else."""
    for name in ("harness", "baselines"):
        shutil.copytree(sources.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.xz", "__pycache__"))
    return tmp_path


def in_process(tree, code):
    """What the code prints as JSON in a process that keeps what it reads."""
    head = "import importlib, json\nfrom pathlib import Path\nfrom harness import sources\n"
    done = subprocess.run(
        [sys.executable, "-c", head + "sources.keep_what_is_read()\n" + textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(tree)}, cwd=tree, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_edit_that_a_cache_of_compiled_code_does_not_notice_is_executed(tree):
    file = tree / "harness" / "streams.py"
    file.write_text(file.read_text() + "MARK = 1\n")
    cached = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"PYTHONPATH": str(tree)}
    subprocess.run([sys.executable, "-c", "import harness.streams"], cwd=tree, env=cached, check=True)
    stat = file.stat()
    file.write_text(file.read_text().replace("MARK = 1", "MARK = 2"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    stale = "import harness.streams; print(harness.streams.MARK)"
    done = subprocess.run([sys.executable, "-c", stale], cwd=tree, env=cached, capture_output=True, text=True)
    assert done.stdout.strip() == "1"
    assert in_process(tree, "import harness.streams\nprint(harness.streams.MARK)") == 2


def test_digest_and_code_are_of_one_reading_whichever_comes_first(tree):
    found = in_process(tree, """
        from harness.fingerprint import fingerprint, source_digest
        file = Path("harness/streams.py").resolve()
        def edit(n):
            file.write_text(text + f"MARK = {n}\\n")
        text = file.read_text()
        edit(1)
        first = source_digest(file.read_text())
        import harness.streams
        edit(2)
        digest_after_import = fingerprint(["harness.streams"])["harness.streams"] == first
        changed = sources.changed() == [str(file)]
        other = Path("harness/outcome.py").resolve()
        before = fingerprint(["harness.outcome"])["harness.outcome"]
        other.write_text(other.read_text() + "MARK = 3\\n")
        import harness.outcome
        print(json.dumps([digest_after_import, changed, hasattr(harness.outcome, "MARK"), harness.streams.MARK]))
    """)  # fmt: skip
    assert found == [True, True, False, 1]


def test_a_process_that_executes_nothing_reads_what_lies_there(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("1")
    assert sources.read(file) == b"1"
    file.write_text("2")
    assert sources.read(file) == b"2"
