import pytest

from harness import registry
from harness.errors import PluginError, UnknownNameError
from harness.methods.construct import build, canonical
from tests.plugins import GOOD

pytestmark = pytest.mark.usefixtures("clean_registry")

def test_listing_imports_no_method():
    import subprocess
    import sys

    code = (
        "import sys; from harness import registry; [registry.summary(e) for e in registry.entries()]; "
        "assert 'torch' not in sys.modules; print(len(registry.entries('optimizer')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(out) >= 3


def test_a_plugin_is_named_by_its_file_and_built_with_checked_fields(plugin):
    registry.load_plugin(plugin())
    assert build("optimizer", {"name": "mine", "lr": 0.5}).beta == 0.9
    assert canonical("optimizer", {"name": "mine", "lr": 0.5, "beta": 0.9}) == {
        "name": "mine",
        "lr": 0.5,
    }
    assert registry.find("optimizer", "mine").origin.startswith("plug-in")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "mine", "lr": "fast"}, r"arms.x: optimizer 'mine', key 'lr'.*got 'fast'"),
        ({"name": "mine", "lr": float("nan")}, r"key 'lr'"),
        ({"name": "mine"}, r"key 'lr'"),
        (
            {"name": "mine", "lr": 1, "betta": 2},
            r"unknown key of optimizer 'mine' 'betta'. Did you mean 'beta'",
        ),
        ({"name": "mien", "lr": 1}, r"unknown optimizer 'mien'. Did you mean 'mine'"),
        ({"lr": 1}, r"give 'name'"),
    ],
)
def test_bad_fields_name_the_key_and_the_value(plugin, config, message):
    registry.load_plugin(plugin())
    with pytest.raises((PluginError, UnknownNameError), match=message):
        build("optimizer", config, "arms.x")


def test_a_syntax_error_is_named_with_its_line_and_the_others_still_work(plugin):
    bad = plugin(GOOD.replace("beta: float = 0.9", "beta: float = = 0.9"), "bad.py")
    registry.load_plugins([bad, plugin()])
    assert build("optimizer", {"name": "mine", "lr": 0.5}).lr == 0.5
    assert "bad.py:11: syntax error" in next(iter(registry.broken_plugins().values()))
    with pytest.raises(UnknownNameError, match=r"Plug-ins that did not load: .*bad\.py:11"):
        registry.find("optimizer", "bad")


def test_an_error_at_import_names_its_line(plugin):
    with pytest.raises(PluginError, match=r"mine\.py:12: ZeroDivisionError"):
        registry.load_plugin(plugin(GOOD + "1 / 0\n"))


def test_a_plugin_may_not_shadow_a_baseline(plugin):
    with pytest.raises(PluginError, match=r"already a baseline; rename"):
        registry.load_plugin(plugin(GOOD, "adamw.py"))
    assert registry.find("optimizer", "adamw").origin == "baseline"


def test_a_file_that_registers_nothing_says_how(plugin):
    with pytest.raises(PluginError, match="decorate a dataclass with @register"):
        registry.load_plugin(plugin("x = 1\n"))


def test_a_class_that_is_no_frozen_dataclass_is_refused(plugin):
    with pytest.raises(PluginError, match="frozen keyword-only dataclass"):
        registry.load_plugin(plugin(GOOD.replace("(frozen=True, kw_only=True)", "")))


def test_unknown_kind_suggests():
    with pytest.raises(UnknownNameError, match="Did you mean 'optimizer'"):
        registry.find("optimiser", "adamw")
