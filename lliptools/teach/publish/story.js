// The page of the three recorded runs, after striking.js and playground.js: one scrubber for all, and no kernel.
const of = (id) => document.getElementById(id), slider = of("slider");
const packed = Uint8Array.from(atob(of("parcel").textContent), (c) => c.charCodeAt(0));
const whole = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
const length = new DataView(whole).getUint32(0, true);
const { colors, runs } = JSON.parse(new TextDecoder().decode(new Uint8Array(whole, 4, length)));
let at = 4 + length, timer = null;
const PAUSE = 90;  // milliseconds at an epoch

for (const run of runs) {
  run.x = new Float32Array(whole.slice(at, (at += 8 * run.points)));
  run.y = new Uint8Array(whole.slice(at, (at += run.points)));
  run.frames = run.frames.map((head) => {
    const frame = unpacked(head, whole, at, run);
    at += head.size;
    return frame;
  });
  const plane = make("div"), near = make("div");
  run.said = make("p", { className: "result" });
  of("runs").append(make("section", {}, make("h2", { textContent: run.title }), plane, run.said, near));
  run.stage = new Stage(plane, near, { colors, height: 76, onClick: (point, x, y, nearest) => pick(point ?? nearest) });
  run.stage.start(run);
}
let point = runs[0].point;
const button = make("button", { id: "play", type: "button", textContent: "▶ play" });

function show() {
  const epoch = slider.valueAsNumber;
  colored(of("runs"), colors);
  for (const { stage, frames, discs, said } of runs) {
    stage.show(frames[epoch], point, discs);
    const [, clean, ...certified] = frames[epoch].curves;
    said.replaceChildren(make("b", { textContent: percent(certified[discs]) }), ` certified, ${percent(clean)} right`);
  }
  of("value").textContent = epoch;
  slider.setAttribute("aria-valuetext", `epoch ${epoch}`);
  of("summary").textContent = runs.map(({ title, said }) => `${title}: ${said.textContent}`).join("; ");
}

function pick(nearest) {
  point = nearest;
  show();
}

// Plays to the end, from the beginning where it stands there already.
function play() {
  if (timer) [timer, button.textContent] = [clearInterval(timer), "▶ play"];
  else {
    if (slider.value === slider.max) slider.value = 0;
    button.textContent = "❚❚ pause";
    timer = setInterval(() => (slider.value === slider.max ? play() : ((slider.valueAsNumber += 1), show())), PAUSE);
  }
}

slider.parentElement.prepend(button);
slider.addEventListener("input", show);
button.addEventListener("click", play);
onTheme(show);
show();
of("runs").dataset.ready = "";
