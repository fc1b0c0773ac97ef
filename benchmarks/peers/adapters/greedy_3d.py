"""PICSL Greedy: affine, then its greedy diffeomorphic registration."""

from __future__ import annotations

from typing import Any

import SimpleITK
from job import Job, Registered, from_lps, itk_vectors, serve
from picsl_greedy import Greedy3D  # pyright: ignore[reportMissingImports]

_SECOND = 0.7071 / 1.732  # the default's ratio of the two deviations


def load(job: Job) -> dict[str, Any]:
    """The scans, and masks where there are some."""
    files = {"fixed": job.fixed, "moving": job.moving, "gm": job.fixed_mask, "mm": job.moving_mask}
    return {name: SimpleITK.ReadImage(file, SimpleITK.sitkFloat32) for name, file in files.items() if file is not None}


def register(job: Job, images: dict[str, Any]) -> Registered:
    """``strength``: deviation of the Gaussian that smooths the update, voxels; the total field's is 0.41 of it."""
    options, greedy = job.options, Greedy3D()
    masks = "".join(f" -{name} {name}" for name in ("gm", "mm") if name in images)
    common = f"-i fixed moving -threads {job.threads} -V 0{masks}"
    deform = f"{common} -m {options['metric']} -n {options['iterations']} -e {options['step']} -wp 0 -o warp"
    if job.strength is not None:
        deform += f" -s {job.strength:.4f}vox {_SECOND * job.strength:.4f}vox"
    settings, transforms = {}, "warp"
    if options["affine_metric"] is not None:
        affine = f"{common} -a -m {options['affine_metric']} -dof 12 -ia-identity -n {options['iterations']} -o affine"
        greedy.execute(affine, affine=None, **images)
        settings, transforms = {"affine": affine}, "warp affine"
        deform += " -it affine"
    greedy.execute(deform, warp=None, **images)
    greedy.execute(f"-rf fixed -r {transforms} -rc total -threads {job.threads} -V 0", total=None)

    def warp() -> Any:
        greedy.execute(f"-rf fixed -rm moving warped -ri LINEAR -r {transforms} -V 0", warped=None)
        return SimpleITK.GetArrayFromImage(greedy["warped"]).transpose(2, 1, 0)

    vectors = itk_vectors(SimpleITK.GetArrayFromImage(greedy["total"]))
    return Registered(from_lps(vectors), {**settings, "deformable": deform}, warp)


if __name__ == "__main__":
    serve("picsl_greedy", load, register)
