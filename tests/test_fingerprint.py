"""What makes a record stale: edits of what a number rests on, all of them; and of nothing else."""

import importlib
import json
import shutil
from pathlib import Path

import pytest

import baselines
import harness
from harness import distributions, registry
from harness import fingerprint as module
from harness.fingerprint import EXEMPT, changed_modules, source_digest, trial_fingerprint
from harness.trial import Trial

PACKAGES = {"harness": Path(harness.__file__).parent, "baselines": Path(next(iter(baselines.__path__)))}


def trial(optimizer: str) -> Trial:
    return Trial(
        workload="language_model", seed=0,
        config={
            "model": {"width": 16, "depth": 1}, "training": {"steps": 2},
            "optimizer": {"name": optimizer, "lr": 0.01},
        },
    )  # fmt: skip


TRIALS = {name: trial(name) for name in ("adamw", "muon")}


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the package that fingerprints are taken of; edits of it touch nobody else."""
    for top, folder in PACKAGES.items():
        shutil.copytree(folder, tmp_path / top, ignore=shutil.ignore_patterns("__pycache__", "*.xz"))
    monkeypatch.setattr(module, "_package_folder", lambda top: tmp_path / top)
    module._trial_fingerprint.cache_clear()
    yield tmp_path
    module._trial_fingerprint.cache_clear()


def edit(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    text = path.read_text()
    if old:
        assert old in text, f"{file} has no {old!r}"
        text = text.replace(old, new, 1)
    else:
        text += new
    path.write_text(text)


def stale_after(root: Path, file: str, old: str, new: str) -> dict[str, list[str]]:
    """Optimizer -> modules that the edit changes in the fingerprint of its trial."""
    before = {name: trial_fingerprint(t) for name, t in TRIALS.items()}
    edit(root, file, old, new)
    module._trial_fingerprint.cache_clear()
    return {name: changed_modules(before[name], trial_fingerprint(t)) for name, t in TRIALS.items()}


FIELD = "    x: int = 0\n"
MORE = "\nOTHER = 1\n"
RECORD, COST = "    resumed: int = 0\n", "    parameters: int = 0\n"
HARMLESS = {
    "a protocol of another kind": ("harness/methods/rank.py", "", "\n\nclass Other: ...\n"),
    "an error class": ("harness/errors.py", "", '\n\nclass OtherError(HarnessError):\n    """Other."""\n'),
    "a field of Record": ("harness/records/record.py", RECORD, RECORD + FIELD),
    "a kind of method": ("harness/contracts/rank.py", "", MORE),
    "a field of Cost": ("harness/workload.py", COST, COST + FIELD),
    "a field of Context": ("harness/workload.py", "    on_progress:", "    other: int = 0\n    on_progress:"),
    "FLOPs of another model": ("harness/models/__init__.py", "", "OTHER = 1\n"),
    "a line in data/__init__": ("harness/data/__init__.py", "", MORE),
    "a reader of another format": ("harness/data/readers.py", "", MORE),
    "a metric's label": ("harness/workloads/language_model.py", "METRICS = {", "METRICS = {**{}, "),
    "a probe": ("harness/probes/spectra.py", "", MORE),
    "the registry": ("harness/registry.py", "", MORE),
    "the name of an identity": ("harness/trial.py", "", MORE),
    "provenance": ("harness/environment.py", "", MORE),
    "a method nobody named": ("baselines/optimizers/sgd.py", "", MORE),
    "another workload": ("harness/workloads/__init__.py", "", "OTHER = 1\n"),
    "a comment": ("harness/training.py", "import math\n", "import math  # why\n"),
    "a docstring": ("harness/training.py", '"""The one training loop', '"""One training loop'),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_a_harmless_addition_makes_no_record_stale(copied, what):
    assert stale_after(copied, *HARMLESS[what]) == {"adamw": [], "muon": []}


BOTH = ("adamw", "muon")
HARMFUL = {
    "a constant in the training loop": (
        "harness/training.py", "FINAL_SHARE = 0.1", "FINAL_SHARE = 0.2", "harness.training", BOTH
    ),
    "the switches for determinism": (
        "harness/determinism.py", '"highest"', '"high"', "harness.determinism", BOTH
    ),
    "a method's helper": (
        "baselines/optimizers/_newton_schulz.py", "", MORE, "baselines.optimizers._newton_schulz",
        ("muon",),
    ),
    "the random streams": ("harness/streams.py", "[:16]", "[:15]", "harness.streams", BOTH),
    "how a method is built": ("harness/methods/construct.py", "", MORE, "harness.methods.construct", BOTH),
    "an operation of the model": ("harness/models/operations.py", "", MORE, "harness.models.operations", BOTH),
    "how tokens are read": ("harness/data/corpus.py", "", MORE, "harness.data.corpus", BOTH),
    "the default norm": ("baselines/norms/rmsnorm.py", "1e-6", "1e-1", "baselines.norms.rmsnorm", BOTH),
}  # fmt: skip


@pytest.mark.parametrize("what", HARMFUL)
def test_an_edit_of_what_a_number_rests_on_stales_exactly_what_reaches_it(copied, what):
    *change, name, reached = HARMFUL[what]
    found = stale_after(copied, *change)
    assert found == {optimizer: [name] if optimizer in reached else [] for optimizer in TRIALS}


def test_the_list_of_exemptions_is_short_names_real_modules_and_says_why():
    assert len(EXEMPT) <= 8
    for name, why in EXEMPT.items():
        parts = name.split(".")[1:]
        path = PACKAGES["harness"].joinpath(*parts)
        assert path.with_suffix(".py").is_file() or path.is_dir(), name
        assert len(why) > 10


def test_an_exempt_module_is_neither_in_a_fingerprint_nor_followed():
    upper = ("analysis", "commands", "execution", "planning", "records", "report")
    for t in TRIALS.values():
        reached = set(trial_fingerprint(t))
        assert not {m for m in reached if module._exempt(m) or m.split(".")[1] in upper}


def test_a_declaration_for_readers_is_not_code():
    assert source_digest("METRICS = {'a': 1}\nX = 1\n") == source_digest("METRICS = {'a': 2}\nX = 1\n")
    assert source_digest("OTHER = {'a': 1}\n") != source_digest("OTHER = {'a': 2}\n")


# --- code that a user's method brings -----------------------------------------------------------------------

METHOD = """
from dataclasses import dataclass
from harness.registry import register
{imports}

