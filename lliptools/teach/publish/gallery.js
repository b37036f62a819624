
// A page of the gallery: a slider of the browser's own picks the picture.
const of = (id) => document.getElementById(id);
const [slider, value] = ["slider", "value"].map(of);
const pictures = await unpack(Uint8Array.from(atob(of("parcel").textContent), (c) => c.charCodeAt(0)));
const spell = (position) => (typeof position === "string" ? position : Number(position.toPrecision(4)).toString());
const figure = JSON.parse(of("spec").textContent);
const board = new Board(of("figure"), Plotly, JSON.parse(of("config").textContent));

const journey = new Journey((from, to) => {
  const moved = changes(pictures, from, to);
  board.say(pictures.texts[to].split("\n"));
  board.draw(fill(figure, moved), from === null ? null : moved);
});

// Show the picture at the slider.
function pick() {
  const next = slider.valueAsNumber;
  journey.go(next, pictures.positions.length);
  value.textContent = spell(pictures.positions[next]);
  slider.setAttribute("aria-valuetext", `${value.textContent}, ${slider.labels[0].textContent}`);
}

slider.addEventListener("input", pick);
pick();
of("figure").dataset.ready = "";
