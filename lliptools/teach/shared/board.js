// A figure as a page shows it: one sentence, and below it every pair of axes as a small figure of its own, redrawn only
// where a value of it has changed, in the colours of the page, as wide as there is room.

const NARROW = 560, ALONE = 0.3;  // pixels below which panels stand one below the other; share of a wide one
const GLYPHS = {
  square: "■", "square-open": "□", circle: "●", "circle-open": "○", diamond: "◆", "diamond-open": "◇", star: "★",
  "triangle-up": "▲", "triangle-down": "▼", "triangle-up-open": "△",
};
const DASHES = { dash: "╌", dot: "┈", dashdot: "╌·", longdash: "╌╌", longdashdot: "╌╌·" };

// A colour #RRGGBB for a dark page: greys and tints change sides, full colours get a little lighter.
const DARKEST = 0.09, OWN = { "#002B45": "#D7EAF7" };  // what varies is darkest on a light page, and brightest here
export function darkColor(color) {
  if (OWN[color]) return OWN[color];
  const [r, g, b] = [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16) / 255);
  const top = Math.max(r, g, b), low = Math.min(r, g, b), span = top - low;
  let light = (top + low) / 2, full = span && span / (1 - Math.abs(2 * light - 1));
  const hue = !span ? 0 : top === r ? ((g - b) / span + 6) % 6 : top === g ? (b - r) / span + 2 : (r - g) / span + 4;
  if (full < 0.15) light = 1 - light * (1 - DARKEST);
  else if (light > 0.72) [light, full] = [0.15 + 0.5 * (1 - light), 0.7 * full];
  else if (light < 0.45) light += 0.06;
  const part = (n) => light - full * Math.min(light, 1 - light) * Math.max(-1, Math.min(n - 3, 9 - n, 1));
  const hex = [0, 8, 4].map((n) => Math.round(255 * part((n + 2 * hue) % 12)).toString(16).padStart(2, "0"));
  return `#${hex.join("").toUpperCase()}`;
}

