// Cards: a picture with its case and value. They load while they are near the visible part of the page, the `eager`
// ones at once: they are printed, wherever the page is scrolled to.
const CARD = { width: 200, height: 170 };
const shown = new WeakMap();
const watcher = new IntersectionObserver(
  (entries) => entries.forEach((entry) => shown.get(entry.target).show(entry.isIntersecting)),
  { rootMargin: "400px" },
);

function card(row, rows, eager) {
  const made = element("button", { type: "button", class: "card", "data-case": row.case });
  const holder = element("span", { class: "picture" });
  const drawn = picture(row, 240, CARD);
  const words = element("span", { class: "words" });
  const metric = data.metrics[state.metric];
  words.append(
    element("span", { class: "value" }, `${metric.name} ${written(chosenValue(row), state.metric)}`),
    element("br"),
    document.createTextNode(titleOf(row)),
  );
  holder.append(drawn.frame);
  made.append(holder, words);
  made.addEventListener("click", () => openViewer(rows, rows.indexOf(row)));
  shown.set(made, drawn);
  if (eager) drawn.show(true);
  else watcher.observe(made);
  return made;
}
