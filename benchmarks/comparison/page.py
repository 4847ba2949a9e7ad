"""Pictures of the rows, and one page that holds everything and opens without a network."""

from __future__ import annotations

import base64
import html
import importlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLOURS = {"tgrad": "#1f6feb", "torch": "#d1571b", "torch.compile": "#a33c8a", "numpy": "#6a737d",
           "jax": "#1a7f37", "cupy": "#8a6d00"}  # fmt: skip


def families(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows that have a time, by kernel family."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if any("share" in r for r in row["libraries"].values()):
            found.setdefault(row["family"], []).append(row)
    return found


def picture(family: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG: the share of the roofline that each library reaches in each row of a family."""
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    plt = importlib.import_module("matplotlib.pyplot")
    names = [n for n in COLOURS if any("share" in r["libraries"].get(n, {}) for r in rows)]
    height = 0.8 / len(names)
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.16 * len(rows) * (len(names) + 1.2)))
    for k, name in enumerate(names):
        places = [i + k * height for i in range(len(rows))]
        shares = [100 * r["libraries"].get(name, {}).get("share", 0) for r in rows]
        axes.barh(places, shares, height, label=name, color=COLOURS[name])
    middle = 0.4 - height / 2
    axes.set_yticks([i + middle for i in range(len(rows))], [label(r) for r in rows])
    axes.invert_yaxis()
    axes.set_xlabel("% of the roofline measured in this run (longer is better)")
    axes.set_title(family)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return out.getvalue()


def label(row: Mapping[str, Any]) -> str:
    way = " backward" if row["way"] == "backward" else ""
    return f"{row['case']}{way}, {row['size']}, {row['dtype']}"


def save_pictures(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for family, own in families(rows).items():
        path = folder / f"{family}.png"
        path.write_bytes(picture(family, own))
        found.append(path)
    return found


# ---- the page ------------------------------------------------------------------------------------

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem;
  color: #1f2328; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #d0d7de;
  white-space: nowrap; }
th { position: sticky; top: 0; background: #f6f8fa; cursor: pointer; user-select: none; }
th[aria-sort=ascending]::after { content: " \\25b2"; }
th[aria-sort=descending]::after { content: " \\25bc"; }
td.text, th.text { text-align: left; }
td.bad { color: #b3261e; font-weight: 600; } td.good { color: #1a7f37; }
input { font: inherit; padding: .3rem .6rem; width: 20rem; margin: .5rem 0 1rem; }
img { max-width: 100%; display: block; margin: 1rem 0; }
@media (prefers-color-scheme: dark) {
  body { color: #e6edf3; background: #0d1117; } th { background: #161b22; }
  th, td { border-color: #30363d; } td.bad { color: #ff7b72; } td.good { color: #56d364; }
  img { background: #fff; } }
"""

SCRIPT = """
const body = document.querySelector("tbody"), heads = [...document.querySelectorAll("th")];
function sortBy(k, down) {
  const value = row => { const c = row.cells[k];
    if (c.classList.contains("text")) return c.textContent;
    return c.dataset.v === "" ? NaN : +c.dataset.v; };
  const rows = [...body.rows].sort((a, b) => {
    const x = value(a), y = value(b);
    if (typeof x === "string") return down ? y.localeCompare(x) : x.localeCompare(y);
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
    return down ? y - x : x - y; });
  body.append(...rows);
  heads.forEach((h, i) => i === k
    ? h.setAttribute("aria-sort", down ? "descending" : "ascending")
    : h.removeAttribute("aria-sort"));
}
heads.forEach((h, k) => h.addEventListener("click",
  () => sortBy(k, h.getAttribute("aria-sort") === "ascending")));
const find = document.querySelector("input");
find.addEventListener("input", () => { const words = find.value.toLowerCase().split(/\\s+/);
  for (const row of body.rows)
    row.hidden = !words.every(w => row.textContent.toLowerCase().includes(w)); });
const asked = new URLSearchParams(location.hash.slice(1));
if (asked.has("sort")) { const k = heads.findIndex(h => h.textContent === asked.get("sort"));
  if (k >= 0) sortBy(k, asked.has("down")); }
if (asked.has("find")) { find.value = asked.get("find"); find.dispatchEvent(new Event("input")); }
"""


def page(
    rows: Sequence[Mapping[str, Any]], libraries: Sequence[str], about: Mapping[str, Any], text: str
) -> str:
    """The whole page: what was run, the table (a click on a head sorts), a picture a family."""
    peers = [n for n in libraries if n != "tgrad"]
    heads = ["kernel", "case", "size", "dtype", "us", "20%", "80%", "host us", "GB/s", "GFLOP/s",
             "roofline", "datasheet"]  # fmt: skip
    heads += [*(h for p in peers for h in (f"{p} us", f"x {p}")), "error"]
    head = "".join(
        f'<th{" class=text" if k < 4 else ""} scope="col">{html.escape(h)}</th>'
        for k, h in enumerate(heads)
    )
    body = "\n".join(f"<tr>{''.join(cells(row, peers))}</tr>" for row in rows)
    pictures = "\n".join(
        f'<h2>{html.escape(family)}</h2><img alt="{html.escape(family)}: share of the roofline" '
        f'src="data:image/png;base64,{base64.b64encode(picture(family, own)).decode()}">'
        for family, own in families(rows).items()
    )
    facts = "".join(f"<li>{html.escape(str(k))}: {html.escape(str(v))}</li>"
                    for k, v in about.items())  # fmt: skip
    data = json.dumps(rows).replace("</", "<\\/")  # no end of the script in the middle of a text
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>tgrad: kernels compared</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>
<body><h1>tgrad: kernels compared</h1><ul>{facts}</ul><pre>{html.escape(text)}</pre>
<p>Times are medians in microseconds; 20% and 80% are percentiles. x is a peer's time over tgrad's:
above 1, tgrad is faster. The roofline is the least time for a case's bytes and flops by the largest
copy and matrix product of this run, above 100% where data stayed in a cache; the datasheet, the
same by what the GPU's maker says. The error is against float64, in units of what is allowed.</p>
<input type="search" placeholder="words to look for" aria-label="words to look for">
<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table></div>
{pictures}
<script type="application/json" id="rows">{data}</script>
<script>{SCRIPT}</script></body></html>
"""


def cells(row: Mapping[str, Any], peers: Sequence[str]) -> list[str]:
    ours = row["libraries"].get("tgrad", {})
    way = " backward" if row["way"] == "backward" else ""
    us = ours.get("us")
    found = [text_cell(t) for t in (row["family"], row["case"] + way, row["size"], row["dtype"])]
    found += [cell(ours.get(k)) for k in ("us", "us_20", "us_80", "host_us")]
    found += [cell(row[k] / us / 1e3 if us and row[k] else None) for k in ("bytes", "flops")]
    found += [cell(ours.get(k), "{:.0%}") for k in ("share", "datasheet")]
    for peer in peers:
        r = row["libraries"].get(peer, {})
        ratio = r.get("ratio")
        mark = "" if ratio is None else "good" if ratio >= 1 else "bad" if ratio < 0.5 else ""
        found += [cell(r.get("us")), cell(ratio, "{:.2f}", mark)]
    units = ours.get("error_units")
    found.append(cell(units, "{:.2f}", "bad" if units is not None and units > 1 else ""))
    return found


def text_cell(text: str) -> str:
    return f'<td class="text">{html.escape(text)}</td>'


def cell(value: float | None, form: str = "", mark: str = "") -> str:
    form = form or ("{:,.0f}" if value and value >= 1000 else "{:.3g}")
    shown = "-" if value is None else form.format(value)
    return f'<td class="{mark}" data-v="{"" if value is None else value}">{shown}</td>'
