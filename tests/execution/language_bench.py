"""Jobs over a tiny language model, and plug-ins that train it."""

from pathlib import Path

from harness import data, plugins
from harness.execution.jobs import Folders, Plugin, job_of
from harness.trial import Trial
from tests.workloads import tiny

METHOD = '''
"""A user's optimizer."""
from dataclasses import dataclass
from harness.registry import register

@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class Mine:
    lr: float = 0.01
    """Learning rate."""

    def family(self, role):
        return "{family}"

    def build(self, groups):
        import torch
        optimizer = torch.optim.SGD([p for g in groups for p in g.parameters], lr=self.lr)
{deed}
        return optimizer

    def flops_per_step(self, shapes):
        return 0.0
'''


class LanguageBench:
    """Makes jobs over one small text, and runs them."""

    def __init__(self, folder: Path):
        corpus = folder / "text.txt"
        corpus.write_text("\n\n".join(f"{i} {i * i} is a square" for i in range(4_000)), encoding="utf-8")
        self.data = {"path": str(corpus)}
        self.digest = data.load(self.data, folder / "data", None).digest
        self.folders = Folders(data=folder / "data", work=folder / "work", plugins=folder / "plugins")
        self.count = 0

    def job(self, name, plugin: plugins.Plugin | None = None, kinds=("optimizer",), **sections):
        config = tiny.raw(optimizer={"name": name, "lr": 0.01}, **sections)
        config["data"] = self.data
        named = ()
        if plugin is not None:
            plugins.write_copy(plugin, self.folders.plugins)
            named = (Plugin(name=plugin.name, digest=plugin.digest, kinds=kinds),)
        return job_of(Trial(workload="language_model", config=config, seed=0, data=self.digest), named)

    def run(self, executor, *jobs):
        """Records of these jobs, each run anew."""
        folders = Folders(**{**vars(self.folders), "work": self.folders.work / str(self.count)})
        self.count += 1
        return [record for _, record in executor.run(jobs, folders, lambda *_: None)]


def optimizer(folder: Path, deed: str = "pass", family: str = "adam", name: str = "mine") -> plugins.Plugin:
    """A plug-in whose optimizer is built with this deed."""
    lines = [f"        {line.removeprefix('        ')}" for line in deed.split("\n")]
    path = folder / f"{name}.py"
    path.write_text(METHOD.format(deed="\n".join(lines), family=family))
    return plugins.read(path)


def numbers(record):
    """What must not differ by a bit."""
    assert record.status == "completed", record.reason
    clocks = ("seconds_training", "tokens_per_second")
    return {k: v for k, v in record.metrics.items() if k not in clocks}, record.curves, record.numerics_class
