// Weight matrices on a canvas, without the rows and columns of constant units: those fade in place, and then the rest
// slides together. A strip of marks along each edge stands for all units; the one under the mouse, or picked by the
// arrow keys, lights its row, and its column in the next matrix, and its numbers are written below.

const FADE = 300;  // milliseconds, of which a unit that is struck fades for the first half
const STRIP = 7, GAP = 12, HEAD = 30, LEAST = 34, CELL = 14, SAID = 28;  // CSS pixels
const VARIES = 2;  // states from here on vary: constant at 0, constant at θ, on, unstable
const LOOKS = ["class", "style", "data-jp-theme-name", "data-jp-theme-light", "data-theme"];  // what a page turns dark by
const still = matchMedia("(prefers-reduced-motion: reduce)"), night = matchMedia("(prefers-color-scheme: dark)");
const within = (value) => Math.min(1, Math.max(0, value)), ease = (p) => p * p * (3 - 2 * p);
const small = (value) => Number(value.toPrecision(3)).toString().replace("-", "−");
export const norm = (values) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

// Whether what an element stands on is dark: the notebook's theme, the system's or the page's, whichever paints it.
export function isDark(element) {
  for (let at = element; at; at = at.parentElement ?? at.getRootNode().host) {
    const found = getComputedStyle(at).backgroundColor.match(/[\d.]+/g)?.map(Number);
    if (found && (found[3] ?? 1) > 0.5) return 0.3 * found[0] + 0.6 * found[1] + 0.1 * found[2] < 100;
  }
  return night.matches && getComputedStyle(document.documentElement).colorScheme !== "normal";
}

// Calls when the page turns dark or light, in the next frame: JupyterLab hides all of itself until then. Returns what
// ends that.
export function onTheme(call) {
  const watch = new MutationObserver(() => requestAnimationFrame(call));
  for (const root of [document.documentElement, document.body]) watch.observe(root, { attributes: true, attributeFilter: LOOKS });
  night.addEventListener("change", call);
  return () => (watch.disconnect(), night.removeEventListener("change", call));
}

export class Striking {
  // height: of the tallest matrix. colors: [on a light page, on a dark page]. onLight(layer, unit): either or null.
  constructor(el, { height, colors, onLight = () => {} }) {
    Object.assign(this, { height, colors, onLight, matrices: [], layers: [], lit: null, cell: null, frame: 0 });
    this.canvas = el.appendChild(document.createElement("canvas"));
    this.said = el.appendChild(document.createElement("div"));
    this.canvas.tabIndex = 0;
    this.canvas.dataset.lmSuppressShortcuts = true;  // JupyterLab's own, of the arrow keys
    this.canvas.setAttribute("role", "img");
    this.canvas.style.cssText = "display: block; width: 100%";
    this.said.style.cssText = `font: 11px/14px Arial, sans-serif; height: ${SAID}px; overflow: hidden`;
    this.said.setAttribute("aria-live", "polite");
    this.canvas.addEventListener("pointermove", (event) => this.light(...this.under(event)));
    this.canvas.addEventListener("pointerleave", () => this.light(null));
    this.canvas.addEventListener("blur", () => this.light(null));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.sized = new ResizeObserver(() => this.redraw());
    this.sized.observe(this.canvas);
    this.themed = onTheme(() => ((this.inks = null), this.redraw(), this.say()));
    this.say();
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.sized.disconnect();
    this.themed();
  }

  // [{rows, columns, values}], row by row.
  setMatrices(matrices) {
    const fresh = matrices.map(({ rows }) => rows).join() !== this.matrices.map(({ rows }) => rows).join();
    this.matrices = matrices;
    for (const matrix of matrices) matrix.image = this.painted(matrix);
    if (fresh) this.layers = matrices.slice(0, -1).map(({ rows }) => new Layer(rows));
    this.redraw();
  }

