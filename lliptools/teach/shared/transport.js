// Figures on their way to the browser, packed by transport.py: unpack them, say what changes from one to another, and,
// as a widget, show what the kernel sends, or the picture at which a slider stands without asking the kernel. A figure is
// painted by board.js.

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

// Whether a control stands elsewhere: its view brings 1 to 0.9999999999999996, a whole number of steps from its end.
const apart = (one, other) => (typeof one === "number" ? !(Math.abs(one - other) <= 1e-9 * Math.max(1, Math.abs(one))) : one !== other);

// Puts values at places, [trace or null, path, value], into a figure {data, layout}.
export function fill(figure, entries) {
  for (const [trace, path, value] of entries) {
    const steps = path.match(/[^.[\]]+/g), last = steps.at(-1);
    let at = trace === null ? figure.layout : (figure.data[trace] ??= {});
    steps.slice(1).forEach((next, k) => (at = at[steps[k]] ??= /^\d+$/.test(next) ? [] : {}));
    at[last] = value;
  }
  return figure;
}

// What changes from picture `from`, or from any where it is null, to picture `to`.
export function changes({ properties }, from, to) {
  const moved = properties.filter(({ picks }) => from === null || picks[from] !== picks[to]);
  return moved.map(({ trace, path, values, picks }) => [trace, path, values[picks[to]]]);
}

const PATIENCE = 300;  // milliseconds
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

// A figure and its words: what stands there, and the boards of the page that show it.
export const screen = () => {
  const figure = { data: [], layout: {} }, boards = new Set();
  let config, Plotly, lines = [];

  function draw(entries, said) {
    fill(figure, entries);
    lines = said;
    for (const board of boards) show(board, entries);
  }

  function show(board, entries) {
    board.say(lines);
    board.draw(figure, entries);
  }

  async function initialize({ model }) {
    const first = read(bytes(model.get("whole")));
    config = first.config;
    draw(changes(first, null, 0), first.lines);
    const controls = await Promise.all(model.get("controls").map((each) => found(model, each)));
    const keys = first.keys;
    let at = first.at, pictures = () => null;  // the first bundle may be there before follow returns
    pictures = await follow(model, controls, keys, draw, grey);

    // What the controls do not stand at is grey until the kernel has drawn it.
    function grey() {
      const packed = pictures(), stale = !packed && controls.some((control, k) => apart(control.get(keys[k]), at[k]));
      for (const { element } of boards) {
        element.classList.toggle("ll-stale", stale);
        element.closest(".ll-explorer")?.classList.toggle("ll-packed", packed !== null);
      }
    }

    model.on("msg:custom", (_, [moved]) => {
      answered(model);
      const told = read(bytes(moved));
      at = told.at;
      draw(changes(told, null, 0), told.lines);
      grey();
    });
    for (const control of controls) control.on("change:value change:index", grey);
    if (model.get("count") !== first.count) model.send({ missed: true });
    grey();
  }

  async function render({ model, el }) {
    Plotly ??= await plotly(await found(model, model.get("carrier")));
    const board = new Board(el, Plotly, config, model.get("movable"), (...moved) => tell(model, moved));
    boards.add(board);
    const forget = keep(model, board.element);
    show(board, null);
    return () => {
      forget();
      boards.delete(board);
      board.remove();
    };
  }

  // Where a hand is: the next is said when the kernel has drawn the last, or has nothing to draw.
  let next = null, waiting = 0;
  function tell(model, moved) {
    next = moved;
    if (waiting) return;
    waiting = setTimeout(answered, PATIENCE, model);
    model.send({ moved: next });
    next = null;
  }

  function answered(model) {
    clearTimeout(waiting);
    waiting = 0;
    if (next) tell(model, next);
  }

  return { initialize, render };
};

// Pictures made beforehand: at the next move of the slider that picks them the one nearest to it is drawn, as long as the
// other controls stay. Returns what gives them, null where there are none for what the controls stand at.
async function follow(model, controls, keys, draw, changed) {
  let pictures = null, newest = 0;
  const journey = new Journey((from, to) => draw(changes(pictures, from, to), pictures.texts[to]));
  const picks = (k) => k === model.get("framed");
  const moved = (k, { given }) => !picks(k) && apart(controls[k].get(keys[k]), given[k]);
  const at = () => {
    const k = model.get("framed"), here = controls[k].get(keys[k]);
    return keys[k] === "index" ? here : nearest(pictures.positions, here);
  };

  function pick() {
    if (pictures) journey.go(at(), pictures.positions.length);
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
    if (!controls.some((_, k) => moved(k, unpacked))) pictures = unpacked;
    pick();
    changed();
  }

  controls.forEach((control, k) => control.on("change:value change:index", () => {
    if (picks(k)) pick();
    else if (pictures && moved(k, pictures)) drop();
  }));
  model.on("change:bundle", load);
  await load();
  return () => pictures;
}
