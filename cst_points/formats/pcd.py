"""PCD, the point cloud library's own format, through open3d; the other formats need no library."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cst_core.errors import DataError
from cst_points.formats.content import damaged, read_bytes
from cst_points.formats.numbers import Points


def read(path: Path) -> Points:
    """The points of a PCD file, ASCII, binary or compressed.

    Raises:
        DataError: open3d is not installed, or the file is missing, empty or holds no point that it can read.
    """
    read_bytes(path)
    try:
        import open3d  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError(
            f"{path}: PCD files need open3d, which is not installed; pip install 'cst[open3d]', or save it as .ply"
        ) from None
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        cloud = open3d.io.read_point_cloud(path, format="pcd", remove_nan_points=False)
    points = np.asarray(cloud.points, dtype=np.float64)
    if not len(points):
        damaged(path, "holds no point that open3d can read")
    return points
