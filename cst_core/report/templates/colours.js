"use strict";
// Colour scales: 256 steps between a few colours. Sequential: blue to yellow, none so dark that it is lost on black; diverging: blue, nothing, orange.
const scaleBetween = (stops) => {
  const table = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(at)), part = at - low;
    for (let c = 0; c < 3; c++) table[3 * i + c] = stops[low][c] + part * (stops[low + 1][c] - stops[low][c]);
  }
  return table;
};
const COLOURS = {
  sequential: scaleBetween([[66, 84, 190], [44, 132, 196], [46, 172, 148], [130, 208, 92], [253, 231, 37]]),
  diverging: scaleBetween([[80, 160, 255], [120, 180, 235], [240, 240, 240], [250, 165, 80], [240, 110, 20]]),
};
const gradientOf = (table) => {
  const at = [0, 64, 128, 191, 255];
  return `linear-gradient(to right, ${at.map((i) => `rgb(${table[3 * i]},${table[3 * i + 1]},${table[3 * i + 2]})`)})`;
};
const legendBar = (table, ticks, name) => {
  const bar = document.createElement("span");
  bar.className = "scale";
  bar.style.backgroundImage = gradientOf(table);
  const said = document.createElement("span");
  said.className = "ticks";
  for (const tick of ticks) said.append(Object.assign(document.createElement("span"), { textContent: tick }));
  const whole = document.createElement("span");
  whole.className = "bar-of";
  whole.append(`${name} `, bar, said);
  return whole;
};
const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
