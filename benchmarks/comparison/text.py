"""The rows as an aligned table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comparison.rows import geometric_mean


def table(rows: Sequence[Mapping[str, Any]], libraries: Sequence[str]) -> str:
    """A line a row: our times, rates and share of the roofline, each peer's time over ours."""
    peers = [n for n in libraries if n != "tgrad"]
    head = ["case", "size", "dtype", "us", "20%", "80%", "host us", "GB/s", "GFLOP/s", "roofline",
            "datasheet"]  # fmt: skip
    head += [*(f"{p} us" if k else f"x {p}" for p in peers for k in (1, 0)), ""]
    lines = [head, *(cells(row, peers) for row in rows)]
    sizes = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = []
    for line in lines:
        parts = [t.ljust(n) if k < 3 else t.rjust(n)
                 for k, (t, n) in enumerate(zip(line[:-1], sizes, strict=False))]  # fmt: skip
        texts.append("  ".join([*parts, line[-1]]).rstrip())
    texts.insert(1, "-" * len(texts[0]))
    return "\n".join(texts)


def cells(row: Mapping[str, Any], peers: Sequence[str]) -> list[str]:
    way = " backward" if row["way"] == "backward" else ""
    ours = row["libraries"].get("tgrad", {})
    found = [row["case"] + way, row["size"], row["dtype"]]
    if "us" in ours:
        us = ours["us"]
        found += [number(ours[k]) for k in ("us", "us_20", "us_80", "host_us")]
        found += [number(row[k] / us / 1e3) or "-" for k in ("bytes", "flops")]
        found += [f"{ours[k]:.0%}" if k in ours else "-" for k in ("share", "datasheet")]
    else:
        found += ["-"] * 8
    for peer in peers:
        r = row["libraries"].get(peer, {})
        found.append(number(r["us"]) if "us" in r else "-")
        found.append(f"{r['ratio']:.2f}" if "ratio" in r else "-")
    return [*found, notes(row)]


def number(x: float) -> str:
    """Three digits that count."""
    if x == 0:
        return ""
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def notes(row: Mapping[str, Any]) -> str:
    """What is wrong: errors of tgrad's, and whose results are off."""
    found = []
    for name, r in row["libraries"].items():
        if "error" in r:
            found.append(f"{name}: {r['error'].splitlines()[0][:80]}")
        elif r.get("error_units", 0) > 1:
            found.append(f"{name} is WRONG: {r['error_units']:.1f} x what is allowed")
        elif name == "tgrad" and "absent" in r:
            found.append(r["absent"])
    return "; ".join(found)


def digest(rows: Sequence[Mapping[str, Any]], libraries: Sequence[str]) -> str:
    """A Markdown table with a line a case and direction: sizes, the share of the roofline at the
    largest, and each peer's time over ours as geometric mean, least and most."""
    peers = [n for n in libraries if n != "tgrad"]
    cases: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        way = " backward" if row["way"] == "backward" else ""
        cases.setdefault(row["case"] + way, []).append(row)
    lines = [" | ".join(["case", "sizes", "roofline", *(f"{p} / tgrad" for p in peers)])]
    lines.append(" | ".join(["---", "--:", "--:", *["--:"] * len(peers)]))
    for name, own in cases.items():
        largest = max(own, key=lambda row: row["bytes"] + row["flops"])["libraries"]["tgrad"]
        share = f"{largest['share']:.0%}" if "share" in largest else ""
        found = [ratios(own, peer) for peer in peers]
        lines.append(" | ".join([name, str(len(own)), share, *found]))
    return "\n".join(f"| {line} |" for line in lines)


def ratios(rows: Sequence[Mapping[str, Any]], peer: str) -> str:
    """Their geometric mean, and where they lie."""
    mean = geometric_mean(rows, peer)
    if mean is None:
        return ""
    found = [row["libraries"][peer]["ratio"] for row in rows
             if "ratio" in row["libraries"].get(peer, {})]  # fmt: skip
    ends = f" ({min(found):.2f} to {max(found):.2f})" if len(found) > 1 else ""
    return f"{mean:.2f}{ends}"


def summary(rows: Sequence[Mapping[str, Any]], libraries: Sequence[str]) -> str:
    """Geometric means of the ratios, and the five worst against each peer."""
    lines = []
    for peer in libraries:
        mean = geometric_mean(rows, peer)
        if peer == "tgrad" or mean is None:
            continue
        rated = [(row["libraries"][peer]["ratio"], row) for row in rows
                 if "ratio" in row["libraries"].get(peer, {})]  # fmt: skip
        rated.sort(key=lambda pair: pair[0])
        lines.append(f"{peer}: {peer}'s time / tgrad's, geometric mean of {len(rated)}: {mean:.2f}")
        lines += [f"    {ratio:5.2f}  {row['case']} {row['way']}, {row['size']}, {row['dtype']}"
                  for ratio, row in rated[:5]]  # fmt: skip
    return "\n".join(lines)
