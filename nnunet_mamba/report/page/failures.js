// Where it fails: the worst, the middle and the best cases of one trainer.
const PER_KIND = 4;

parts.push(function failures() {
  const trainer = Number(byId("failures-trainer").value);
  const rows = ranked(data.rows.filter((row) => row.trainer === trainer));
  const middle = Math.max(0, Math.floor((rows.length - PER_KIND) / 2));
  const kinds = [["Worst", rows.slice(0, PER_KIND)]];
  if (rows.length > PER_KIND) kinds.push(["Best", rows.slice(-PER_KIND).reverse()]);
  if (rows.length > 2 * PER_KIND) kinds.splice(1, 0, ["Median", rows.slice(middle, middle + PER_KIND)]);
  const made = kinds.flatMap(([kind, some]) => {
    const cards = element("div", { class: "cards" });
    cards.append(...some.map((row) => card(row, rows, true)));
    return [element("h3", {}, kind), cards];
  });
  byId("failures-cases").replaceChildren(...(rows.length ? made : [element("p", {}, "No case has a value.")]));
});

options(byId("failures-trainer"), data.trainers.map((name, index) => [index, name]));
byId("failures-trainer").addEventListener("change", redraw);
