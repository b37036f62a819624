// Figures on their way to the browser, packed by transport.py: unpack them, say what changes from one to another, and,
// as a widget, show what the kernel sends, or the picture at which a slider stands without asking the kernel.

const TYPES = {
  int8: Int8Array, int16: Int16Array, int32: Int32Array, float32: Float32Array, float64: Float64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array,
};

// The pictures in a compressed bundle (bytes).
export async function unpack(bundle) {
  const stream = new Blob([bundle]).stream().pipeThrough(new DecompressionStream("deflate"));
  return read(await new Response(stream).arrayBuffer());
}

// The same of an ArrayBuffer that is not compressed.
export function read(whole) {
  const start = 4 + new DataView(whole).getUint32(0, true);
  const pictures = JSON.parse(new TextDecoder().decode(new Uint8Array(whole, 4, start - 4)));
  for (const property of pictures.properties) {
    property.values = property.values.map((value) => (value?.dtype ? array(whole, start, value) : value));
  }
  return pictures;
}

// Each row has a buffer of its own: what takes it may take all of its buffer.
function array(whole, start, { dtype, shape, from }) {
  const wide = shape.at(-1) * TYPES[dtype].BYTES_PER_ELEMENT;
  const row = (k) => new TYPES[dtype](whole.slice(start + from + k * wide, start + from + (k + 1) * wide));
  return shape.length === 1 ? row(0) : Array.from({ length: shape[0] }, (_, k) => row(k));
}

// The picture nearest to a value of the slider.
function nearest(positions, value) {
  const far = positions.map((position) => Math.abs(position - value));
  return far.indexOf(Math.min(...far));
}

// Values at places, [trace or null, path, value], as Plotly.update takes them.
export function grouped(entries) {
  const traces = [...new Set(entries.map(([trace]) => trace))].filter((trace) => trace !== null);
  const style = {}, layout = {};
  for (const [trace, path, value] of entries) {
    if (trace === null) layout[path] = value;
    else (style[path] ??= Array(traces.length).fill(undefined))[traces.indexOf(trace)] = value;
  }
  return { style, layout, traces };
}

// The same values as Plotly.newPlot takes them.
function nested(entries) {
  const data = [], layout = {};
  for (const [trace, path, value] of entries) {
    const steps = path.match(/[^.[\]]+/g), last = steps.at(-1);
    let at = trace === null ? layout : (data[trace] ??= {});
    steps.slice(1).forEach((next, k) => (at = at[steps[k]] ??= /^\d+$/.test(next) ? [] : {}));
    at[last] = value;
  }
  return { data, layout };
}

// What changes from picture `from`, or from any where it is null, to picture `to`.
export function changes({ properties }, from, to) {
  const moved = properties.filter(({ picks }) => from === null || picks[from] !== picks[to]);
  return moved.map(({ trace, path, values, picks }) => [trace, path, values[picks[to]]]);
}

const LEAP = 0.05, STOPS = 6, PAUSE = 25;  // of all pictures; pictures of a leap; milliseconds at each

// Goes from picture to picture: to one that is near at once, on a leap by some in between, so that what shrinks is seen
// to shrink. show(from, to) draws, from null where nothing is known of what stands there.
export class Journey {
  constructor(show) {
    Object.assign(this, { show, shown: null, later: null });
  }

  forget() {
    clearTimeout(this.later);
    this.shown = null;
  }

  go(to, count) {
    clearTimeout(this.later);
    const from = this.shown ?? to, far = Math.abs(to - from), leap = far > Math.max(2, LEAP * count);
    const stops = leap && !matchMedia("(prefers-reduced-motion: reduce)").matches ? Math.min(STOPS, far) : 1;
    const stop = (k) => {
      const next = k === stops ? to : from + Math.round(((to - from) * k) / stops);
      if (next !== this.shown) this.show(this.shown, next);
      this.shown = next;
      if (k < stops) this.later = setTimeout(stop, PAUSE, k + 1);
    };
    stop(1);
  }
}

const LOADED = Symbol.for("lliptools: plotly.js by version");
const bytes = ({ buffer, byteOffset, byteLength }) => buffer.slice(byteOffset, byteOffset + byteLength);
const found = (model, reference) => model.widget_manager.get_model(reference.replace("IPY_MODEL_", ""));

// The plotly.js that a carrier brings, read once a page. It finds a module of its own, and no loader of the page's.
const plotly = (carrier) => ((globalThis[LOADED] ??= {})[carrier.get("version")] ??= run(carrier.get("code")));

async function run(code) {
  const own = "const module = { exports: {} }, exports = module.exports, define = undefined;\n";
  const address = URL.createObjectURL(new Blob([own, code, "\nexport default module.exports;"], { type: "text/javascript" }));
  const { default: found } = await import(address);
  URL.revokeObjectURL(address);
  return found;
}

// What carries plotly.js: it is read as soon as it is there, while nobody waits.
export const carrier = { initialize: ({ model }) => void plotly(model) };

// A figure: what stands in it, and the elements of the page that show it.
export const screen = () => {
  const present = new Map(), elements = new Set();
  let config, Plotly, version = 0;

  function draw(entries) {
    version += 1;
    for (const entry of entries) present.set(`${entry[0]} ${entry[1]}`, entry);
    const { style, layout, traces } = grouped(entries);
    for (const element of elements) Plotly.update(element, style, layout, traces);
  }

  async function initialize({ model }) {
    const first = read(bytes(model.get("whole")));
    config = first.config;
    draw(changes(first, null, 0));
    model.on("msg:custom", (_, [moved]) => draw(changes(read(bytes(moved)), null, 0)));
    if (model.get("count") !== first.count) model.send({ missed: true });
    if (model.get("followed").length) await follow(model, draw);
  }

  async function render({ model, el }) {
    Plotly ??= await plotly(await found(model, model.get("carrier")));
    const element = document.createElement("div");
    el.append(element);
    for (let drawn = null; drawn !== version; ) {
      drawn = version;
      const { data, layout } = nested(present.values());
      await Plotly.newPlot(element, data, layout, config);
    }
    elements.add(element);
    element.on("plotly_click", ({ points: [{ curveNumber, x, y }] }) => model.send({ clicked: [curveNumber, x, y] }));
    return () => {
      elements.delete(element);
      Plotly.purge(element);
    };
  }

  return { initialize, render };
};

// Pictures made beforehand: at the slider's next move the one nearest to it is drawn, as long as the other controls stay.
async function follow(model, draw) {
  const [slider, words, ...others] = await Promise.all(model.get("followed").map((each) => found(model, each)));
  let pictures = null, newest = 0;
  const journey = new Journey((from, to) => draw(changes(pictures, from, to)));

  function pick() {
    if (!pictures) return;
    const next = nearest(pictures.positions, slider.get("value"));
    words.set_state({ value: pictures.texts[next] });  // as if the kernel had said it: it is not sent back
    journey.go(next, pictures.positions.length);
  }

  // Once another control has moved the figure is the kernel's, until it sends the next bundle.
  function drop() {
    journey.forget();
    pictures = null;
  }

  async function load() {
    const mine = ++newest, bundle = model.get("bundle");
    if (!bundle?.byteLength) return;
    const unpacked = await unpack(bundle);
    if (mine !== newest) return;
    drop();
    if (others.every((other, k) => other.get(unpacked.keys[k]) === unpacked.given[k])) pictures = unpacked;
    pick();
  }

  others.forEach((other) => other.on("change:value change:index", drop));
  slider.on("change:value", pick);
  model.on("change:bundle", load);
  await load();
}
