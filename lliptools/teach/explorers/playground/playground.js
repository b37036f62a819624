// The Playground in the browser, after striking.js: the plane of a network that is trained, what is certified of every
// point, the matrices near the picked one, curves, and the controls. The kernel sends one frame an epoch, all are kept.

const SPAN = 1.9, REACH = 10;  // half the side of the plane, in units of the input; pixels around a point
// name: [text, {value: its text}]
const CHOICES = {
  data: ["data", { moons: "moons", circles: "circles", spiral: "spiral", blobs: "blobs", draw: "draw ✎" }],
  layers: ["hidden layers", { 1: "1", 2: "2", 3: "3" }],
  width: ["neurons in each", { 4: "4", 8: "8", 16: "16", 32: "32" }],
  activation: ["activation", { relu: "ReLU", clipped_relu: "ReLU-θ", maxmin: "MaxMin" }],
  bound: ["bound in the loss", { none: "none", global: "global", local: "local" }],
};
const LEGEND = "green: certified at ε · pink: less far · ✕ wrong · blue lines: neurons that vary in the ball";
// name: [text, what it is, least, largest, step, number of a position]
const SLIDERS = {
  eps: ["ε", "radius of the balls, in units of the plane", 0, 0.5, 0.01],
  sparsity: ["λ", "weight of the sparsity loss: for ReLU-θ and the local bound", 0, 0.5, 0.01],
  theta: ["θ", "where the thresholds of ReLU-θ start", 0.1, 3, 0.1],
  rate: ["rate", "learning rate, a power of ten", -3.5, -1, 0.25],
};

const make = (tag, more = {}, ...inside) => {
  const element = Object.assign(document.createElement(tag), more);
  element.append(...inside);
  return element;
};
// Numbers in three digits: an upper bound never below itself, a lower one never above.
const spelled = (value) => Number(value.toPrecision(3)).toString();
const up = (value) => (Number(spelled(value)) >= value ? spelled(value) : spelled(value * 1.005));
const down = (value) => (Number(spelled(value)) <= value ? spelled(value) : spelled(value * 0.995));
export const percent = (share) => `${Math.floor(100 * share + 1e-9)} %`;
const rgb = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));

// The network of a frame: what its units and outputs are over many points at once.
class Net {
  constructor({ sizes, activation }, parameters) {
    let at = 0;
    const take = (count) => parameters.subarray(at, (at += count));
    this.layers = sizes.slice(1).map((rows, k) => {
      const columns = sizes[k], clipped = activation === "clipped_relu" && k < sizes.length - 2;
      return { rows, columns, values: take(rows * columns), bias: take(rows), theta: clipped && take(rows) };
    });
    this.paired = activation === "maxmin";
  }

  // x: two Float32Arrays. The values before every activation, unit by unit, and the outputs last.
  through(x) {
    let h = x;
    return this.layers.map(({ rows, columns, values, bias, theta }) => {
      const found = Array.from({ length: rows }, (_, i) => {
        const z = new Float32Array(x[0].length).fill(bias[i]);
        for (let j = 0; j < columns; j++) {
          const w = values[i * columns + j], from = h[j];
          for (let p = 0; p < z.length; p++) z[p] += w * from[p];
        }
        return z;
      });
      const half = rows / 2;
      h = found.map((z, i) => {
        if (!this.paired) return z.map((value) => Math.min(Math.max(value, 0), theta ? Math.max(theta[i], 0) : Infinity));
        const other = found[(i + half) % rows];
        return i < half ? z.map((value, p) => Math.max(value, other[p])) : z.map((value, p) => Math.min(value, other[p]));
      });
      return found;
    });
  }

  // Along which lines a unit bends, as values that are 0 there.
  bends(found, layer, unit) {
    const { rows, theta } = this.layers[layer], z = found[layer][unit];
    if (this.paired) return unit < rows / 2 ? [z.map((value, p) => value - found[layer][unit + rows / 2][p])] : [];
    return theta ? [z, z.map((value) => value - theta[unit])] : [z];
  }
}

// Adds the line along which values on a square grid are 0 to a path; unit: pixels from one to the next.
function trace(path, values, side, unit) {
  for (let r = 0; r < side - 1; r++) {
    for (let c = 0; c < side - 1; c++) {
      const k = r * side + c, a = values[k], b = values[k + 1], d = values[k + side], e = values[k + side + 1];
      if (a > 0 === b > 0 && b > 0 === e > 0 && e > 0 === d > 0) continue;
      const ends = [];
      if (a > 0 !== b > 0) ends.push([c + a / (a - b), r]);
      if (b > 0 !== e > 0) ends.push([c + 1, r + b / (b - e)]);
      if (d > 0 !== e > 0) ends.push([c + d / (d - e), r + 1]);
      if (a > 0 !== d > 0) ends.push([c, r + a / (a - d)]);
      for (let n = 0; n + 1 < ends.length; n += 2) path.moveTo(...ends[n].map((at) => at * unit)), path.lineTo(...ends[n + 1].map((at) => at * unit));
    }
  }
}

