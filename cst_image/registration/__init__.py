"""From two files to a folder of results: any grids, affine pre-alignment, everything back on the fixed voxels."""
