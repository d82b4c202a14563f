"""The embedded corpus: the committed list, wheels of other versions, altered and missing files."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from harness import data
from harness.data import python_sources
from harness.data.build import build_source
from harness.data.python_sources import LIST, Listed, PythonSources, list_lines, read_list, record_files
from harness.data.spec import parse
from harness.errors import DataError

SPEC = parse({"name": "python_sources"})


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> data.Corpus:
    return data.load({"name": "python_sources"}, tmp_path_factory.mktemp("data"))


def as_pinned() -> bool:
    listed = read_list().versions
    return all(python_sources.installed(name).version == listed[name] for name in listed)


@pytest.mark.skipif(not as_pinned(), reason="other versions than the list's are installed")
def test_pinned_wheels_give_the_committed_digest(embedded: data.Corpus) -> None:
    assert embedded.digest == read_list().digest
    assert embedded.about["differing_versions"] == {}


def test_splits_hold_about_their_shares_and_are_bytes(embedded: data.Corpus) -> None:
    sizes = {s: embedded.num_tokens(s) for s in data.SPLITS}
    total = sum(sizes.values())
    assert total > 100e6
    for split in ("validation", "test"):
        assert 0.02 < sizes[split] / total < 0.045
    assert embedded.vocab_size == 256 and embedded.bytes_per_token == 1.0
    train = embedded.split("train")
    assert train.dtype == "uint8" and train.ndim == 1 and len(train) == sizes["train"]
    # Python sources hold no byte 0, so zeros are the separators.
    assert int((embedded.split("test") == 0).sum()) == embedded.about["documents"]["test"]


def test_no_file_is_in_two_splits(embedded: data.Corpus) -> None:
    held_out = set(embedded.split("test").tobytes().split(b"\0")) - {b""}
    assert held_out.isdisjoint(embedded.split("validation").tobytes().split(b"\0"))
    train = {hashlib.sha256(text).digest() for text in embedded.split("train").tobytes().split(b"\0")}
    assert train.isdisjoint(hashlib.sha256(text).digest() for text in held_out)


def test_list_is_small_and_leaves_out_what_differs_between_platforms() -> None:
    assert LIST.stat().st_size < 2**20
    paths = {path for files in read_list().files.values() for path in files}
    assert "numpy/linalg/_linalg.py" in paths
    assert not any(p.endswith("/__config__.py") or p.startswith("numpy/distutils/") for p in paths)


# --- a toy distribution ------------------------------------------------------------------------------------


def install(site: Path, name: str, version: str, files: dict[str, str]) -> None:
    """A wheel's installed files with their RECORD."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    rows = []
    for path, text in files.items():
        file = site / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        value = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={value},{len(text.encode())}")
    (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,", ""]))


def sources(count: int = 200) -> dict[str, str]:
    return {f"toy/m{i:03}.py": f'"""Module {i}."""\n' + f"x = {i}\n" * 120 for i in range(count)}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    extra = {
        "toy/short.py": "x = 1\n", "toy/notes.txt": "n" * 500, "toy/copy.py": sources()["toy/m007.py"],
        "../../bin/toy.py": "y = 2\n" * 100,
    }
    install(folder, "toydist", "1.0", {**sources(), **extra})
    monkeypatch.syspath_prepend(str(folder))
    return folder


def toy_source(version: str = "1.0") -> PythonSources:
    files = record_files(python_sources.installed("toydist"))
    return PythonSources(Listed({"toydist": version}, {"toydist": files}, ""), ("toydist",))


def test_short_foreign_and_duplicate_files_are_left_out(site: Path, tmp_path: Path) -> None:
    corpus = build_source(SPEC, toy_source(), tmp_path / "data")
    assert corpus.about["files"] == 200 and corpus.about["dropped"] == {"duplicates": 1}
    text = b"".join(corpus.split(s).tobytes() for s in data.SPLITS)
    assert sorted(text.split(b"\0")[:-1]) == sorted(t.encode() for t in sources().values())


def test_digest_does_not_depend_on_the_order_of_the_record_or_the_folder(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_source(SPEC, toy_source(), tmp_path / "a").digest
    record = site / "toydist-1.0.dist-info" / "RECORD"
    record.write_text("".join(reversed(record.read_text().splitlines(keepends=True))))
    monkeypatch.chdir(site)
    assert build_source(SPEC, toy_source(), tmp_path / "b").digest == first


def test_an_altered_file_is_named_with_the_fix(site: Path, tmp_path: Path) -> None:
    source = toy_source()
    (site / "toy/m003.py").write_text("x = 'altered'\n" * 50)
    with pytest.raises(DataError, match=r"m003\.py: altered: .*pip install --force-reinstall .*toydist==1\.0"):
        build_source(SPEC, source, tmp_path / "data")
    assert not list((tmp_path / "data").glob("corpora/*")) and not list((tmp_path / "data/building").iterdir())


def test_a_file_that_is_gone_is_named_with_the_fix(site: Path, tmp_path: Path) -> None:
    source = toy_source()
    (site / "toy/m004.py").unlink()
    with pytest.raises(DataError, match=r"m004\.py: not readable .*force-reinstall"):
        build_source(SPEC, source, tmp_path / "data")


def test_another_version_is_read_by_its_own_record_and_says_so(site: Path, tmp_path: Path) -> None:
    listed = Listed({"toydist": "0.9"}, {"toydist": {"toy/m000.py": "0" * 64}}, "")
    corpus = build_source(SPEC, PythonSources(listed, ("toydist",)), tmp_path / "data")
    assert corpus.about["differing_versions"] == {"toydist": {"installed": "1.0", "listed": "0.9"}}
    assert corpus.digest == build_source(SPEC, toy_source(), tmp_path / "data").digest
    (site / "toy/m003.py").write_text("x = 'altered'\n" * 50)
    with pytest.raises(DataError, match=r"m003\.py: altered"):
        build_source(SPEC, PythonSources(listed, ("toydist",)), tmp_path / "data")


def test_a_missing_distribution_is_named_with_the_fix(tmp_path: Path) -> None:
    source = PythonSources(Listed({}, {}, ""), ("nosuchdistribution",))
    with pytest.raises(DataError, match="nosuchdistribution is not installed; pip install nosuchdistribution"):
        build_source(SPEC, source, tmp_path / "data")


def test_an_installation_without_a_record_is_refused(site: Path, tmp_path: Path) -> None:
    source = PythonSources(Listed({"toydist": "0.9"}, {}, ""), ("toydist",))
    (site / "toydist-1.0.dist-info" / "RECORD").unlink()
    with pytest.raises(DataError, match="no RECORD"):
        build_source(SPEC, source, tmp_path / "data")


def test_list_round_trips_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    listed = Listed({"a": "1", "b": "2"}, {"a": {"a/x.py": "0" * 64}, "b": {}}, "f" * 64)
    file = tmp_path / "list.tsv.xz"
    file.write_bytes(list_lines(listed.files, listed.versions, listed.digest))
    assert read_list(file) == listed
    damaged = tmp_path / "damaged.tsv.xz"
    damaged.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match=r"damaged\.tsv\.xz: .*reinstall harness"):
        read_list(damaged)
