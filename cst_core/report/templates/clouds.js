"use strict";
(() => {
  const info = JSON.parse(document.getElementById("clouds-data").textContent);
  const canvas = document.getElementById("cloud"), colour = document.getElementById("cloud-colour");
  const floats = (text) => new Float32Array(bytesOf(text).buffer);
  const sets = info.sets.map((set) => ({ ...set, points: floats(set.points), values: Object.fromEntries(Object.entries(set.values).map(([kind, text]) => [kind, floats(text)])) }));
  const boxes = new Map([...document.querySelectorAll("#clouds input[type=checkbox]")].map((box) => [box.value, box]));
  const PLAIN = { fixed: "#56b4e9", moving: "#ffb000", displaced: "#40d3a0", landmarks: "#ffffff" };

  // the middle and the size of the points that are shown
  let middle = [0, 0, 0], radius = 1;
  const measure = () => {
    const shown = sets.filter((set) => boxes.get(set.key)?.checked);
    if (!shown.length) return;
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    for (const { points } of shown) {
      for (let i = 0; i < points.length; i++) {
        low[i % 3] = Math.min(low[i % 3], points[i]);
        high[i % 3] = Math.max(high[i % 3], points[i]);
      }
    }
    middle = low.map((value, axis) => (value + high[axis]) / 2);
    const away = shown.flatMap(({ points }) => Array.from({ length: points.length / 3 }, (_, i) => Math.hypot(
      points[3 * i] - middle[0], points[3 * i + 1] - middle[1], points[3 * i + 2] - middle[2])));
    radius = Math.max(1, away.sort((p, q) => p - q)[Math.floor(0.99 * (away.length - 1))]);  // an outlier may lie outside
  };

  // Turned by `turn` about the body's long axis, then tilted by `tilt`; zero is the view from the front.
  const VIEWS = { front: [0, 0], left: [-Math.PI / 2, 0], below: [0, -Math.PI / 2] };
  let turn = 0.5, tilt = 0.2, size = 1;
  const start = () => { turn = 0.5; tilt = 0.2; size = 1; };
  const projected = (x, y, z) => {
    const a = -(x - middle[0]), b = y - middle[1], c = z - middle[2];  // the patient's right at the left
    const across = a * Math.cos(turn) + b * Math.sin(turn), deep = -a * Math.sin(turn) + b * Math.cos(turn);
    return [across, c * Math.cos(tilt) - deep * Math.sin(tilt), deep * Math.cos(tilt) + c * Math.sin(tilt)];
  };

  const draw = () => {
    const scale = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
    const width = Math.max(1, Math.round(box.width * scale)), height = Math.max(1, Math.round(box.height * scale));
    canvas.width = width; canvas.height = height;
    const pen = canvas.getContext("2d"), zoom = (Math.min(width, height) / 2 / radius) * 0.98 * size;
    pen.fillStyle = "#0b0d0f"; pen.fillRect(0, 0, width, height);
    const marks = [], chosen = info.scales.find((scale) => scale.key === colour.value);
    for (const set of sets) {
      if (!boxes.get(set.key)?.checked) continue;
      const values = set.values[colour.value];
      for (let i = 0, n = set.points.length / 3; i < n; i++) {
        const [x, y, depth] = projected(set.points[3 * i], set.points[3 * i + 1], set.points[3 * i + 2]);
        let tint = PLAIN[set.key];
        if (values) {
          const v = Math.min(255, Math.round((255 * values[i]) / chosen.top)) * 3, t = COLOURS.sequential;
          tint = `rgb(${t[v]},${t[v + 1]},${t[v + 2]})`;
        } else if (chosen) tint = "#6b7680";
        marks.push([depth, width / 2 + x * zoom, height / 2 - y * zoom, tint, set.key === "landmarks" ? 1.6 : 1]);
      }
    }
    const usual = Math.max(2, Math.min(4.5, 250 / Math.sqrt(marks.length + 1)));
    marks.sort((p, q) => p[0] - q[0]);
    for (const [depth, x, y, tint, weight] of marks) {
      const near = 0.5 + 0.5 * (depth / radius + 1) / 2, side = weight * usual * scale * (0.5 + 0.6 * near) * Math.sqrt(size);
      pen.globalAlpha = 0.35 + 0.65 * near;
      pen.fillStyle = tint;
      pen.fillRect(x - side / 2, y - side / 2, side, side);
    }
    pen.globalAlpha = 1;
    drawAxes(pen, height, scale);
    const legend = document.getElementById("cloud-legend");
    legend.replaceChildren();
    if (chosen) legend.append(legendBar(COLOURS.sequential, ["0", `${Number((chosen.top / 2).toPrecision(3))}`, `${chosen.top} mm`], chosen.name));
    canvas.dataset.drawn = "yes";
  };

  // Which way the patient lies: letters round a small cross in the corner.
  const drawAxes = (pen, height, scale) => {
    const at = [34 * scale, height - 34 * scale], long = 22 * scale;
    pen.font = `600 ${12 * scale}px system-ui, sans-serif`; pen.textAlign = "center"; pen.textBaseline = "middle";
    for (const [letter, x, y, z] of [["R", 1, 0, 0], ["A", 0, 1, 0], ["S", 0, 0, 1]]) {
      const [dx, dy] = projected(middle[0] + x, middle[1] + y, middle[2] + z);
      pen.strokeStyle = "#a3aeb8"; pen.lineWidth = 1.5 * scale;
      pen.beginPath(); pen.moveTo(...at); pen.lineTo(at[0] + dx * long, at[1] - dy * long); pen.stroke();
      pen.fillStyle = "#fff"; pen.fillText(letter, at[0] + dx * long * 1.35, at[1] - dy * long * 1.35);
    }
  };

  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };
  const turnBy = (across, down) => {
    turn += across;
    tilt = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, tilt + down));
    redraw();
  };
  const resize = (factor) => { size = Math.max(0.4, Math.min(20, size * factor)); redraw(); };

  const fingers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const spread = () => { const [p, q] = [...fingers.values()]; return Math.hypot(p[0] - q[0], p[1] - q[1]); };
    if (fingers.size === 2) {
      const old = spread();
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      resize(spread() / Math.max(1, old));
    } else {
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      turnBy((event.clientX - before[0]) * 0.008, (event.clientY - before[1]) * 0.008);
    }
  });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); resize(Math.exp(-event.deltaY * 0.001)); }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = 0.1;
    const action = {
      ArrowLeft: () => turnBy(-step, 0), ArrowRight: () => turnBy(step, 0), ArrowUp: () => turnBy(0, -step),
      ArrowDown: () => turnBy(0, step), "+": () => resize(1.15), "=": () => resize(1.15), "-": () => resize(1 / 1.15),
      Home: () => { start(); redraw(); },
    }[event.key];
    if (action) { event.preventDefault(); action(); }
  });
  for (const button of document.querySelectorAll("#clouds button[data-view]")) {
    button.addEventListener("click", () => {
      const view = VIEWS[button.dataset.view];
      if (view) { [turn, tilt] = view; redraw(); } else resize(button.dataset.view === "larger" ? 1.25 : 0.8);
    });
  }
  colour.addEventListener("change", redraw);
  for (const box of boxes.values()) box.addEventListener("change", () => { measure(); redraw(); });
  new ResizeObserver(redraw).observe(canvas);
  measure();
  draw();
})();
