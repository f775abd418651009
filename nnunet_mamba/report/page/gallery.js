// Gallery: all cases, sorted and filtered, added as one scrolls.
const STEP = 60;
let galleryRows = [];

function passes(row) {
  const [trainer, fold] = [byId("filter-trainer").value, byId("filter-fold").value];
  const [from, to] = ["filter-from", "filter-to"].map((id) => (byId(id).value === "" ? null : Number(byId(id).value)));
  const value = chosenValue(row);
  return (
    (trainer === "" || row.trainer === Number(trainer)) &&
    (fold === "" || row.fold === fold.slice(1)) &&
    (from === null || (value !== null && value >= from)) &&
    (to === null || (value !== null && value <= to)) &&
    row.case.toLowerCase().includes(byId("filter-name").value.toLowerCase())
  );
}

function addCards() {
  const cards = byId("gallery-cases");
  const next = galleryRows.slice(cards.children.length, cards.children.length + STEP);
  cards.append(...next.map((row) => card(row, galleryRows)));
  byId("gallery-more").hidden = cards.children.length >= galleryRows.length;
}

parts.push(function gallery() {
  const kept = data.rows.filter(passes);
  const sorted = ranked(kept);
  const order = byId("order").value;
  if (order === "best") sorted.reverse();
  galleryRows = order === "name" ? kept : [...sorted, ...kept.filter((row) => chosenValue(row) === null)];
  byId("gallery-count").textContent = `${galleryRows.length} of ${data.rows.length} predictions`;
  byId("gallery-cases").replaceChildren();
  addCards();
});

options(byId("filter-trainer"), [["", "all"], ...data.trainers.map((name, index) => [index, name])]);
const folds = [...new Set(data.rows.map((row) => row.fold))].filter((fold) => fold !== "").sort();
options(byId("filter-fold"), [["", "all"], ...folds.map((fold) => [`=${fold}`, fold])]);
byId("fold-choice").hidden = !folds.length;
byId("filters").addEventListener("input", redraw);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => setTimeout(redraw));
byId("gallery-more").addEventListener("click", addCards);
new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && addCards(), { rootMargin: "800px" })
  .observe(byId("gallery-more"));