// One run on the page: its plane, and beside it what is known near the picked point.
export class Stage {
  constructor(plane, near, { colors, height, onClick = () => {} }) {
    Object.assign(this, { colors, onClick, frame: null, lit: null });
    this.canvas = plane.appendChild(make("canvas", { className: "plane", tabIndex: 0 }));
    this.canvas.setAttribute("role", "img");
    this.canvas.addEventListener("click", ({ offsetX, offsetY }) => this.clicked(offsetX, offsetY));
    this.canvas.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (step && this.run?.y.length) this.onClick((this.point + step + this.run.y.length) % this.run.y.length);
    });
    this.striking = new Striking(near, { height, colors, onLight: (unit) => ((this.lit = unit), this.draw()) });
    this.words = near.appendChild(make("div", { className: "near" }));
    this.sized = new ResizeObserver(() => this.draw());
    this.sized.observe(this.canvas);
    this.themed = onTheme(() => ((this.inks = null), this.draw()));
  }

  close() {
    this.sized.disconnect();
    this.themed();
    this.striking.close();
  }

  // run: {sizes, activation, x, y}. x: coordinates of the points, one after the other.
  start(run) {
    const cost = run.sizes.slice(1).reduce((sum, rows, k) => sum + rows * run.sizes[k], 0);
    const side = cost > 700 ? 48 : 64, at = (k) => ((2 * k) / (side - 1) - 1) * SPAN;
    this.grid = [new Float32Array(side * side).map((_, p) => at(p % side)), new Float32Array(side * side).map((_, p) => -at(Math.floor(p / side)))];
    Object.assign(this, { run, side, frame: null, lit: null });
  }

  // Show a frame, with discs by the global (0) or the local bound (1).
  show(frame, point, discs) {
    const { sizes, y } = this.run, units = sizes.slice(1, -1), all = units.reduce((sum, n) => sum + n, 0);
    if (frame !== this.frame) {
      this.net = new Net(this.run, frame.parameters);
      this.found = this.net.through(this.grid);
      this.striking.setMatrices(this.net.layers);
    }
    let at = (this.point = Math.min(point, y.length - 1)) * all;
    this.states = units.map((n) => frame.states.subarray(y.length ? at : 0, y.length ? (at += n) : n));
    if (!y.length) this.states = units.map((n) => new Uint8Array(n).fill(3));
    this.striking.show(this.states);
    Object.assign(this, { frame, radii: frame.discs.subarray(discs * y.length, (discs + 1) * y.length) });
    const varying = this.states.map((found) => found.filter((state) => state > 1).length).join(" + ");
    this.words.textContent = y.length ? this.sentence(varying, all) : "";
    this.draw();
  }

  sentence(varying, all) {
    const { frame, point, radii } = this, proved = radii[point] ? `Certified within ${down(radii[point])}.` : "Its class is wrong.";
    const [here, centred, everywhere] = [frame.local[point], frame.centred[point], frame.everywhere].map(up);
    return `${varying} of ${all} neurons vary within ε of the point: L ≤ ${everywhere} everywhere, ${here} there, ${centred} from the point. ${proved}`;
  }

  clicked(across, down) {
    const scale = this.canvas.clientWidth / 2 / SPAN, x = across / scale - SPAN, y = SPAN - down / scale;
    const far = Array.from(this.run.y, (_, i) => Math.hypot(this.run.x[2 * i] - x, this.run.x[2 * i + 1] - y));
    const nearest = far.indexOf(Math.min(...far));
    this.onClick(far[nearest] * scale < REACH ? nearest : null, x, y, nearest);
  }

  draw() {
    if (!this.frame || !this.canvas.clientWidth) return;
    const size = Math.round(this.canvas.clientWidth * devicePixelRatio), pen = this.canvas.getContext("2d");
    const colors = (this.inks ??= this.colors[Number(isDark(this.canvas))]), scale = size / 2 / SPAN, { x, y } = this.run;
    if (this.canvas.width !== size) this.canvas.width = this.canvas.height = size;
    const place = (i) => [(x[2 * i] + SPAN) * scale, (SPAN - x[2 * i + 1]) * scale], dot = devicePixelRatio;
    this.canvas.setAttribute("aria-label", `The plane: ${y.length} points, ${this.words.textContent} Arrow keys: points`);
    const outputs = this.found.at(-1), margin = outputs[1].map((value, p) => value - outputs[0][p]);
    pen.drawImage(this.tinted(margin, colors), 0, 0, size, size);
    const stroke = (path, color, width, dash = []) => {
      Object.assign(pen, { strokeStyle: color, lineWidth: width * dot }).setLineDash(dash.map((part) => part * dot));
      pen.stroke(path);
    };
    const cell = size / (this.side - 1), [still, moving, picked, border] = [new Path2D(), new Path2D(), new Path2D(), new Path2D()];
    this.states.forEach((states, layer) => states.forEach((state, unit) => {
      const isLit = this.lit?.[0] === layer && this.lit[1] === unit;
      const path = isLit ? picked : state === 3 && y.length ? moving : still;
      for (const line of this.net.bends(this.found, layer, unit)) trace(path, line, this.side, cell);
    }));
    trace(border, margin, this.side, cell);
    stroke(still, colors.kink, 0.8);
    this.discs(pen, colors, place, scale, stroke);
    stroke(moving, colors.local, 1.6);
    stroke(border, colors.ink, 2.2);
    stroke(picked, colors.lit, 3);
    for (let i = 0; i < y.length; i++) {
      const [across, down] = place(i), r = 3 * dot, shape = new Path2D();
      y[i] ? shape.rect(across - 0.87 * r, down - 0.87 * r, 1.74 * r, 1.74 * r) : shape.arc(across, down, r, 0, 7);
      pen.fillStyle = colors.points[y[i]];
      pen.fill(shape);
      stroke(shape, colors.ink, 0.7);
      if (this.radii[i]) continue;
      const cross = new Path2D();
      for (const side of [1, -1]) cross.moveTo(across - 5 * dot, down - side * 5 * dot), cross.lineTo(across + 5 * dot, down + side * 5 * dot);
      stroke(cross, colors.lit, 1.8);
    }
    if (!y.length) return;
    const [ball, ring] = [new Path2D(), new Path2D()];
    ball.arc(...place(this.point), this.frame.eps * scale, 0, 7);
    ring.arc(...place(this.point), 6.5 * dot, 0, 7);
    stroke(ball, colors.local, 2.2, [6, 4]);
    stroke(ring, colors.ink, 2);
  }

  // Discs that reach ε are green with an edge; the others are fainter, and their edges dashed.
  discs(pen, colors, place, scale, stroke) {
    for (const reaches of [false, true]) {
      const all = new Path2D(), color = reaches ? colors.certified : colors.unproved;
      this.radii.forEach((radius, i) => {
        if (!radius || radius >= this.frame.eps !== reaches) return;
        const [across, down] = place(i);
        all.moveTo(across + radius * scale, down);
        all.arc(across, down, radius * scale, 0, 7);
      });
      Object.assign(pen, { fillStyle: color, globalAlpha: reaches ? 0.35 : 0.15 }).fill(all);
      pen.globalAlpha = reaches ? 0.35 : 0.8;
      stroke(all, color, 1, reaches ? [] : [2, 2]);
      pen.globalAlpha = 1;
    }
  }

  tinted(margin, colors) {
    const canvas = new OffscreenCanvas(this.side, this.side), pen = canvas.getContext("2d"), image = pen.createImageData(this.side, this.side);
    const [ground, ...tints] = [colors.ground, ...colors.tints].map(rgb);
    margin.forEach((value, p) => {
      const tint = tints[Number(value > 0)], share = 0.45 + 0.55 * Math.tanh(Math.abs(value) / 3);
      for (let c = 0; c < 3; c++) image.data[4 * p + c] = ground[c] + share * (tint[c] - ground[c]);
      image.data[4 * p + 3] = 255;
    });
    pen.putImageData(image, 0, 0);
    return canvas;
  }
}

