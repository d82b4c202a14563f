"""``harness doctor``: what this machine can do."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from harness.commands._options import Json, print_json

EXAMPLE = "harness doctor"
EXITS = ()


def command(
    as_json: Json = False,
    default_profile: Annotated[
        bool,
        typer.Option("--default-profile", help="Print only the profile that `make reproduce-all` takes here."),
    ] = False,
) -> None:
    """Say what this machine can run. How long each profile will take, what is missing, and how to get it."""
    from harness.commands import _examination
    from harness.commands._progress import working

    if default_profile:
        return typer.echo(_examination.default_profile())
    with working("measuring"):
        found = _examination.examine()
    return print_json(found) if as_json else typer.echo(as_text(found))


def as_text(found: dict[str, Any]) -> str:
    """An examination for a reader."""
    from harness.environment import cpu_slots
    from harness.numbers import duration

    measured = found["measured"]
    lines = [
        f"Python {found['python']}, torch {found['torch']}",
        f"CPU: {measured['cpu_model']}, {cpu_slots()} usable, capability {measured['cpu_capability']}",
    ]
    for threads, figures in measured["cpu"].items():
        lines.append(
            f"  {threads} thread{'s' if threads != '1' else ''}: {figures['fp32_gflops']:.0f} GFLOP/s fp32, "
            f"{figures['bf16_gflops']:.0f} bf16, {figures['training_tokens_per_second']:.0f} tokens/s training d 64"
        )
    for gpu in measured["cuda"]:
        lines.append(f"GPU: {gpu.get('name')}, {gpu['memory_free_gib']} GiB free, "
                     f"{gpu['bf16_gflops'] / 1e3:.0f} TFLOP/s bf16")  # fmt: skip
    lines.append(f"memory {measured['memory_free_gib']} of {measured['memory_gib']} GiB free, "
                 f"disk {measured['disk_free_gib']} GiB free")  # fmt: skip
    lines.append("\nsuite                  profile  device  trials    estimated      budget")
    for p in found["profiles"]:
        minutes = p["estimated_minutes"]
        time = f"no {p['device']} here" if minutes is None else duration(60 * minutes)
        budget = duration(60 * p["budget_minutes"]) if p["budget_minutes"] else "-"
        trials = f"{p['trials']}+{p['up_to_more']}" if p["up_to_more"] else str(p["trials"])
        lines.append(f"{p['suite']:<22} {p['profile']:<8} {p['device']:<7} {trials:<9} {time:<14} {budget}")
    lines.append(f"\ndefault profile of `make reproduce-all`: {found['default_profile']}")
    for m in found["missing"]:
        lines.append(f"missing: {m['what']} (for {m['for']}): {m['get it']}")
    return "\n".join(lines)
