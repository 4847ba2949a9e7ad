"""Layers: imports go down only, heavy packages are not loaded, no file is too long."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "tgrad"

# The layer of each module or package of tgrad, by its longest matching prefix.
LAYERS = {
    "tgrad.aliases": 0, "tgrad.dtypes": 0, "tgrad.device": 0, "tgrad.layout": 0,
    "tgrad.return_types": 0, "tgrad.runtime": 0, "tgrad.version": 0,
    "tgrad.autograd": 1,
    "tgrad.registry": 2, "tgrad.execute": 2, "tgrad.dispatch": 2, "tgrad.expression": 2,
    "tgrad.interception": 2, "tgrad.operands": 2, "tgrad.pointwise": 2, "tgrad.replay": 2,
    "tgrad.short": 2, "tgrad.update": 2,
    "tgrad.kernels": 3,
    "tgrad.ops": 4,
    "tgrad.tensor": 5, "tgrad.methods": 5, "tgrad.creation": 5, "tgrad.random": 5,
    "tgrad.conversion": 5, "tgrad.native": 5, "tgrad.legacy": 5, "tgrad.printing": 5,
    "tgrad.nn": 6, "tgrad.optim": 6, "tgrad.utils": 6, "tgrad.datasets": 6, "tgrad.backends": 6,
    "tgrad.amp": 6, "tgrad.vision": 6, "tgrad.accelerator": 6, "tgrad.multiprocessing": 6,
    "tgrad.types": 6,
    "tgrad.library": 6, "tgrad.testing": 6, "tgrad.serialization": 6,
    "tgrad.cpu": 6, "tgrad.cuda": 6, "tgrad.linalg": 6, "tgrad.special": 6,
    "tgrad": 7,
    "tgrad.cli": 8, "tgrad.commands": 8, "tgrad.examples": 8,
    "tgrad.kernels.samples": 8, "tgrad.kernels.gate": 8,
    "tgrad.einops": 8, "tgrad.foreach": 8,
    "tgrad.kernels.__main__": 8, "tgrad.profiler": 8, "tgrad.tuner": 8,
}  # fmt: skip

# Imports inside functions that go up: (file, module) and why.
UPWARD = {
    ("tgrad/autograd/profiler.py", "tgrad.profiler"): "an older path of tgrad.profiler",
    ("tgrad/autograd/functional.py", "tgrad.ops.shape"): "jacobians are stacked by an op",
    ("tgrad/runtime/gpu.py", "tgrad.kernels.cuda.copy"): "arrays with gaps are packed by a kernel",
}

HEAVY = ("torch", "triton", "cuda", "scipy", "matplotlib", "tqdm", "PIL", "pytest", "hypothesis",
         "safetensors", "einops")  # fmt: skip


def sources() -> list[Path]:
    return sorted(p for p in ROOT.glob("tgrad/**/*.py") if "kernels" not in p.parts) + sorted(
        ROOT.glob("kernels/**/*.py")
    )


def module_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "kernels":
        parts.insert(0, "tgrad")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> int:
    """Raises KeyError for a module of tgrad that LAYERS does not know."""
    if module == "tgrad" or "." not in module:
        return LAYERS[module]
    while module != "tgrad":
        if module in LAYERS:
            return LAYERS[module]
        module = module.rpartition(".")[0]
    raise KeyError(module)


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module of tgrad, whether inside a function) of every import that runs."""
    package = module_of(path)
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, local: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    visit(other, local)
            elif isinstance(child, ast.Import):
                found.extend((a.name, local) for a in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{package}: relative import"
                found.extend((target(child.module or "", a.name), local) for a in child.names)
            else:
                inside = isinstance(child, (ast.FunctionDef, ast.Lambda, ast.AsyncFunctionDef))
                visit(child, local or inside)

    visit(ast.parse(path.read_text()), False)
    return [(m, local) for m, local in found if m.split(".")[0] == "tgrad"]


def target(module: str, name: str) -> str:
    """``module.name`` where that is a module or package, else ``module``."""
    path = ROOT / (module.replace(".", "/") + "/" + name)
    return f"{module}.{name}" if path.is_dir() or path.with_suffix(".py").exists() else module


def test_every_module_has_a_layer():
    unknown = []
    for path in sources():
        try:
            layer(module_of(path))
        except KeyError:
            unknown.append(module_of(path))
    assert not unknown


def test_imports_go_down_only():
    wrong = []
    for path in sources():
        module = module_of(path)
        for imported, local in imports(path):
            where = (str(path.relative_to(ROOT)), imported)
            if layer(imported) > layer(module) and not (local and where in UPWARD):
                place = " in a function" if local else ""
                wrong.append(
                    f"{where[0]} (layer {layer(module)}) imports {imported} "
                    f"(layer {layer(imported)}){place}"
                )
    assert not wrong, "\n".join(wrong)


def test_no_listed_exception_is_stale():
    made = {(str(p.relative_to(ROOT)), m) for p in sources() for m, local in imports(p) if local}
    assert not set(UPWARD) - made


def test_cpu_kernels_need_nothing_of_a_gpu():
    for path in ROOT.glob("kernels/cpu/*.py"):
        assert not [m for m, _ in imports(path) if m.startswith("tgrad.kernels.cuda")], path


def test_import_tgrad_loads_nothing_heavy():
    code = f"import sys, tgrad; print([m for m in {HEAVY} if m in sys.modules])"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert made.stdout.strip() == "[]", made.stdout + made.stderr


@pytest.mark.parametrize("name", ["torch", "pytest"])
def test_the_library_never_imports(name: str):
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert name not in [n.split(".")[0] for n in names], path


def test_no_file_is_longer_than_500_lines():
    folders = ("tgrad", "kernels", "tests", "benchmarks")
    files = [p for f in folders for p in (ROOT / f).rglob("*.py") if "tgrad/kernels" not in str(p)]
    long = {
        str(p.relative_to(ROOT)): n for p in files if (n := len(p.read_text().split("\n"))) > 501
    }
    assert not long