  // The states of the units, a Uint8Array for every hidden layer. boxes: the ends of their pre-activations, all layers'.
  show(states, boxes = null) {
    this.boxes = boxes;
    states.forEach((found, k) => this.layers[k].turn(found));
    const left = this.matrices.map(({ rows, columns }, k) => {
      const [down, across] = this.kept(k);
      return `W${k + 1}: ${down} of ${rows} rows and ${across} of ${columns} columns`;
    });
    this.canvas.setAttribute("aria-label", `What is left of the weight matrices. ${left.join("; ")}. Arrow keys: units`);
    this.redraw();
    this.say();
  }

  theme() {
    if (!this.canvas.clientWidth) return this.colors[0];  // not on the page yet
    return (this.inks ??= this.colors[Number(isDark(this.canvas))]);
  }

  kept(k) {
    const { rows, columns } = this.matrices[k];
    return [this.layers[k]?.count ?? rows, this.layers[k - 1]?.count ?? columns];
  }

  redraw() {
    this.frame ||= requestAnimationFrame((now) => {
      this.frame = 0;
      this.draw(now);
    });
  }

  // One pixel an entry, from the most negative weight to the most positive, in colours that grow lighter.
  painted({ rows, columns, values }) {
    const canvas = new OffscreenCanvas(columns, rows), pen = canvas.getContext("2d"), image = pen.createImageData(columns, rows);
    const size = Float32Array.from(values, Math.abs).sort(), top = size[Math.floor(0.99 * (size.length - 1))] || 1;
    const steps = this.colors[0].weights.map((color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));
    values.forEach((value, k) => {
      const at = within((value / top + 1) / 2) * (steps.length - 1), low = Math.min(Math.floor(at), steps.length - 2);
      for (let c = 0; c < 3; c++) image.data[4 * k + c] = steps[low][c] + (at - low) * (steps[low + 1][c] - steps[low][c]);
      image.data[4 * k + 3] = 255;
    });
    pen.putImageData(image, 0, 0);
    return canvas;
  }

  // Where every matrix stands, in CSS pixels.
  places() {
    const all = this.matrices, room = Math.max(this.canvas.clientWidth - all.length * (STRIP + GAP), 100);
    let unit = Math.min(CELL, this.height / Math.max(...all.map(({ rows }) => rows))), x = STRIP + 2;
    const length = (count) => Math.max(unit * count, Math.min(LEAST, CELL * count));
    while (unit > 0.2 && all.reduce((sum, { columns }) => sum + Math.max(length(columns), LEAST), 0) > room) unit *= 0.95;
    return all.map(({ rows, columns }) => {
      const place = { x, y: HEAD + STRIP, width: length(columns), height: length(rows) };
      x += Math.max(place.width, LEAST) + STRIP + GAP;
      return place;
    });
  }

