"use strict";
// A volume arrives as one picture of its axial slices; here it becomes bytes again, x fastest, then y, then z.
class Volumes {
  constructor(shape, columns) {
    this.shape = shape;
    this.columns = columns;
    this.found = new Map();
  }

  get(uri) {
    if (!this.found.has(uri)) this.found.set(uri, this.decode(uri));
    return this.found.get(uri);
  }

  async decode(uri) {
    const picture = new Image();
    picture.src = uri;
    await picture.decode();
    const [nx, ny, nz] = this.shape;
    const bytes = new Uint8Array(nx * ny * nz);
    const canvas = document.createElement("canvas");
    canvas.width = picture.width;
    canvas.height = ny;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    for (let row = 0; row * this.columns < nz; row++) {  // a row of slices at a time: a phone has little memory
      pen.drawImage(picture, 0, -row * ny);
      const { data } = pen.getImageData(0, 0, picture.width, ny);
      for (let column = 0; column < this.columns; column++) {
        const z = row * this.columns + column;
        if (z >= nz) break;
        for (let y = 0; y < ny; y++) {
          let from = 4 * (y * picture.width + column * nx), to = nx * (y + ny * z);
          for (let x = 0; x < nx; x++, from += 4) bytes[to++] = data[from];
        }
      }
    }
    return bytes;
  }
}

// A slice as it is looked at: which array axis runs across and down, and that both run against the array's order.
class Slice {
  constructor(axis, shape, spacing) {
    this.axis = axis;
    [this.across, this.down] = axis === 2 ? [0, 1] : axis === 1 ? [0, 2] : [1, 2];
    this.width = shape[this.across];
    this.height = shape[this.down];
    this.mm = [this.width * spacing[this.across], this.height * spacing[this.down]];
    this.strides = [1, shape[0], shape[0] * shape[1]];
    this.letters = { 2: ["R", "L", "A", "P"], 1: ["R", "L", "S", "I"], 0: ["A", "P", "S", "I"] }[axis];
  }

  start(at) {
    return at * this.strides[this.axis] + (this.width - 1) * this.strides[this.across]
      + (this.height - 1) * this.strides[this.down];
  }

  // The bytes of slice `at`, row by row from the upper left corner.
  cut(bytes, at) {
    const result = new Uint8Array(this.width * this.height), across = this.strides[this.across];
    let to = 0;
    for (let row = 0; row < this.height; row++) {
      let from = this.start(at) - row * this.strides[this.down];
      for (let column = 0; column < this.width; column++, from -= across) result[to++] = bytes[from];
    }
    return result;
  }
}