// Accuracies over the epochs, in per cent, labelled at their ends; a line at the epoch that is shown.
function curves(canvas, frames, shown, colors) {
  const [wide, tall, dot] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio], pen = canvas.getContext("2d");
  if (!wide) return;
  [canvas.width, canvas.height] = [wide * dot, tall * dot];
  pen.scale(dot, dot);
  const last = Math.max(20, frames.length - 1), left = 28, right = wide - 98, top = 8, low = tall - 18;
  const x = (epoch) => left + ((right - left) * epoch) / last, y = (share) => low - (low - top) * share;
  Object.assign(pen, { font: "11px Arial, sans-serif", fillStyle: colors.quiet, strokeStyle: colors.line, lineWidth: 1 });
  for (const share of [0, 0.5, 1]) {
    pen.strokeRect(left, y(share), right - left, 0);
    pen.fillText(`${100 * share}`.padStart(3, " "), 2, y(share) + 4);
  }
  pen.fillText("0", left, tall - 5);
  pen.fillText(`epoch ${last}`, right - 44, tall - 5);
  let free = -Infinity, after = 3;
  const now = frames[shown].curves, lines = [
    [1, "right", colors.ink, [2, 2]], [3, "certified, local", colors.certified, []], [2, "certified, global", colors.quiet, [6, 3]],
  ];
  for (const [which, , color, dash] of lines) {
    const line = new Path2D();
    frames.forEach((frame, k) => line.lineTo(x(k), y(frame.curves[which])));
    Object.assign(pen, { strokeStyle: color, lineWidth: 2 }).setLineDash(dash);
    pen.stroke(line);
  }
  for (const [which, text, color] of lines.sort((one, other) => now[other[0]] - now[one[0]])) {
    free = Math.max(free + 12, Math.min(y(now[which]), low - 12 * --after) + 4, top + 4);
    pen.fillStyle = color;
    pen.fillText(text, right + 4, free);
  }
  Object.assign(pen, { strokeStyle: colors.lit }).setLineDash([]);
  pen.strokeRect(x(shown), top, 0, low - top);
}