  draw(now) {
    const scale = devicePixelRatio, wide = this.canvas.clientWidth;
    if (!wide || !this.matrices.length) return;
    this.placed = this.places();
    const tall = HEAD + STRIP + Math.ceil(Math.max(...this.placed.map(({ height }) => height))) + 4;
    this.canvas.style.height = `${tall}px`;
    const size = [Math.round(wide * scale), Math.round(tall * scale)];
    if (this.canvas.width !== size[0] || this.canvas.height !== size[1]) [this.canvas.width, this.canvas.height] = size;
    let moving = false;
    for (const layer of this.layers) moving = layer.step(now) || moving;
    const pen = this.canvas.getContext("2d"), colors = this.theme();
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, wide, tall);
    this.said.style.color = colors.ink;
    this.placed.forEach((place, k) => this.matrix(pen, colors, place, k, scale));
    if (moving) this.redraw();
  }

  matrix(pen, colors, { x, y, width, height }, k, scale) {
    const { rows, columns, image } = this.matrices[k], [down, across] = this.kept(k);
    const [row, column] = [this.layers[k] ?? new Layer(rows), this.layers[k - 1] ?? new Layer(columns)];
    pen.fillStyle = colors.ink;
    pen.font = "bold 12px Arial, sans-serif";
    pen.fillText(`W${"₁₂₃₄₅₆₇₈₉"[k] ?? k + 1}`, x, 12);
    pen.font = "11px Arial, sans-serif";
    pen.fillText(`${down}×${across}${width > 90 ? ` of ${rows}×${columns}` : ""}`, x, 25);
    pen.fillStyle = colors.masked;
    pen.fillRect(x, y, width, height);
    const ys = row.edges(height, scale), xs = column.edges(width, scale), whole = Math.max(1, Math.round(width * scale));
    const strips = new OffscreenCanvas(whole, rows), between = strips.getContext("2d");
    between.imageSmoothingEnabled = pen.imageSmoothingEnabled = false;
    for (let j = 0; j < columns; j++) {
      between.globalAlpha = column.alpha[j];
      if (xs[j + 1] > xs[j]) between.drawImage(image, j, 0, 1, rows, xs[j], 0, xs[j + 1] - xs[j], rows);
    }
    for (let i = 0; i < rows; i++) {
      pen.globalAlpha = row.alpha[i];
      if (ys[i + 1] > ys[i]) pen.drawImage(strips, 0, i, whole, 1, x, y + ys[i] / scale, width, (ys[i + 1] - ys[i]) / scale);
    }
    pen.globalAlpha = 1;
    const mark = (layer, at, n, length, states, draw) => states.forEach((state, i) => {
      const lit = this.lit?.[0] === layer && this.lit[1] === i;
      pen.fillStyle = lit ? colors.lit : colors.states[state];
      draw(at + (i * length) / n, Math.max(0.8, length / n - (length / n > 4 ? 1 : 0)), lit ? STRIP : STRIP - 2);
    });
    if (this.layers[k]) mark(k, y, rows, height, row.states, (at, long, wide) => pen.fillRect(x - 1 - wide, at, wide, long));
    if (k) mark(k - 1, x, columns, width, column.states, (at, long, wide) => pen.fillRect(at, y - 1 - wide, long, wide));
    pen.strokeStyle = colors.lit;
    pen.lineWidth = 2;
    const [layer, unit] = this.lit ?? [];
    const high = ys.at(-1) / scale, far = xs.at(-1) / scale;
    if (layer === k) pen.strokeRect(x, y + ys[unit] / scale, far, (ys[unit + 1] - ys[unit]) / scale);
    if (layer === k - 1) pen.strokeRect(x + xs[unit] / scale, y, (xs[unit + 1] - xs[unit]) / scale, high);
  }

  // The unit under the mouse, and the entry, [matrix, row, column]: on a strip, or where what is left is drawn.
  under({ offsetX, offsetY }) {
    for (const [k, { x, y, width, height }] of (this.placed ?? []).entries()) {
      const { rows, columns } = this.matrices[k], across = offsetX - x, down = offsetY - y;
      if (across < -STRIP - 2 || down < -STRIP - 2 || across >= width || down >= height) continue;
      if (across < 0) return down < 0 || !this.layers[k] ? [null] : [[k, Math.floor((down / height) * rows)]];
      if (down < 0) return k ? [[k - 1, Math.floor((across / width) * columns)]] : [null];
      const at = (layer, count, place, length) => (layer ?? new Layer(count)).edges(length, 1e3).findLastIndex((e) => e <= 1e3 * place);
      const i = at(this.layers[k], rows, down, height), j = at(this.layers[k - 1], columns, across, width);
      if (i >= rows || j >= columns) return [null];
      return [this.layers[k] ? [k, i] : k ? [k - 1, j] : null, [k, i, j]];
    }
    return [null];
  }

  key(event) {
    const [layer, unit] = this.lit ?? [0, -1], step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") this.light(null);
    if (!step || !this.layers.length) return;
    event.preventDefault();
    event.stopPropagation();
    const next = /Right|Left/.test(event.key) ? layer : (layer + step + this.layers.length) % this.layers.length;
    const count = this.layers[next].states.length;
    this.light([next, next === layer ? (unit + step + count) % count : Math.min(Math.max(unit, 0), count - 1)]);
  }

  light(unit, cell = null) {
    if (String(unit) === String(this.lit) && String(cell) === String(this.cell)) return;
    [this.lit, this.cell] = [unit, cell];
    this.say();
    this.redraw();
    this.onLight(unit);
  }

  // What the marks are, while none is lit.
  explain() {
    const { states } = this.theme(), short = (name) => name.replace(/^constant |^varying: /, "");
    this.said.replaceChildren(...this.colors[0].names.flatMap((name, state) => {
      const sign = document.createElement("span");
      [sign.textContent, sign.style.color] = ["■", states[state]];
      return [sign, ` ${short(name)} `];
    }), "· point at a mark, or use the arrow keys");
  }

  say() {
    if (!this.lit) return this.explain();
    const [layer, unit] = this.lit, { columns, values } = this.matrices[layer], after = this.matrices[layer + 1];
    const row = values.slice(unit * columns, (unit + 1) * columns);
    const column = Array.from({ length: after.rows }, (_, i) => after.values[i * after.columns + unit]);
    const told = (each) => (each.length < 4 ? `(${Array.from(each, small).join(", ")})` : `length ${small(norm(each))}`);
    const entry = this.cell && this.matrices[this.cell[0]];
    const value = entry ? ` · this entry ${small(entry.values[this.cell[1] * entry.columns + this.cell[2]])}` : "";
    const at = this.layers.slice(0, layer).reduce((sum, { states }) => sum + states.length, unit);
    const box = this.boxes ? ` in [${small(this.boxes[2 * at])}, ${small(this.boxes[2 * at + 1])}]` : "";
    const state = this.colors[0].names[this.layers[layer].states[unit]] + box;
    this.said.textContent = `unit ${unit} of layer ${layer + 1}: ${state} · row ${told(row)}, column ${told(column)}${value}`;
  }
}