function recolored(given) {
  if (typeof given === "string") return given.replace(/#[0-9A-Fa-f]{6}\b/g, darkColor);
  if (!given || typeof given !== "object" || ArrayBuffer.isView(given)) return given;
  if (Array.isArray(given)) return typeof given[0] === "number" && typeof given.at(-1) !== "string" ? given : given.map(recolored);
  return Object.fromEntries(Object.entries(given).map(([name, inner]) => [name, recolored(inner)]));
}

const POINTS = new Set(["x", "y", "hovertemplate"]);
const narrowly = matchMedia("(pointer: coarse)");  // a finger scrolls the page, and zooms nothing
const made = (kind, name, parent) => {
  const element = document.createElement(kind);
  element.className = name;
  parent.append(element);
  return element;
};

export class Board {
  // movable: traces on whose panels a hand moves something; moved(trace, x, y): called with where it is.
  constructor(parent, Plotly, config, movable = [], moved = () => {}) {
    Object.assign(this, { Plotly, config, movable, moved, panels: [], figure: null });
    this.element = made("div", "ll-board", parent);
    this.words = made("div", "ll-words", this.element);
    this.words.setAttribute("role", "status");
    this.field = made("div", "ll-panels", this.element);
    this.names = made("div", "ll-names", this.field);
    this.element.shown = () => this.figure;
    this.sized = new ResizeObserver(() => this.fit());
    this.sized.observe(this.field);
    this.themed = onTheme(this.turn);
  }

  remove() {
    this.sized.disconnect();
    this.themed();
    this.striking?.close();
    this.panels.forEach(({ plot }) => this.Plotly.purge(plot));
    this.element.remove();
  }

  // The first line is for the eye, the others for those who listen, and for a pointer that rests.
  say(lines) {
    const [verdict, ...more] = lines;
    this.words.replaceChildren();
    made("p", "ll-verdict", this.words).textContent = verdict;
    made("p", "ll-more", this.words).textContent = more.join("\n");
    this.words.title = lines.join("\n");
  }

  // Draw a whole figure, {data, layout}; places: what has changed of it, [trace or null, path], null for everything.
  draw(figure, places = null) {
    this.figure = figure;
    const keys = Object.keys(figure.layout).filter((key) => /^xaxis\d*$/.test(key)).map((key) => key.slice(5));
    if (`${keys}` !== `${this.panels.map(({ key }) => key)}` || !this.panels.length) {
      this.panels.forEach(({ plot }) => this.Plotly.purge(plot));
      this.field.replaceChildren(this.names, ...(this.strip ? [this.strip] : []));
      this.panels = keys.map((key) => this.#open(key));
      places = null;
    }
    const owners = places?.map((place) => this.#owner(place)), all = !places || owners.includes(null);
    const whole = new Set(owners?.filter((_, k) => !this.#still(places[k])));
    this.#paint(this.panels.filter(({ key }) => all || owners.includes(key)), ({ key }) => all || whole.has(key));
    this.#strike(figure.layout);
  }

  // Weight matrices, where the figure has any: the canvas of striking.js beside the panels.
  #strike({ meta, height, margin: { l, r, t, b } = {} }) {
    const weights = meta?.weights;
    if (this.strip) this.strip.hidden = !weights?.values;
    if (!weights?.values) return;
    const wide = this.field.clientWidth, tall = height - t - b, narrow = wide < NARROW, [[left, right], [low, high]] = weights.area;
    const size = Math.round((high - low) * tall) - STRIP - HEAD - SAID - 4;
    if (!this.strip) {
      this.strip = made("div", "ll-weights", this.field);
      this.striking = new Striking(this.strip, { height: size, colors: weights.colors });
    }
    const at = narrow ? { width: "100%" } : {
      left: `${l + left * (wide - l - r)}px`, top: `${t + (1 - high) * tall}px`, width: `${(right - left) * (wide - l - r)}px`,
    };
    Object.assign(this.strip.style, { position: narrow ? "relative" : "absolute", left: "0", top: "0" }, at);
    if (this.struck !== weights.values) {
      const values = numbers(weights.values, Float32Array), matrices = [];
      let from = 0;
      for (const [rows, columns] of weights.shapes) {
        matrices.push({ rows, columns, values: values.subarray(from, (from += rows * columns)) });
      }
      this.striking.setMatrices(matrices);
    }
    this.struck = weights.values;
    const states = numbers(weights.states, Uint8Array), sizes = weights.shapes.slice(0, -1).map(([rows]) => rows);
    let from = 0;
    this.striking.show(sizes.map((count) => states.subarray(from, (from += count))), numbers(weights.boxes, Float32Array));
  }

  // Whether a place is of points, or of a title, which is no text of plotly's.
  #still([trace, path]) {
    const text = path.match(/^annotations\[(\d+)\]\.text$/);
    return trace === null ? this.figure.layout.annotations[text?.[1]]?.name === "title" : POINTS.has(path);
  }

  // The panel of a place, null for all of them; weights have their canvas.
  #owner([trace, path]) {
    const { data, layout } = this.figure;
    if (trace !== null) return (data[trace].xaxis ?? "x").slice(1);
    if (path.startsWith("meta")) return undefined;
    const axis = path.match(/^[xy]axis(\d*)/), text = path.match(/^annotations\[(\d+)\]/);
    return axis ? axis[1] : text ? this.#home(layout.annotations[text[1]]) : null;
  }

  // The panel of a text: the one that it is placed by, or the nearest one.
  #home({ x, y, xref = "paper" }) {
    if (xref !== "paper") return xref.match(/^x(\d*)/)[1];
    const away = (key) => {
      const [across, up] = this.#area(key);
      return Math.hypot(Math.max(across[0] - x, 0, x - across[1]), Math.max(up[0] - y, 0, y - up[1]));
    };
    return this.panels.map(({ key }) => key).reduce((one, other) => (away(other) < away(one) ? other : one));
  }

  #area(key) {
    const { layout } = this.figure;
    return [layout[`xaxis${key}`].domain ?? [0, 1], layout[`yaxis${key}`].domain ?? [0, 1]];
  }

  #open(key) {
    const box = made("figure", "ll-panel", this.field);
    const panel = { key, box, title: made("figcaption", "ll-title", box), plot: made("div", "ll-plot", box) };
    panel.traces = () => this.figure.data.flatMap((trace, k) => ((trace.xaxis ?? "x").slice(1) === key ? [k] : []));
    return panel;
  }

  // whole: whether axes and texts of a panel may have changed too; plotly takes most of its time for these.
  #paint(panels, whole = () => true) {
    const { layout } = this.figure, wide = this.field.clientWidth;
    if (!wide) return;
    const { l = 0, r = 0, t = 0, b = 0 } = layout.margin ?? {}, narrow = wide < NARROW, dark = (this.dark = isDark(this.element));
    this.element.classList.toggle("ll-narrow", narrow);
    this.field.style.height = narrow ? "auto" : `${layout.height}px`;
    const tall = layout.height - t - b;
    for (const panel of panels) {
      const { key, box, title, plot, traces } = panel;
      const [[left, right], [low, high]] = this.#area(key), across = layout[`xaxis${key}`], up = layout[`yaxis${key}`];
      const bare = (axis) => axis.visible === false || axis.showticklabels === false;
      const names = (up.ticktext ?? []).map((text) => text.replace(/<[^>]*>/g, "").length);
      const margin = { l: bare(up) ? 4 : Math.max(40, 12 + 7 * Math.max(0, ...names)), r: 10, t: 6, b: bare(across) ? 4 : 22, pad: 0 };
      if (up.title?.text && up.visible !== false) margin.l += 18;
      if (across.title?.text && across.visible !== false) margin.b += 16;
      const share = narrow && right - left < ALONE ? 0.49 : 1;
      const start = narrow ? 0 : l + left * (wide - l - r) - margin.l;  // where names are long, the panel gives way
      const width = Math.max(20, narrow ? share * wide - margin.l - margin.r : (right - left) * (wide - l - r) + Math.min(start, 0));
      const height = narrow && up.scaleanchor ? Math.min((high - low) * tall, width) : (high - low) * tall;
      box.style.left = `${Math.max(start, 0)}px`;
      box.style.top = narrow ? 0 : `${t + (1 - high) * tall - margin.t}px`;
      const head = layout.annotations?.find(({ name, ...text }) => name === "title" && this.#home(text) === key);
      title.innerHTML = head ? head.text : "";
      title.style.left = `${margin.l}px`;
      title.style.width = narrow ? "auto" : `${width + 12}px`;
      this.#name(title, traces().map((k) => this.figure.data[k]), dark);
      const size = { width: width + margin.l + margin.r, height: height + margin.t + margin.b };
      const [data, shown] = [traces().map((k) => this.#trace(this.figure.data[k])), this.#layout(key, margin, size)];
      box.style.width = narrow ? `${100 * share}%` : `${size.width}px`;
      if (!whole(panel)) shown.transition = { duration: 0 };
      if (dark) title.innerHTML = recolored(title.innerHTML);
      this.Plotly.react(plot, dark ? recolored(data) : data, dark ? recolored(shown) : shown, this.config);
      const moved = traces().find((k) => this.movable.includes(k));
      if (moved !== undefined && !plot.answers) this.#drag(plot, key, moved);
    }
    this.element.dispatchEvent(new Event("drawn"));
  }

  // A hand that is pressed on a panel, and moves there, says where it is.
  #drag(plot, key, trace) {
    plot.answers = true;
    const tell = (event) => {
      const area = plot.querySelector(".nsewdrag").getBoundingClientRect(), { layout } = this.figure;
      const at = (letter, part) => {
        const [low, high] = layout[`${letter}axis${key}`].range;
        return low + Math.min(1, Math.max(0, part)) * (high - low);
      };
      this.moved(trace, at("x", (event.clientX - area.left) / area.width), at("y", (area.bottom - event.clientY) / area.height));
    };
    plot.addEventListener("pointerdown", (event) => {
      if (!event.target.classList.contains("nsewdrag")) return;
      tell(event);
      addEventListener("pointermove", tell);
      addEventListener("pointerup", () => removeEventListener("pointermove", tell), { once: true });
    });
  }

  #trace(trace) {
    const { xaxis, yaxis, legend, ...rest } = trace;
    return { ...rest, showlegend: false };
  }

  #layout(key, margin, size) {
    const { layout } = this.figure, [across, up] = this.#area(key);
    const kept = Object.entries(layout).filter(([name]) => !/^([xy]axis|legend|annotations|margin|title|width|meta)/.test(name));
    const axis = (letter, other) => {
      const { domain, anchor, scaleanchor, ...rest } = layout[`${letter}axis${key}`];
      return { ...rest, anchor: other, ...(scaleanchor ? { scaleanchor: other } : {}) };
    };
    const annotations = (layout.annotations ?? []).filter((text) => text.name !== "title" && this.#home(text) === key);
    const moves = this.movable.some((k) => (this.figure.data[k].xaxis ?? "x").slice(1) === key);
    return {
      ...Object.fromEntries(kept), dragmode: moves || narrowly.matches ? false : "zoom", ...size, margin, showlegend: false, xaxis: axis("x", "y"), yaxis: axis("y", "x"),
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      annotations: annotations.map((text) => placed(text, across, up)),
    };
  }

  // What the traces of a panel are called: behind its title, or above all panels where the figure has a legend.
  #name(title, traces, dark) {
    const told = traces.filter(({ name, showlegend }) => name && showlegend), { legend } = this.figure.layout;
    const place = legend ? this.names : title;
    if (legend && told.length) {
      this.names.replaceChildren();
      this.names.style.left = `${100 * legend.x}%`;
    }
    for (const { name, type, mode = "", marker = {}, line = {} } of told) {
      const bar = type === "bar", pattern = marker.pattern?.shape;
      const glyph = bar ? (pattern ? "▨" : marker.color === "#FFFFFF" ? "□" : "■")
        : mode.includes("markers") ? GLYPHS[marker.symbol ?? "circle"] ?? "●" : DASHES[line.dash] ?? "━";
      const one = made("span", "ll-name", place), color = bar ? marker.color : line.color ?? marker.color;
      const sign = made("span", "", one);
      sign.textContent = `${glyph} `;
      if (typeof color === "string" && color !== "#FFFFFF") sign.style.color = dark ? darkColor(color) : color;
      one.append(name);
    }
  }

  fit() {
    if (this.figure && this.field.clientWidth !== this.last) {
      this.#paint(this.panels);
      if (this.strip) this.#strike(this.figure.layout);
    }
    this.last = this.field.clientWidth;
  }

  turn = () => {
    if (this.figure && isDark(this.element) !== this.dark) this.#paint(this.panels);
  };
}

// Numbers of a figure, as they came or as plotly spells them in JSON.
const numbers = (given, Kind) => (given.bdata ? new Kind(Uint8Array.from(atob(given.bdata), (c) => c.charCodeAt(0)).buffer) : given);

// A text of the whole figure, placed in its panel.
function placed({ xref = "paper", yref = "paper", x, y, ...rest }, across, up) {
  const inside = (ref, at, [low, high]) => (ref === "paper" ? (at - low) / (high - low) : at);
  const named = (ref, letter) => (ref === "paper" || ref.endsWith("domain") ? `${letter} domain` : letter);
  return { ...rest, xref: named(xref, "x"), yref: named(yref, "y"), x: inside(xref, x, across), y: inside(yref, y, up) };
}
