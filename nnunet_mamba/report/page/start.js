// The shared choices, and the first drawing.
options(byId("metric"), data.metrics.map((metric, index) => [index, metric.name]));
options(byId("label"), labelChoices.map((label, index) => [index, labelName(label)]));
for (const [id, key] of [["metric", "metric"], ["label", "label"]]) {
  byId(id).addEventListener("change", (event) => {
    state[key] = Number(event.target.value);
    redraw();
  });
}
for (const key of ["truth", "prediction", "errors"]) {
  byId(`show-${key}`).addEventListener("change", (event) => {
    state[key] = event.target.checked;
    redraw();
  });
}
redraw();
document.documentElement.dataset.ready = "yes";
