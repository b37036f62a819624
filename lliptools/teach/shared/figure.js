// plotly's figure as a widget that shares one plotly.js with all others of its page: it is 5 MB, and each would bring,
// and the browser read, its own.

const LOADED = Symbol.for("lliptools: plotly.js by version");

// The module that a model carries, read once a page.
function shared(model) {
  return ((globalThis[LOADED] ??= {})[model.get("version")] ??= read(model.get("code")));
}

async function read(code) {
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const module = await import(address);
  URL.revokeObjectURL(address);
  // After each update plotly tells the kernel all that it has filled in by itself, which takes longer than drawing and
  // which nobody asks for.
  const { prototype } = module.FigureView;
  for (const name of ["_sendTraceDeltas", "_sendLayoutDelta"]) {
    if (!(name in prototype)) throw new Error(`plotly's figure has no ${name}`);
    prototype[name] = () => {};
  }
  return module;
}

// What carries plotly.js: it is read as soon as it is there, while nobody waits.
export const carrier = { initialize: ({ model }) => void shared(model) };

// A figure. What the kernel says of it while plotly.js is still being read is kept, and said again.
export const figure = () => {
  let inner;
  return {
    async initialize(context) {
      const { model } = context, missed = [];
      const keep = () => missed.push(model.get("_py2js_update"));
      model.on("change:_py2js_update", keep);
      const reference = model.get("carrier").replace("IPY_MODEL_", "");
      inner = (await shared(await model.widget_manager.get_model(reference))).default();
      model.off("change:_py2js_update", keep);
      inner.initialize(context);
      for (const update of missed) model.set("_py2js_update", update);
    },
    render: (context) => inner.render(context),
  };
};