// The units of a layer on their way: how opaque each is, and how much of its cell is left.
class Layer {
  constructor(count) {
    this.states = new Uint8Array(count).fill(VARIES);
    [this.alpha, this.size] = [new Float32Array(count).fill(1), new Float32Array(count).fill(1)];
    [this.from, this.start] = [[this.alpha.slice(), this.size.slice()], new Float64Array(count).fill(-Infinity)];
    [this.count, this.fresh] = [count, true];
  }

  turn(states) {
    states.forEach((state, i) => {
      if (state >= VARIES === this.states[i] >= VARIES) return;
      [this.from[0][i], this.from[1][i]] = [this.alpha[i], this.size[i]];
      this.start[i] = this.fresh || still.matches ? -Infinity : performance.now();
    });
    [this.states, this.fresh] = [states.slice(), false];
    this.count = states.filter((state) => state >= VARIES).length;
  }

  step(now) {
    let moving = false;
    this.states.forEach((state, i) => {
      const p = within((now - this.start[i]) / FADE), [alpha, size] = [this.from[0][i], this.from[1][i]];
      const first = within(2 * p), last = ease(within(2 * p - 0.8));
      if (state >= VARIES) [this.alpha[i], this.size[i]] = [alpha + (1 - alpha) * last, size + (1 - size) * ease(first)];
      else [this.alpha[i], this.size[i]] = [alpha * (1 - first), size * (1 - last)];
      moving ||= p < 1;
    });
    return moving;
  }

  // Where every unit begins, and the last ends, in whole pixels of the device.
  edges(length, scale) {
    const cell = (length * scale) / this.size.length, found = [0];
    let sum = 0;
    for (const size of this.size) found.push(Math.round((sum += size) * cell));
    return found;
  }
}