// A frame as the kernel packs it: what can be said in words, and numbers.
export function unpacked(head, buffer, at, { y, sizes }) {
  const points = y.length, units = sizes.slice(1, -1).reduce((sum, n) => sum + n, 0);
  const floats = (count) => new Float32Array(buffer.slice(at, (at += 4 * count)));
  const numbers = { parameters: floats(head.count), local: floats(points), centred: floats(points), discs: floats(2 * points) };
  return { ...head, ...numbers, states: new Uint8Array(buffer.slice(at, at + points * units)) };
}

export function colored(el, colors) {
  const now = colors[Number(isDark(el))];
  for (const name of ["ink", "quiet", "line", "ground", "local"]) el.style.setProperty(`--${name}`, now[name]);
  return now;
}

function render({ model, el }) {
  const colors = model.get("colors"), frames = [];
  let run = null, shown = 0, brush = null, painting = 0, inks = null;
  const box = el.appendChild(make("div", { className: "ll-play" }));
  box.addEventListener("focusin", ({ target }) => (target.dataset.lmSuppressShortcuts = true));  // JupyterLab's arrow keys
  const button = (text, title, press) => make("button", { type: "button", textContent: text, title, onclick: press });
  const tell = (what) => () => model.send({ do: what });
  const play = button("▶ play", "train epoch by epoch", () => tell(model.get("playing") ? "pause" : "play")());
  const scrub = make("input", { type: "range", min: 0, max: 0, value: 0, title: "all epochs that are recorded" });
  scrub.setAttribute("aria-label", "epoch");
  scrub.oninput = () => show(scrub.valueAsNumber);
  const epoch = make("output", { className: "small" }), seed = make("output"), device = make("span", { className: "small" });
  const step = (by) => () => set({ seed: Math.max(0, model.get("settings").seed + by) });
  const bar = make("div", { className: "bar" }, play, button("step", "one epoch", tell("step")),
    button("restart", "from fresh weights", tell("restart")), scrub, epoch,
    make("span", { className: "small", textContent: "seed" }), button("‹", "seed before", step(-1)), seed, button("›", "next seed", step(1)), device);
  const verdict = make("div", { className: "ll-verdict" }), call = make("code", { tabIndex: 0 });
  verdict.setAttribute("role", "status");
  const left = make("div", { className: "left" }), plane = make("div"), right = make("div"), graph = make("canvas", { className: "curves" });
  box.append(bar, verdict, make("div", { className: "all" }, left, plane, right), call);
  const set = (given) => model.send({ set: given });

  const pressed = {}, sliders = {};
  for (const [name, [title, options]] of Object.entries(CHOICES)) {
    const group = left.appendChild(make("fieldset", { className: "group" }, make("legend", { textContent: title })));
    const added = ([value, text]) => [value, group.appendChild(button(text, `${title}: ${text}`, () => choose(name, value)))];
    pressed[name] = Object.entries(options).map(added);
  }
  const brushes = make("div", { className: "group" }, ...["● class 0", "■ class 1"].map((text, label) => button(text, "click in the plane", () => ((brush = label), update()))));
  left.firstChild.append(brushes);
  const lines = left.appendChild(make("div"));
  for (const [name, [text, title, min, max, by]] of Object.entries(SLIDERS)) {
    const input = make("input", { type: "range", min, max, step: by, title }), output = make("output");
    input.setAttribute("aria-label", title);
    input.oninput = () => (output.textContent = number(name, input));
    input.onchange = () => set({ [name]: number(name, input) });
    sliders[name] = [input, output, lines.appendChild(make("label", { className: "line", title }, text, input, output))];
  }
  const number = (name, input) => (name === "rate" ? Number((10 ** input.valueAsNumber).toPrecision(2)) : input.valueAsNumber);
  const stage = new Stage(plane, right, { colors, height: 104, onClick: clicked });
  right.append(graph);
  plane.append(make("div", { className: "small", textContent: LEGEND }));

  function choose(name, value) {
    const { hidden, data } = model.get("settings");
    if (name === "data" && value === "draw") return (brush ??= 0), set({ data: Array.isArray(data) ? data : [] });
    if (name === "data") brush = null;
    const layers = name === "layers" ? Number(value) : hidden.length, width = name === "width" ? Number(value) : hidden[0];
    set(name in { layers, width } ? { hidden: Array(layers).fill(width) } : { [name]: value });
  }

  function clicked(point, x, y, nearest) {
    if (point === null && brush !== null) return model.send({ draw: [x, y, brush] });
    model.set("point", point ?? nearest);
    model.save_changes();
  }

  // What the settings say, on the controls.
  function update() {
    const now = model.get("settings"), own = Array.isArray(now.data), playing = model.get("playing");
    const at = { ...now, data: own ? "draw" : now.data, layers: `${now.hidden.length}`, width: `${now.hidden[0]}` };
    for (const [name, options] of Object.entries(pressed)) for (const [value, each] of options) each.setAttribute("aria-pressed", at[name] === value);
    for (const [name, [input, output, label]] of Object.entries(sliders)) {
      input.value = name === "rate" ? Math.log10(now.rate) : now[name];
      output.textContent = now[name];
      const idle = name in { sparsity: 1, theta: 1 } && (now.activation !== "clipped_relu" || (name === "sparsity" && now.bound !== "local"));
      label.classList.toggle("faint", idle);
    }
    brush = own ? (brush ?? 0) : null;
    brushes.hidden = !own;
    [...brushes.children].forEach((each, label) => each.setAttribute("aria-pressed", brush === label));
    play.textContent = playing ? "❚❚ pause" : "▶ play";
    [seed.textContent, device.textContent, call.textContent] = [now.seed, `running on ${model.get("device")}`, model.get("call")];
  }

  function show(number) {
    const frame = frames[number];
    if (!run || !frame) return;
    shown = number;
    stage.show(frame, model.get("point"), Number(model.get("settings").bound !== "global"));
    [scrub.max, scrub.value, epoch.textContent] = [frames.length - 1, number, `epoch ${number}`];
    verdict.textContent = model.get("trouble") || frame.words;
    curves(graph, frames, shown, (inks ??= colored(box, colors)));
    box.dispatchEvent(new Event("drawn"));
  }

  function paint() {
    painting ||= requestAnimationFrame(() => {
      painting = 0;
      show(frames.length - 1);
      model.send({ painted: frames.length - 1 });
    });
  }

  function told(message, buffers) {
    const whole = buffers.map(({ buffer, byteOffset, byteLength }) => buffer.slice(byteOffset, byteOffset + byteLength));
    if (message.start) {
      run = { ...message.start, x: new Float32Array(whole[0]), y: new Uint8Array(whole[1]) };
      [frames.length, shown] = [0, 0];
      stage.start(run);
    } else if (run && message.frame.number <= frames.length) {
      frames[message.frame.number] = unpacked(message.frame, whole[0], 0, run);
      if (message.frame.number === frames.length - 1) paint();
    }
  }

  const again = () => show(shown), said = "change:settings change:playing change:call change:device";
  const themed = onTheme(() => ((inks = null), again())), forget = keep(model, box);
  model.on("msg:custom", told);
  model.on(said, update);
  model.on("change:point change:trouble", again);
  colored(box, colors);
  update();
  tell("tell")();
  return () => {
    model.off("msg:custom", told);
    model.off(said, update);
    model.off("change:point change:trouble", again);
    for (const end of [themed, forget, () => stage.close()]) end();
  };
}