@register("rank", name="far_rank")
@dataclass(frozen=True, kw_only=True)
class FarRank:
    scale: float = 1.0
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes a distribution of one package importable, as pip leaves it."""

    def caches():
        importlib.invalidate_caches()
        distributions._owners.cache_clear()
        registry._baselines.cache_clear()
        module._trial_fingerprint.cache_clear()

    def install(name: str, text: str, editable: bool = False) -> Path:
        site = tmp_path / "site"
        package, about = site / name, site / f"{name}-1.2.dist-info"
        package.mkdir(parents=True)
        about.mkdir()
        (package / "__init__.py").write_text("from . import parts\n")
        (package / "parts.py").write_text("SIZE = 1\n")
        (package / "method.py").write_text(text)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (about / "top_level.txt").write_text(f"{name}\n")
        (about / "entry_points.txt").write_text(f"[harness.methods]\nrank.far_rank = {name}.method\n")
        (about / "direct_url.json").write_text(json.dumps({"dir_info": {"editable": editable}}))
        monkeypatch.syspath_prepend(str(site))
        caches()
        return package

    yield install
    monkeypatch.undo()
    caches()


def far() -> dict[str, str]:
    module._trial_fingerprint.cache_clear()
    return dict(module._trial_fingerprint("language_model", (("rank", "far_rank"),)))


def test_a_method_from_an_installed_package_enters_by_distribution_and_version(installed):
    package = installed("far_away", METHOD.format(imports=""))
    assert far()["distribution far_away"] == "1.2"
    (package.parent / "far_away-1.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: far_away\nVersion: 1.3\n"
    )
    importlib.invalidate_caches()
    assert far()["distribution far_away"] == "1.3"


def test_one_from_an_editable_package_enters_by_the_sources_that_it_reaches(installed):
    package = installed("far_away", METHOD.format(imports="from far_away import parts"), editable=True)
    before = far()
    assert {"far_away", "far_away.method", "far_away.parts"} <= set(before)
    assert "distribution far_away" not in before
    (package / "parts.py").write_text("SIZE = 22\n")
    assert changed_modules(before, far()) == ["far_away.parts"]


def test_what_a_plugin_imports_from_installed_packages_enters_too(installed, tmp_path, clean_registry):
    installed("far_away", METHOD.format(imports=""))
    plugin = tmp_path / "mine.py"
    text = METHOD.format(imports="import json, torch\nfrom far_away import parts")
    plugin.write_text(text.replace("far_rank", "r"))
    registry.load_plugin(plugin)
    module._trial_fingerprint.cache_clear()
    found = module._trial_fingerprint("language_model", (("rank", "r"),))
    assert found["distribution far_away"] == "1.2" and "mine.py" in found
    # Neither the standard library nor torch, which the numerics class names.
    assert [k for k in found if k.startswith("distribution")] == ["distribution far_away"]


def test_a_plugin_edited_after_it_was_imported_keeps_the_digest_of_what_was_imported(tmp_path, clean_registry):
    (tmp_path / "beside.py").write_text("SIZE = 1\n")
    plugin = tmp_path / "mine.py"
    plugin.write_text(METHOD.format(imports="import beside").replace("far_rank", "r"))
    registry.load_plugin(plugin)
    module._trial_fingerprint.cache_clear()
    before = dict(module._trial_fingerprint("language_model", (("rank", "r"),)))
    for name in ("mine.py", "beside.py"):
        (tmp_path / name).write_text((tmp_path / name).read_text() + "MORE = 1\n")
    module._trial_fingerprint.cache_clear()
    assert module._trial_fingerprint("language_model", (("rank", "r"),)) == before
    assert {"mine.py", "beside"} <= set(before)
