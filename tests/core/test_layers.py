"""The import rules of the house, read from the syntax trees of all modules; each rule also meets its offender."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from jaxtyping import TypeCheckError

from cst_points.cloud import CloudPair

ROOT = Path(__file__).resolve().parents[2]
CORE, BACKENDS = "cst_core", ("cst_image", "cst_points")
OURS = (CORE, *BACKENDS, "benchmarks", "tests")
CLI = "cst_core.cli"
MAX_LINES = 250

# Who may import whom; a door may always import itself.
LAYERS = {CORE: (), "cst_image": (CORE,), "cst_points": (CORE,), "benchmarks": (CORE, *BACKENDS)}
# Libraries that stay at the edges, and where the edges are.
FILES = (
    *(f"cst_core.{m}" for m in ("formats.itk_field", "formats.itk_transform", "formats.nifti", "report.volume_file")),
    "cst_core.transforms_io",
    *(f"{b}.{m}" for b in BACKENDS for m in ("data", "formats", "prepare", "scan")),
)
EDGES = {
    "pykeops": ("cst_points.knn", "cst_points.tps"),
    "nibabel": (*FILES, "cst_image.registration.native_files"),
    "open3d": ("cst_points.formats.pcd",),
    "SimpleITK": (*FILES, "cst_image.registration.prealignment"),
}
# What `cst --help` does not wait for.
HEAVY = {
    *("torch", "torch_geometric", "numpy", "scipy", "skimage", "matplotlib", "numba", "pykeops", "tensorboard"),
    *("safetensors", "pydantic", "jaxtyping", "nibabel", "open3d", "SimpleITK"),
    *("jinja2", "markupsafe", "PIL"),
}


class Module(NamedTuple):
    """One source file: its dotted name (a package's is the package's) and its text."""

    name: str
    source: str

    @property
    def door(self) -> str:
        return self.name.split(".")[0]

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)


Rule = Callable[[Module], Iterator[str]]


def read_modules() -> list[Module]:
    modules = []
    for path in sorted(path for door in OURS for path in (ROOT / door).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if any(part.startswith(".") for part in parts):  # environments of other tools
            continue
        modules.append(Module(".".join(part for part in parts if part != "__init__"), path.read_text()))
    return modules


MODULES = read_modules()
PACKAGE_NAMES = {
    ".".join(path.parent.relative_to(ROOT).parts) for door in OURS for path in ROOT.glob(f"{door}/**/*.py")
}


def imports(module: Module, nodes: Iterator[ast.AST] | None = None) -> Iterator[str]:
    """Dotted names that a module imports, absolute; ``from a import b`` gives ``a.b``, as b may be a module."""
    for node in nodes or ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from .x import y`: one dot is the package itself, which for a package's __init__ is its own name
            above = node.level - (module.name in PACKAGE_NAMES)
            base = module.name.split(".")[: -above or None] if node.level else []
            yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: function bodies and ``if TYPE_CHECKING`` left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from at_import(child)


def layers(module: Module) -> Iterator[str]:
    """tests, benchmarks -> cst_image, cst_points -> cst_core."""
    allowed = {module.door, *LAYERS.get(module.door, OURS)}
    for name in imports(module):
        if name.split(".")[0] in set(OURS) - allowed:
            yield f"{module.name} imports {name}"


def edges(module: Module) -> Iterator[str]:
    """A library of `EDGES` is imported only by the modules named there."""
    if module.door not in (CORE, *BACKENDS):
        return
    for name in imports(module):
        library = name.split(".")[0]
        if library in EDGES and module.name not in EDGES[library]:
            yield f"{module.name} imports {library}"


def grid_sample(module: Module) -> Iterator[str]:
    """Normalised coordinates exist only inside cst_core/field.py."""
    if module.name == "cst_core.field" or module.door == "tests":
        return
    for node in ast.walk(module.tree):
        names = {getattr(node, key, None) for key in ("id", "attr", "name")}
        if names & {"grid_sample", "grid_sampler", "affine_grid"}:
            yield f"{module.name}, line {getattr(node, 'lineno', '?')}, samples a grid"


def no_utils(module: Module) -> Iterator[str]:
    """A module is named after its idea."""
    if {"utils", "util", "helpers", "misc", "common"} & set(module.name.split(".")):
        yield f"{module.name} is named after nothing"


def one_idea(module: Module) -> Iterator[str]:
    """A file past 250 lines holds two ideas; one of tests may hold many cases."""
    lines = len(module.source.splitlines())
    if lines > MAX_LINES and not module.name.startswith("tests."):
        yield f"{module.name} has {lines} lines, more than {MAX_LINES}"


def heavy_at_import(start: str, modules: Mapping[str, Module]) -> Iterator[str]:
    """Heavy libraries that importing ``start`` imports, through however many of our own modules."""
    seen, queue = {start}, [start]
    while queue:
        name = queue.pop()
        for imported in imports(modules[name], at_import(modules[name].tree)):
            if imported.split(".")[0] in HEAVY:
                yield f"{name} imports {imported}"
            parts = imported.split(".")
            # importing a.b.c runs a and a.b before it
            for package in {".".join(parts[: i + 1]) for i in range(len(parts))} & set(modules) - seen:
                seen.add(package)
                queue.append(package)


RULES: list[Rule] = [layers, edges, grid_sample, no_utils, one_idea]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Rule) -> None:
    assert {"cst_core.backend", "cst_points", "tests.core.test_layers"} <= {module.name for module in MODULES}
    assert [breach for module in MODULES for breach in rule(module)] == []


def test_command_line_starts_without_heavy_imports() -> None:
    modules = {module.name: module for module in MODULES}
    start = {**modules, "start": Module("start", f"import {CLI}")}
    assert CLI in modules
    assert list(heavy_at_import("start", start)) == []


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (layers, "cst_core.training", "import cst_points"),
        (layers, "cst_core.training", "def f():\n    from cst_image.backend import ImageBackend"),
        (layers, "cst_core.training", "import importlib\nimportlib.import_module('cst_points.knn')"),
        (layers, "cst_points.graph", "from cst_image import network"),
        (layers, "cst_image.graph", "from cst_points.knn import nearest"),
        (layers, "cst_points.graph", "import benchmarks.table"),
        (layers, "benchmarks.table", "from tests.conftest import shared"),
        (edges, "cst_core.field", "from pykeops.torch import LazyTensor"),
        (edges, "cst_points.data", "import pykeops"),
        (edges, "cst_points.knn", "import nibabel as nib"),
        (edges, "cst_core.cli", "def f():\n    import open3d"),
        (edges, "cst_core.field", "import SimpleITK as sitk"),
        (grid_sample, "cst_image.network", "import torch.nn.functional as F\nF.grid_sample(x, y)"),
        (grid_sample, "cst_points.foerstner", "from torch.nn.functional import grid_sample as sample"),
        (grid_sample, "benchmarks.table", "y = torch.nn.functional.affine_grid(x)"),
        (no_utils, "cst_core.utils", ""),
        (no_utils, "cst_points.utils.lines", ""),
        (one_idea, "cst_core.field", "x = 1\n" * (MAX_LINES + 1)),
    ],
)
def test_a_breach_is_seen(rule: Rule, name: str, source: str) -> None:
    assert len(list(rule(Module(name, source)))) == 1


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (
            layers,
            "cst_points.graph",
            "from cst_points.knn import nearest\nfrom cst_core import field\nfrom . import tps",
        ),
        (layers, "tests.points.test_graph", "import cst_points, cst_image, cst_core, benchmarks"),
        (edges, "cst_points.knn", "from pykeops.torch import LazyTensor"),
        (edges, "cst_core.transforms_io", "def f():\n    import nibabel"),
        (edges, "tests.core.test_field", "import SimpleITK"),
        (grid_sample, "cst_core.field", "from torch.nn.functional import grid_sample\ngrid_sample(x, y)"),
        (one_idea, "cst_core.field", "x = 1\n" * MAX_LINES),
    ],
)
def test_what_is_allowed_passes(rule: Rule, name: str, source: str) -> None:
    assert list(rule(Module(name, source))) == []


@pytest.mark.parametrize(
    ("source", "breaches"),
    [
        ("import torch", 1),
        ("try:\n    import numpy\nexcept ImportError:\n    pass", 1),
        ("class A:\n    import scipy.ndimage", 1),
        ("from cst_core import other", 1),
        ("from .other import f", 1),
        ("import typer, rich\ndef f():\n    import torch", 0),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", 0),
    ],
)
def test_heavy_imports_are_seen_through_our_own_modules(source: str, breaches: int) -> None:
    package, other = Module(CORE, ""), Module("cst_core.other", "from torch import nn")
    modules = {module.name: module for module in (package, other, Module(CLI, source))}
    assert len(list(heavy_at_import(CLI, modules))) == breaches


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("cst_points.knn", "from . import tps", "cst_points.tps"),
        ("cst_points.knn", "from .tps import f", "cst_points.tps.f"),
        ("cst_points.knn", "from .. import cst_image", "cst_image"),
        ("cst_points", "from .tps import f", "cst_points.tps.f"),
    ],
)
def test_relative_imports_are_resolved(name: str, source: str, expected: str) -> None:
    assert list(imports(Module(name, source))) == [expected]


def test_shapes_in_signatures_are_checked_while_tests_run() -> None:
    cloud, point = torch.zeros(5, 3), torch.ones(3)
    assert CloudPair(cloud, cloud, point, point).fixed is cloud
    with pytest.raises(TypeCheckError, match="moving"):
        CloudPair(cloud, torch.zeros(5, 2), point, point)
