"""One registration from files to a folder of results: what is the same for all backends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cst_core.device_memory import memory_advice
from cst_core.environment import version
from cst_core.errors import ConfigError, CstError, DataError
from cst_core.eventlog import finite
from cst_core.models import Model
from cst_core.plugin import BackendPlugin, FileRegistration, RegisterRequest
from cst_core.result_folder import RESULT, check_free, remove_stale, staged

FORMAT = "cst-registration-1"
REPORT = "report.html"
_REPORT_PACKAGE = "cst_core.report"
INPUTS = ("fixed", "moving", "fixed_mask", "moving_mask", "fixed_labels", "moving_labels", "landmarks")
_BLOCK = 2**20


def register_files_of(plugin: BackendPlugin[Any]) -> FileRegistration:
    """The plugin as one that registers files.

    Raises:
        ConfigError: it cannot.
    """
    if not callable(getattr(plugin, "register_files", None)):
        raise ConfigError(f"--backend {plugin.name}: cannot register files; it serves cst train and cst evaluate only")
    return plugin  # type: ignore[return-value]


def check_request(request: RegisterRequest, out: Path) -> None:
    """Before anything is computed: inputs are files and are not in the way of the results.

    Raises:
        DataError: an input is no file, or lies where the results go.
    """
    target = out.resolve()
    for name in INPUTS:
        path: Path | None = getattr(request, name)
        if path is None:
            continue
        if not path.is_file():
            raise DataError(f"{path}: no such file (given as {name.replace('_', ' ')}); check the path")
        found = path.resolve()
        if target == found or target in found.parents:
            raise DataError(f"{path}: lies in --out {out}, which would be replaced; name another folder")
    if request.fixed_labels is not None and request.moving_labels is None:
        raise DataError(f"{request.fixed_labels}: labels of the fixed scan alone measure nothing; give both, or none")


def model_identity(model: Model, reference: str) -> dict[str, Any]:
    """The model's part of `identity`: its weights are read for it."""
    sha256 = None if model.file is None else _sha256(model.file)
    return {"reference": reference, "description": model.description, "sha256": sha256}


def identity(
    model: Model, reference: str, request: RegisterRequest, backend: str, of_model: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a result is a function of: backend, model, options and the contents of all inputs; part of register.json.

    ``of_model``: `model_identity`, where it is known.
    """
    return {
        "backend": backend,
        "model": dict(of_model or model_identity(model, reference)),
        "options": {"affine": request.affine, "set": dict(model.settings), "device": request.device},
        "inputs": {name: _named(getattr(request, name)) for name in INPUTS},
    }


def register(
    plugin: BackendPlugin[Any],
    model: Model,
    request: RegisterRequest,
    known: Mapping[str, Any],
    out: Path,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Register, and leave a complete folder of results, or none.

    Args:
        plugin: one that `register_files_of` accepts.
        model: loaded on ``request.device``.
        request: checked (`check_request`).
        known: `identity` of it.
        out: the folder.
        overwrite: whether an earlier result may be replaced.

    Returns:
        What register.json holds.

    Raises:
        CstError: the files cannot be used, or ``out`` is taken.
    """
    check_free(out, overwrite)
    if out.parent.is_dir():
        remove_stale(out.parent, out.name)
    return registered(plugin, model, request, known, out)


def registered(
    plugin: BackendPlugin[Any], model: Model, request: RegisterRequest, known: Mapping[str, Any], out: Path
) -> dict[str, Any]:
    """`register` where ``out`` is known to be free, or to be replaced: the folder that it lies in is not looked at."""
    with staged(out) as folder:
        with memory_advice(plugin, f"registering {request.moving.name} to {request.fixed.name}"):
            part = register_files_of(plugin).register_files(model, request, folder)
        result = finite({"format": FORMAT, "cst": version(), **known, **part})
        _write(folder / RESULT, result)
        return _reported(folder, result)


def read_result(folder: Path) -> dict[str, Any]:
    """The register.json of a folder of results.

    Raises:
        DataError: there is none, or it is not ours.
    """
    path = folder / RESULT
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); pass a folder that cst register wrote") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: is damaged; register again") from None
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise DataError(f"{path}: must say format {FORMAT!r}; pass a folder that cst register wrote")
    return result


def same_request(result: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether a result was made from this very model, these options and inputs, wherever the files lay."""
    return _essence(result) == _essence(known)


def request_from(paths: Mapping[str, Path | None], affine: bool, device: str) -> RegisterRequest:
    """A request from the paths by their names in `INPUTS`."""
    assert set(INPUTS) < {item.name for item in fields(RegisterRequest)}
    fixed, moving = paths["fixed"], paths["moving"]
    assert fixed is not None
    assert moving is not None
    others = {name: paths.get(name) for name in INPUTS[2:]}
    return RegisterRequest(fixed, moving, **others, affine=affine, device=device)


def _essence(known: Mapping[str, Any]) -> Any:
    try:
        inputs = {name: one and one["sha256"] for name, one in known["inputs"].items()}
        model = known["model"]
        # random features have no file: their name says all
        named = model["sha256"] or model["reference"]
        return json.dumps([known["backend"], named, known["options"], inputs], sort_keys=True)
    except (KeyError, TypeError):
        return None


def _named(path: Path | None) -> dict[str, str] | None:
    return None if path is None else {"path": str(path.absolute()), "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _write(path: Path, result: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _reported(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Draw the report; a result without one is still a result."""
    if find_spec(_REPORT_PACKAGE) is None:
        return result
    try:
        import_module(_REPORT_PACKAGE).write_registration_report(folder, folder / REPORT)
        result = {**result, "files": {**result["files"], "report": REPORT}}
    except CstError as error:
        result = {**result, "notes": [*result["notes"], f"no report: {error}"]}
    _write(folder / RESULT, result)
    return result
