// A button whose press carries what the controls show. A press by itself would overtake them: ipywidgets has one message
// of a slider under way at a time, what it says meanwhile waits in the browser, and the kernel answers messages of
// different widgets in different threads.

async function render({ model, el }) {
  const find = (reference) => model.widget_manager.get_model(reference.replace("IPY_MODEL_", ""));
  const controls = await Promise.all(model.get("controls").map(find));
  const button = document.createElement("button");
  button.type = "button";
  Object.assign(button.style, { display: "block", width: "100%", margin: "0" });

  function update() {
    // The classes of ipywidgets' own button, for its look.
    const style = model.get("button_style");
    button.className = `jupyter-widgets jupyter-button widget-button${style ? ` mod-${style}` : ""}`;
    button.textContent = model.get("description");
    button.title = model.get("tooltip");
    button.disabled = model.get("disabled");
  }

  button.addEventListener("click", () => {
    // What the press moves is moved here: after a value that is still under way, the kernel then hears of this one too.
    model.get("moved_to").forEach((state, k) => controls[k].set(state));
    const shown = model.get("fields").map((key, k) => ({ [key]: controls[k].get(key) }));
    model.send({ shown });
    for (const control of controls) control.save_changes();
  });
  model.on("change", update);
  update();
  el.classList.add("jupyter-widgets");
  el.append(button);
}

export default { render };
