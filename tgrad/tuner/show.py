"""What the tuner prints: outcomes, candidates that were not run, and the contents of tables."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from tgrad.kernels.gate.report import table
from tgrad.runtime.tuned import Choice
from tgrad.tuner.arms import Arm, Lineup, predicted, roofline
from tgrad.tuner.peaks import Peak
from tgrad.tuner.session import Outcome
from tgrad.tuner.table import Place, Trial


def config_text(config: dict[str, Any] | None) -> str:
    """The fields that say something: those that are off or 1 by default are left out."""
    if config is None:
        return "the kernel's rule"
    plain = {"split_k": 1, "group_m": 8, "subtiles": 1}
    return " ".join(
        k if v is True else f"{k}={v}" for k, v in config.items()
        if v is not False and plain.get(k) != v
    )  # fmt: skip


def case_text(case: Sequence[Any]) -> str:
    kernel, kind, arch, sizes, layout = case
    where = f"sm_{arch}" if arch else ""
    return " ".join(filter(None, (kernel, kind, layout, "x".join(map(str, sizes)), where)))


def gain(us: float, rule_us: float) -> str:
    return f"{rule_us / us:.2f}x" if us > 0 else "-"


def outcomes(found: Sequence[Outcome]) -> str:
    lines = [["case", "config", "us", "rule us", "gain", "raced", "discarded", "state"]]
    for o in found:
        c = o.choice
        numbers = ["-", "-", "-"] if c is None else [
            f"{c.us:.2f}", f"{c.rule_us:.2f}", gain(c.us, c.rule_us)
        ]  # fmt: skip
        lines.append(
            [
                case_text(o.task.case), config_text(c.config) if c else "-", *numbers,
                str(o.raced), str(sum(n for _, n in o.discarded)), o.state,
            ]
        )  # fmt: skip
    return table(lines)


def candidates(line: Lineup, compiled: Sequence[Arm], peak: Peak) -> str:
    """The arms of a dry run that survive, ranked, and how many do not and why."""
    ranked, refused = [], {}
    for arm in compiled:
        why = arm.refused(line.arch)
        if why and not arm.is_rule:
            refused[why] = refused.get(why, 0) + 1
        else:
            ranked.append((predicted(line, arm, peak), arm))
    ranked.sort(key=lambda pair: pair[0])
    lines = [["rank", "config", "warps", "registers", "shared", "occupancy", "predicted us"]]
    for k, (us, arm) in enumerate(ranked, 1):
        worst = arm.worst
        text = arm.text if arm.known is None else config_text(arm.known._asdict())
        text += " (the rule)" if arm.is_rule else ""
        warps = str(max(n.num_warps for n in arm.launches))
        lines.append(
            [
                str(k), text, warps, str(worst.registers), str(worst.shared),
                f"{arm.occupancy(line.arch):.0%}", f"{us:.1f}",
            ]
        )  # fmt: skip
    least = roofline(line.cost, line.task.case.kind, peak)
    head = (
        f"{case_text(line.task.case)}: {line.task.call.about}\n"
        f"{line.cost.bytes / 1e6:.1f} MB, {line.cost.flops / 1e9:.1f} GFLOP: at least "
        f"{least:.1f} us on a {peak.name}; {len(ranked)} of {len(line.arms)} candidates survive, "
        f"{len(line.arms) - len(compiled)} were not compiled in time"
    )
    why = [f"    {n} discarded: {reason}" for reason, n in sorted(refused.items())]
    return "\n".join([head, *why, table(lines)])


def choices(rows: Sequence[Choice]) -> str:
    lines = [["device", "triton", "case", "config", "us", "rule us", "gain", "chosen"]]
    for c in rows:
        when = time.strftime("%Y-%m-%d", time.localtime(c.chosen))
        lines.append(
            [
                c.device, c.triton, case_text(c.case), config_text(c.config), f"{c.us:.2f}",
                f"{c.rule_us:.2f}", gain(c.us, c.rule_us), when,
            ]
        )  # fmt: skip
    return table(lines)


def trials(place: Place, rows: Sequence[Trial]) -> str:
    """Every config that was tried for a case."""
    lines = [["state", "rounds", "us", "20%", "80%", "registers", "shared", "config"]]
    for t in rows:
        numbers = [f"{v:.2f}" if v is not None else "-" for v in (t.us, t.low, t.high)]
        facts = [str(v) if v is not None else "-" for v in (t.registers, t.shared)]
        text = config_text(t.config) + (f" ({t.note})" if t.note else "")
        lines.append([t.state, str(t.rung), *numbers, *facts, text])
    return f"{case_text(place.case)} on {place.device}\n{table(lines)}"


def comparison(old: Sequence[Choice], new: Sequence[Choice]) -> str:
    """Case by case, and the geometric mean of what both have timed."""
    before, after = ({c.key(): c for c in rows} for rows in (old, new))
    lines = [["case", "old us", "new us", "new/old", "old config", "new config"]]
    ratios = []
    for key in sorted({*before, *after}):
        a, b = before.get(key), after.get(key)
        ratio = "-"
        if a is not None and b is not None and a.us > 0:
            ratios.append(b.us / a.us)
            ratio = f"{ratios[-1]:.2f}"
        times = [f"{c.us:.2f}" if c else "-" for c in (a, b)]
        texts = [config_text(c.config) if c else "-" for c in (a, b)]
        case: Any = json.loads(key[5])
        name = f"{key[0]} {case_text((*key[2:4], int(key[4]), case, key[6]))}"
        lines.append([name, *times, ratio, *texts])
    if not ratios:
        return table(lines) + "\nno case is in both"
    mean = 1.0
    for r in ratios:
        mean *= r ** (1 / len(ratios))
    return f"{table(lines)}\n{len(ratios)} cases in both, new/old {mean:.3f} (geometric mean)"
