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
    options = job.options
    metric = options["metric"]
    masks = "".join(f" -{name} {name}" for name in ("gm", "mm") if name in images)
    common = f"-i fixed moving -m {metric} -threads {job.threads} -V 0{masks}"
    affine = f"{common} -a -dof 12 -ia-identity -n {options['affine_iterations']} -o affine"
    deform = f"{common} -it affine -n {options['iterations']} -e {options['step']} -wp 0 -o warp"
    if job.strength is not None:
        deform += f" -s {job.strength:.4f}vox {_SECOND * job.strength:.4f}vox"
    greedy = Greedy3D()
    greedy.execute(affine, affine=None, **images)
    greedy.execute(deform, warp=None)
    greedy.execute(f"-rf fixed -r warp affine -rc total -threads {job.threads} -V 0", total=None)

    def warp() -> Any:
        greedy.execute("-rf fixed -rm moving warped -ri LINEAR -r warp affine -V 0", warped=None)
        return SimpleITK.GetArrayFromImage(greedy["warped"]).transpose(2, 1, 0)

    vectors = itk_vectors(SimpleITK.GetArrayFromImage(greedy["total"]))
    return Registered(from_lps(vectors), {"affine": affine, "deformable": deform}, warp)


if __name__ == "__main__":
    serve("picsl_greedy", load, register)
