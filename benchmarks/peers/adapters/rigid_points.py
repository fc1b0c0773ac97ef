"""Open3D's rigid registrations of clouds: ICP alone, or after Fast Global Registration or RANSAC on FPFH."""

from __future__ import annotations

import numpy as np
import open3d as o3d
from job import Job, Registered, load_clouds, serve, still

_SEED = 0  # of RANSAC


def register(job: Job, clouds: tuple[np.ndarray, np.ndarray]) -> Registered:
    """A rotation and a translation of the fixed cloud; lengths in mm."""
    registration, options = o3d.pipelines.registration, job.options
    fixed, moving = (o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud)) for cloud in clouds)
    start = np.eye(4)
    if options["way"] != "icp":
        o3d.utility.random.seed(_SEED)
        features = [_features(cloud, options["features"]) for cloud in (fixed, moving)]
        start = _globally(options, fixed, moving, *features)
    found = registration.registration_icp(
        fixed,
        moving,
        options["distance"],
        start,
        registration.TransformationEstimationPointToPoint(),
        registration.ICPConvergenceCriteria(max_iteration=200),
    )
    matrix = np.asarray(found.transformation)
    moved = clouds[0] @ matrix[:3, :3].T + matrix[:3, 3]
    return Registered((moved - clouds[0]).T, dict(options), still)


def _features(cloud: o3d.geometry.PointCloud, radius: float) -> o3d.pipelines.registration.Feature:
    around = o3d.geometry.KDTreeSearchParamHybrid(radius=radius, max_nn=100)
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(radius=radius / 2, max_nn=30))
    return o3d.pipelines.registration.compute_fpfh_feature(cloud, around)  # pyright: ignore[reportCallIssue]


def _globally(options: dict, fixed, moving, of_fixed, of_moving) -> np.ndarray:
    registration = o3d.pipelines.registration
    if options["way"] == "fgr":
        told = registration.FastGlobalRegistrationOption(maximum_correspondence_distance=options["coarse"])
        found = registration.registration_fgr_based_on_feature_matching(fixed, moving, of_fixed, of_moving, told)
    else:
        found = registration.registration_ransac_based_on_feature_matching(
            fixed, moving, of_fixed, of_moving, True, options["coarse"]
        )
    return np.asarray(found.transformation)


if __name__ == "__main__":
    serve("open3d-cpu", load_clouds, register)
