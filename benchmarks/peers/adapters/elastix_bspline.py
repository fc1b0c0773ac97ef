"""elastix through itk-elastix: its default affine and B-spline parameter maps, with what the job changes.

A job that has None for the affine one leaves it out.
"""

from __future__ import annotations

from typing import Any

import itk  # pyright: ignore[reportMissingImports]
import numpy as np
from job import Job, Registered, from_lps, itk_vectors, serve


def load(job: Job) -> dict[str, Any]:
    """The scans, and the fixed mask where there is one: with a moving one elastix finds no samples and gives up."""
    images = {"fixed": itk.imread(job.fixed, itk.F), "moving": itk.imread(job.moving, itk.F)}
    return images | ({"fixed_mask": itk.imread(job.fixed_mask, itk.UC)} if job.fixed_mask else {})


def register(job: Job, images: dict[str, Any]) -> Registered:
    """``strength``: weight of the bending energy beside mutual information."""
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(job.threads)
    stages = [stage for stage in ("affine", "bspline") if job.options.get(stage, {}) is not None]
    changed = {stage: dict(job.options.get(stage, {})) for stage in stages}
    if job.strength is not None:
        changed["bspline"]["Metric1Weight"] = [str(job.strength)]
    parameters = itk.ParameterObject.New()
    for stage, values in changed.items():
        parameters.AddParameterMap({**parameters.GetDefaultParameterMap(stage), **values})
    masks = {"fixed_mask": images["fixed_mask"]} if "fixed_mask" in images else {}
    _, transform = itk.elastix_registration_method(
        images["fixed"], images["moving"], parameter_object=parameters, number_of_threads=job.threads, **masks
    )
    vectors = np.asarray(itk.transformix_deformation_field(images["moving"], transform))

    def warp() -> np.ndarray:
        for stage in range(transform.GetNumberOfParameterMaps()):
            transform.SetParameter(stage, "FinalBSplineInterpolationOrder", "1")
        return np.asarray(itk.transformix_filter(images["moving"], transform)).transpose(2, 1, 0)

    return Registered(from_lps(itk_vectors(vectors)), changed, warp)


if __name__ == "__main__":
    serve("itk-elastix", load, register)
