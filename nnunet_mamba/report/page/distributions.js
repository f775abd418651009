// Distributions: a point per case, trainers side by side.
const CHART = { widest: 1000, height: 420, left: 48, right: 16, top: 16, bottom: 44 };
const NAMESPACE = "http://www.w3.org/2000/svg";
let points = [];
let chosenPoint = -1;

function svg(name, attributes, text) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A few round numbers from `low` to `high`.
function ticks(low, high) {
  const rough = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

function median(sorted) {
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function distributions() {
  const metric = data.metrics[state.metric];
  const rows = data.rows.map((row) => ({ row, value: chosenValue(row) })).filter((entry) => entry.value !== null);
  const values = rows.map((entry) => entry.value);
  const low = metric.distance ? 0 : Math.min(0.9, ...values.map((value) => Math.floor(value * 10) / 10));
  const high = metric.distance ? values.reduce((most, value) => Math.max(most, value), 1) : 1;
  const { widest, height, left, right, top, bottom } = CHART;
  const width = Math.min(widest, Math.max(280, byId("chart").clientWidth)); // letters keep their size on a phone
  const y = (value) => top + ((height - top - bottom) * (high - value)) / (high - low || 1);
  const column = (width - left - right) / data.trainers.length;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  ticks(low, high).forEach((value) => {
    chart.append(svg("path", { class: "grid", d: `M${left} ${y(value)}H${width - right}` }));
    chart.append(svg("text", { class: "tick", x: left - 8, y: y(value) + 4, "text-anchor": "end" }, String(value)));
  });
  const radius = rows.length > 1500 ? 2.5 : 4;
  points = rows.map(({ row, value }, index) => {
    const jitter = (((index * 0.618034) % 1) - 0.5) * Math.min(column * 0.6, 160);
    const x = left + column * (row.trainer + 0.5) + jitter;
    return { row, value, x, y: y(value), mark: svg("circle", { class: "point", cx: x, cy: y(value), r: radius }) };
  });
  points.sort((a, b) => a.row.trainer - b.row.trainer || a.value - b.value);
  if (byId("paired-lines").checked) chart.append(...pairs());
  chart.append(...points.map((point) => point.mark));
  data.trainers.forEach((name, trainer) => {
    const middle = left + column * (trainer + 0.5);
    const of = points.filter((point) => point.row.trainer === trainer).map((point) => point.value);
    const short = name.length > column / 8 ? `${name.slice(0, Math.max(3, Math.floor(column / 8) - 1))}…` : name;
    chart.append(svg("text", { class: "tick", x: middle, y: height - bottom + 20, "text-anchor": "middle" }, short));
    if (!of.length) return;
    const reach = Math.min(column * 0.4, 100);
    chart.append(svg("path", { class: "middle", d: `M${middle - reach} ${y(median(of))}h${2 * reach}` }));
    chart.append(
      svg("text", { class: "tick", x: middle, y: height - bottom + 36, "text-anchor": "middle" }, `${column > 150 ? "median " : ""}${written(median(of), state.metric)}`),
    );
  });
  const unit = metric.distance ? ` in ${metric.unit}` : "";
  byId("chart").replaceChildren(chart);
  byId("chart").setAttribute("aria-label", `${metric.name}${unit} of ${labelName(chosenLabel())}: a point per case and trainer`);
  byId("chart-text").textContent = `${metric.name}${unit}, ${labelName(chosenLabel())}; the line is the median.`;
  chosenPoint = -1;
}
parts.push(distributions);

function pairs() {
  const byCase = new Map();
  points.forEach((point) => byCase.set(point.row.case, [...(byCase.get(point.row.case) || []), point]));
  return [...byCase.values()].filter((group) => group.length > 1).map((group) =>
    svg("polyline", { class: "pair", points: group.map((point) => `${point.x},${point.y}`).join(" ") }));
}

function choosePoint(index) {
  if (points[chosenPoint]) points[chosenPoint].mark.classList.remove("chosen");
  chosenPoint = Math.max(0, Math.min(points.length - 1, index));
  const point = points[chosenPoint];
  if (!point) return;
  point.mark.classList.add("chosen");
  point.mark.parentNode.append(point.mark);
  byId("chart-text").textContent = `${titleOf(point.row)}: ${written(point.value, state.metric)}`;
}

byId("chart").addEventListener("click", (event) => {
  const point = points.find((each) => each.mark === event.target);
  if (point) openViewer(points.map((each) => each.row), points.indexOf(point));
});
byId("chart").addEventListener("pointerover", (event) => {
  const index = points.findIndex((each) => each.mark === event.target);
  if (index >= 0) byId("chart-text").textContent = `${titleOf(points[index].row)}: ${written(points[index].value, state.metric)}`;
});
byId("chart").addEventListener("keydown", (event) => {
  const moves = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
  if (event.key in moves) choosePoint(chosenPoint + moves[event.key]);
  else if (event.key === "Home") choosePoint(0);
  else if (event.key === "End") choosePoint(points.length - 1);
  else if (event.key === "Enter" && points[chosenPoint]) openViewer(points.map((each) => each.row), chosenPoint);
  else return;
  event.preventDefault();
});
byId("paired-lines").addEventListener("change", redraw);
let chartWidth = byId("chart").clientWidth;
new ResizeObserver(() => {
  if (byId("chart").clientWidth === chartWidth) return;
  chartWidth = byId("chart").clientWidth;
  distributions();
}).observe(byId("chart"));
