"use strict";
(() => {
  const info = JSON.parse(document.getElementById("planes-data").textContent);
  const volumes = new Volumes(info.shape, info.columns);
  const section = document.getElementById("planes"), control = (id) => document.getElementById(id);
  const [first, second, mode, map, lines, amount] = ["first", "second", "mode", "map", "lines", "amount"].map(control);
  const FIXED = "#56b4e9", OTHER = "#ffb000", FOLD = [255, 0, 200];
  if (info.field) {
    info.field.values = new Int16Array(bytesOf(info.field.data).buffer);
  }
  const uriOf = (key) => info.images.find((image) => image.key === key)?.uri;
  const mapOf = () => info.maps.find((one) => one.key === map.value);

  const planes = [...document.querySelectorAll(".plane")].map((element) => {
    const axis = Number(element.dataset.axis), slice = new Slice(axis, info.shape, info.spacing);
    const canvas = element.querySelector("canvas"), range = element.querySelector("input");
    canvas.style.aspectRatio = `${slice.mm[0]} / ${slice.mm[1]}`;
    element.style.flexGrow = slice.mm[0];
    return { axis, slice, canvas, range, said: element.querySelector("output"), back: document.createElement("canvas") };
  });

  // Grey values of both images, and colours over them, in the slice's own voxels.
  const paint = (plane, at, a, b, colours, values, folds) => {
    const { slice, back } = plane, { width, height } = slice;
    back.width = width; back.height = height;
    const pen = back.getContext("2d"), picture = pen.createImageData(width, height), out = picture.data;
    const one = a && slice.cut(a, at), two = b && slice.cut(b, at);
    const over = values && slice.cut(values, at), fold = folds && slice.cut(folds, at);
    const part = amount.value / 100, kind = mode.value;
    const square = Math.max(6, amount.value * 0.8), sx = info.spacing[slice.across], sy = info.spacing[slice.down];
    for (let i = 0, o = 0; i < width * height; i++, o += 4) {
      const p = one ? one[i] : 0, q = two ? two[i] : 0;
      let grey;
      if (kind === "difference") grey = 128 + (q - p) / 2;
      else if (kind === "checker") {
        const x = i % width, y = (i - x) / width;
        grey = (Math.floor(x * sx / square) + Math.floor(y * sy / square)) % 2 ? q : p;
      } else grey = p * (1 - part) + q * part;
      let r = grey, g = grey, bl = grey;
      if (over) {
        const v = over[i], weight = colours === COLOURS.diverging ? Math.min(1, Math.abs(v - 127.5) / 50) * 0.75 : 0.75 * (v / 255) ** 0.7;
        r += weight * (colours[3 * v] - r); g += weight * (colours[3 * v + 1] - g); bl += weight * (colours[3 * v + 2] - bl);
      }
      if (fold && fold[i]) [r, g, bl] = FOLD;
      out[o] = r; out[o + 1] = g; out[o + 2] = bl; out[o + 3] = 255;
    }
    pen.putImageData(picture, 0, 0);
  };

  const stroke = (pen, paths, colour, width) => {
    pen.beginPath();
    for (const path of paths) path.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.strokeStyle = "rgba(0,0,0,.5)"; pen.lineWidth = 2 * width; pen.stroke();  // seen on white as well
    pen.strokeStyle = colour; pen.lineWidth = width; pen.stroke();
  };

  const overlay = (plane, at, scale, outlined) => {
    const { slice, canvas } = plane, pen = canvas.getContext("2d");
    const kx = canvas.width / slice.width, ky = canvas.height / slice.height;
    if (lines.value === "labels") {
      for (const [key, colour] of [[first.value, FIXED], [second.value, OTHER]]) {
        if (!outlined[key]) continue;
        const labels = slice.cut(outlined[key], at);
        const segments = contours(labels, slice.width, slice.height);
        stroke(pen, segments.map(([a, b, c, d]) => [[a * kx, b * ky], [c * kx, d * ky]]), colour, 1.5 * scale);
      }
    } else if (lines.value === "grid") {
      const grid = deformedGrid(info.field, slice, at, info.shape, info.spacing);
      stroke(pen, grid.map((line) => line.map(([x, y]) => [x * kx, y * ky])), "rgba(255,255,255,.8)", 0.8 * scale);
    }
  };

  const annotate = (plane, scale) => {
    const { canvas, slice } = plane, pen = canvas.getContext("2d"), { width, height } = canvas, edge = 11 * scale;
    pen.font = `600 ${13 * scale}px system-ui, sans-serif`;
    pen.textAlign = "center"; pen.textBaseline = "middle";
    const [left, right, top, bottom] = slice.letters;
    for (const [letter, x, y] of [[left, edge, height / 2], [right, width - edge, height / 2], [top, width / 2, edge], [bottom, width / 2, height - edge]]) {
      pen.lineWidth = 3 * scale; pen.strokeStyle = "#000"; pen.strokeText(letter, x, y);
      pen.fillStyle = "#fff"; pen.fillText(letter, x, y);
    }
    pen.fillStyle = "#fff";  // where the other two planes cut this one: short ticks at the border
    const column = (slice.width - 0.5 - planes.find((p) => p.axis === slice.across).range.value) / slice.width * width;
    const row = (slice.height - 0.5 - planes.find((p) => p.axis === slice.down).range.value) / slice.height * height;
    for (const y of [0, height - 5 * scale]) pen.fillRect(column - scale / 2, y, scale, 5 * scale);
    for (const x of [0, width - 5 * scale]) pen.fillRect(x, row - scale / 2, 5 * scale, scale);
  };

  const sayPlace = (plane) => {
    const at = Number(plane.range.value);
    let said = `${at + 1} of ${info.shape[plane.axis]}`;
    if (info.origin) {
      const mm = info.origin[plane.axis] + at * info.spacing[plane.axis];
      said = `${[["L", "R"], ["P", "A"], ["I", "S"]][plane.axis][mm >= 0 ? 1 : 0]} ${Math.abs(mm).toFixed(0)} mm`;
    }
    plane.said.textContent = said;
    plane.range.setAttribute("aria-valuetext", said);
  };

  const sayLegends = () => {
    const chosen = mapOf(), nameOf = (key) => info.images.find((image) => image.key === key).name;
    control("map-legend").replaceChildren();
    if (chosen) {
      control("map-legend").append(legendBar(COLOURS[chosen.colours], chosen.ticks, chosen.name));
      if (chosen.key === "jacobian") control("map-legend").append(key("rgb(255,0,200)", chosen.folds ? "fold" : "fold (none here)"));
    }
    control("lines-legend").replaceChildren();
    if (lines.value === "labels") {
      for (const [image, colour] of [[first.value, FIXED], [second.value, OTHER]]) {
        if (info.labels[image]) control("lines-legend").append(key(colour, `labels of ${nameOf(image)}`));
      }
    } else if (lines.value === "grid") control("lines-legend").append("Lines of a regular grid, displaced" + (info.images.some((i) => i.key === "affine") ? " (without the affine part)" : ""));
    if (mode.value === "difference") control("lines-legend").append(" Grey: equal; light: the second image is the brighter.");
    const blend = mode.value === "blend", checker = mode.value === "checker";
    amount.closest("label").hidden = mode.value === "difference";
    control("amount-name").textContent = blend ? "First to second" : "Size of squares";
    control("amount-said").textContent = checker ? `${Math.max(6, amount.value * 0.8).toFixed(0)} mm` : `${amount.value} % second`;
  };
  const key = (colour, text) => {
    const whole = Object.assign(document.createElement("span"), { className: "key-of" });
    const spot = Object.assign(document.createElement("span"), { className: "key" });
    spot.style.background = colour;
    whole.append(spot, ` ${text}`);
    return whole;
  };

  let waiting = false, again = false;
  const draw = async () => {
    if (waiting) { again = true; return; }  // one picture at a time; the last wish wins
    waiting = true;
    section.setAttribute("aria-busy", "true");
    const chosen = mapOf(), wanted = [uriOf(first.value), uriOf(second.value), chosen?.uri, chosen?.folds];
    const [a, b, values, folds] = await Promise.all(wanted.map((uri) => (uri ? volumes.get(uri) : null)));
    const outlined = {};
    for (const key of lines.value === "labels" ? [first.value, second.value] : []) {
      if (info.labels[key]) outlined[key] = await volumes.get(info.labels[key]);
    }
    for (const plane of planes) {
      const { canvas, back, slice } = plane, at = Number(plane.range.value);
      const scale = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
      canvas.width = Math.max(1, Math.round(box.width * scale));
      canvas.height = Math.max(1, Math.round(canvas.width * slice.mm[1] / slice.mm[0]));
      paint(plane, at, a, b, chosen && COLOURS[chosen.colours], values, folds);
      const pen = canvas.getContext("2d");
      pen.imageSmoothingEnabled = true; pen.imageSmoothingQuality = "high";
      pen.drawImage(back, 0, 0, canvas.width, canvas.height);
      overlay(plane, at, scale, outlined);
      annotate(plane, scale);
      sayPlace(plane);
    }
    sayLegends();
    section.dataset.drawn = "yes";
    section.setAttribute("aria-busy", "false");
    waiting = false;
    if (again) { again = false; draw(); }
  };

  for (const element of [first, second, mode, map, lines]) element.addEventListener("change", draw);
  for (const element of [amount, ...planes.map((plane) => plane.range)]) element.addEventListener("input", draw);
  for (const plane of planes) {
    plane.canvas.addEventListener("click", (event) => {
      const box = plane.canvas.getBoundingClientRect(), { slice } = plane;
      const column = (event.clientX - box.left) / box.width, row = (event.clientY - box.top) / box.height;
      const put = (axis, part, n) => { planes.find((p) => p.axis === axis).range.value = Math.round((1 - part) * n - 0.5); };
      put(slice.across, column, slice.width);
      put(slice.down, row, slice.height);
      draw();
    });
  }
  new ResizeObserver(draw).observe(document.querySelector(".planes"));
  draw();
})();
