"use strict";
// Outlines of every label of a slice: for each cell of four neighbours, segments between the middles of its sides.
const contours = (labels, width, height) => {
  const segments = [];
  const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : labels[y * width + x]);
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const a = at(x, y), b = at(x + 1, y), c = at(x + 1, y + 1), d = at(x, y + 1);
      if (a === b && b === c && c === d) continue;
      for (const label of new Set([a, b, c, d])) {
        if (!label) continue;
        const cut = [];  // where the outline crosses the cell: above, right, below, left
        if ((a === label) !== (b === label)) cut.push([x + 1, y + 0.5]);
        if ((b === label) !== (c === label)) cut.push([x + 1.5, y + 1]);
        if ((d === label) !== (c === label)) cut.push([x + 1, y + 1.5]);
        if ((a === label) !== (d === label)) cut.push([x + 0.5, y + 1]);
        for (let i = 0; i + 1 < cut.length; i += 2) segments.push([...cut[i], ...cut[i + 1]]);
      }
    }
  }
  return segments;
};

// The lines of a regular grid at x + u(x), in voxels of the slice as it is looked at.
const deformedGrid = (field, slice, at, shape, spacing) => {
  const [nx, ny, nz] = field.shape, { across, down, axis } = slice;
  const layer = Math.min(field.shape[axis] - 1, Math.round(at / field.step[axis]));
  const node = (i, j) => {
    const place = [0, 0, 0];
    place[axis] = layer; place[across] = i; place[down] = j;
    const first = 3 * (place[0] + nx * (place[1] + ny * place[2]));
    const moved = [across, down].map((a) => place[a] * field.step[a] + field.values[first + a] / field.scale / spacing[a]);
    return [shape[across] - 0.5 - moved[0], shape[down] - 0.5 - moved[1]];
  };
  const lines = [];
  for (let i = 0; i < field.shape[across]; i++) lines.push(Array.from({ length: field.shape[down] }, (_, j) => node(i, j)));
  for (let j = 0; j < field.shape[down]; j++) lines.push(Array.from({ length: field.shape[across] }, (_, i) => node(i, j)));
  return lines;
};
