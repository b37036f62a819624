// Pictures of one figure, packed by frames.py: unpack them, say what changes from one to another, and, as a widget,
// show the picture at which a slider stands without asking the kernel.

const TYPES = {
  int8: Int8Array, int16: Int16Array, int32: Int32Array, float32: Float32Array, float64: Float64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array,
};

// The pictures in a parcel (bytes). `wrap` is how the receiver takes an array of numbers.
export async function unpack(parcel, wrap = (array) => array) {
  const stream = new Blob([parcel]).stream().pipeThrough(new DecompressionStream("deflate"));
  const whole = await new Response(stream).arrayBuffer();
  const start = 4 + new DataView(whole).getUint32(0, true);
  const pictures = JSON.parse(new TextDecoder().decode(new Uint8Array(whole, 4, start - 4)));
  for (const property of pictures.properties) {
    property.values = property.values.map((value) => (value?.dtype ? array(whole, start, value, wrap) : value));
  }
  return pictures;
}

// Each row has a buffer of its own: what takes it may take all of its buffer.
function array(whole, start, { dtype, shape, from }, wrap) {
  const wide = shape.at(-1) * TYPES[dtype].BYTES_PER_ELEMENT;
  const row = (k) => wrap(new TYPES[dtype](whole.slice(start + from + k * wide, start + from + (k + 1) * wide)), dtype);
  return shape.length === 1 ? row(0) : Array.from({ length: shape[0] }, (_, k) => row(k));
}

// The picture nearest to a value of the slider.
export function nearest(positions, value) {
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

async function initialize({ model }) {
  const find = (reference) => model.widget_manager.get_model(reference.replace("IPY_MODEL_", ""));
  const [figure, slider, summary, ...others] = await Promise.all(model.get("followed").map(find));
  let pictures = null, newest = 0;
  const journey = new Journey((from, to) => {
    const { style, layout, traces } = grouped(changes(pictures, from, to));
    const update = { style_data: style, layout_data: layout, style_traces: traces, trace_edit_id: -1, layout_edit_id: -1 };
    // set_state, as if the kernel had said it: it is not sent back.
    figure.set_state({ _py2js_update: update });
    figure.set_state({ _py2js_update: null });
  });

  function pick() {
    if (!pictures || !Object.keys(figure.views ?? {}).length) return;  // a figure whose cell has run again is gone
    const next = nearest(pictures.positions, slider.get("value"));
    summary.set_state({ value: pictures.texts[next] });
    journey.go(next, pictures.positions.length);
  }

  async function load() {
    const mine = ++newest, parcel = model.get("parcel");
    if (!parcel?.byteLength) return;
    const found = await unpack(parcel, (value, dtype) => ({ value, dtype, shape: [value.length] }));
    if (mine !== newest) return;
    drop();
    if (others.every((other, k) => other.get(found.keys[k]) === found.given[k])) pictures = found;
    pick();
  }

  // Once another control has moved the figure is the kernel's, until it sends the next parcel.
  const drop = () => {
    journey.forget();
    pictures = null;
  };
  others.forEach((other) => other.on("change:value change:index", drop));
  slider.on("change:value", pick);
  model.on("change:parcel", load);
  await load();
}

export default { initialize };
