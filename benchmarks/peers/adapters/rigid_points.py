"""Open3D's rigid registrations of clouds: ICP alone, or after Fast Global Registration on FPFH."""

from __future__ import annotations

import numpy as np
import open3d as o3d
from job import Job, Registered, load_clouds, serve, still


def register(job: Job, clouds: tuple[np.ndarray, np.ndarray]) -> Registered:
    """A rotation and a translation of the fixed cloud; lengths in mm."""
    registration, options = o3d.pipelines.registration, job.options
    fixed, moving = (o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud)) for cloud in clouds)
    start = np.eye(4)
    if options["way"] != "icp":
        features = [_features(cloud, options["features"]) for cloud in (fixed, moving)]
        told = registration.FastGlobalRegistrationOption(maximum_correspondence_distance=options["coarse"])
        found = registration.registration_fgr_based_on_feature_matching(fixed, moving, *features, told)
        start = np.asarray(found.transformation)
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


if __name__ == "__main__":
    serve("open3d-cpu", load_clouds, register)
