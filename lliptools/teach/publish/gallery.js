
// A page of the gallery: a slider of the browser's own picks the picture, and the page's scheme its colours.
const of = (id) => document.getElementById(id);
const [slider, value, summary, figure] = ["slider", "value", "summary", "figure"].map(of);
const pictures = await unpack(Uint8Array.from(atob(of("parcel").textContent), (c) => c.charCodeAt(0)));
const night = matchMedia("(prefers-color-scheme: dark)");
const spell = (position) => (typeof position === "string" ? position : Number(position.toPrecision(4)).toString());
let first = [];  // what else is to be set with the next picture

function recolor(given) {
  if (typeof given === "string") return given.replace(/#[0-9A-Fa-f]{6}\b/g, (color) => pictures.colors[color] ?? color);
  return Array.isArray(given) ? given.map(recolor) : given;
}

const journey = new Journey((from, to) => {
  const moved = changes(pictures, from, to);
  const colored = night.matches ? moved.map(([trace, path, given]) => [trace, path, recolor(given)]) : moved;
  const { style, layout, traces } = grouped([...first, ...colored]);
  Plotly.update(figure, style, layout, traces);
  first = [];
});

// Show the picture at the slider.
function pick() {
  const next = slider.valueAsNumber;
  journey.go(next, pictures.positions.length);
  value.textContent = spell(pictures.positions[next]);
  slider.setAttribute("aria-valuetext", `${value.textContent}, ${slider.labels[0].textContent}`);
  summary.textContent = pictures.texts[next];
}

// The whole figure in the colours of the page.
function turn() {
  journey.forget();
  first = pictures.turned.map(([trace, path, day, dark]) => [trace, path, night.matches ? dark : day]);
  pick();
}

const { data, layout } = JSON.parse(of("spec").textContent);
await Plotly.newPlot(figure, data, layout, JSON.parse(of("config").textContent));
slider.addEventListener("input", pick);
night.addEventListener("change", turn);
turn();
figure.dataset.ready = "";
