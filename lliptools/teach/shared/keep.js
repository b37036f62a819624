// What stands in a notebook that is opened again without its kernel: the last picture of an explorer. JupyterLab looks
// there for the state of widgets that its kernel does not know, so a picture is written in place of the explorer.

const kept = new Map();  // by the model that a cell shows: the last picture, as HTML
const STATE = "application/vnd.jupyter.widget-state+json";
const watched = new WeakSet(), WAIT = 1500;  // milliseconds of rest after which a picture is taken

export function keep(model, element) {
  const context = model.widget_manager.context;
  if (!context?.saveState) return () => {};
  if (!watched.has(context)) context.saveState.connect((_, what) => what === "started" && write(context.model));
  watched.add(context);
  let timer;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(async () => element.isConnected && kept.set(model.get("home"), await pictured(element)), WAIT);
  };
  element.addEventListener("drawn", later);
  return () => clearTimeout(timer);
}

// Puts the pictures of those explorers into a notebook that stand in one of its cells.
function write(notebook) {
  const cells = JSON.stringify(notebook.sharedModel.cells.map((cell) => cell.toJSON().outputs ?? []));
  const { widgets = {}, ...rest } = notebook.sharedModel.metadata, known = widgets[STATE] ?? {};
  const state = Object.fromEntries(Object.entries(known.state ?? {}).filter(([id]) => cells.includes(id.slice(0, 32))));
  const base = "@jupyter-widgets/base", controls = "@jupyter-widgets/controls";
  for (const [id, value] of kept) {
    if (!cells.includes(id) || (state[id] && state[id].model_name !== "HTMLModel")) continue;
    const model = (model_name, model_module, inner) => ({ model_name, model_module, model_module_version: "2.0.0", state: inner });
    state[`${id}-layout`] = model("LayoutModel", base, {});
    state[`${id}-style`] = model("HTMLStyleModel", controls, {});
    const look = { layout: `IPY_MODEL_${id}-layout`, style: `IPY_MODEL_${id}-style` };
    state[id] = model("HTMLModel", controls, { value, ...look });
  }
  if (kept.size) notebook.setMetadata("widgets", { [STATE]: { version_major: 2, version_minor: 0, state } });
}

// What an element looks like, with words below it, as HTML.
async function pictured(element) {
  const { width, height } = element.getBoundingClientRect(), copy = element.cloneNode(true);
  const canvases = [...copy.querySelectorAll("canvas")];
  element.querySelectorAll("canvas").forEach((canvas, k) => {
    const image = new Image();
    image.src = canvas.toDataURL();
    image.style.cssText = `width: ${canvas.clientWidth}px; height: ${canvas.clientHeight}px; display: block`;
    canvases[k].replaceWith(image);
  });
  const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]).filter((rule) => rule.cssText.includes("ll-"));
  const ground = isDark(element) ? "#111" : "#fff", ink = getComputedStyle(element).color;
  const box = document.createElement("div");
  box.style.cssText = `background: ${ground}; color: ${ink}; width: ${width}px`;
  box.append(Object.assign(document.createElement("style"), { textContent: rules.map((rule) => rule.cssText).join("\n") }), copy);
  const inner = new XMLSerializer().serializeToString(box);
  const size = `width="${width}" height="${height}"`;
  const drawing = `<svg xmlns="http://www.w3.org/2000/svg" ${size}><foreignObject ${size}>${inner}</foreignObject></svg>`;
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawing)}`;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.round(width), height: Math.round(height) });
  canvas.getContext("2d").drawImage(image, 0, 0);
  const said = element.querySelector(".ll-verdict").textContent.replace(/[<>&"]/g, "");
  const picture = `<img alt="${said}" style="max-width: 100%" src="${canvas.toDataURL("image/webp", 0.8)}">`;
  const style = "<style>.jupyter-widgets-disconnected:has(.ll-kept)::before { content: none !important; }</style>";
  return `<div class="ll-kept">${style}<i>Run the cell to move it.</i><br>${picture}</div>`;
}
