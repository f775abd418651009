// The viewer: one case in full size, the next one with a key.
const viewer = byId("viewer");
let viewed = { rows: [], index: 0 };

function openViewer(rows, index) {
  viewed = { rows, index };
  if (!viewer.open) viewer.showModal();
  showViewed();
}

function showViewed() {
  const row = viewed.rows[viewed.index];
  const slice = data.slices[row.slice];
  const holder = byId("viewer-picture");
  const fit = { width: Math.max(200, holder.clientWidth), height: Math.max(240, window.innerHeight * 0.75) };
  const drawn = picture(row, Math.min(1400, Math.max(600, fit.width)), fit);
  drawn.frame.querySelector("img").alt = `${titleOf(row)}, ${data.metrics[state.metric].name} ${written(chosenValue(row), state.metric)}`;
  holder.replaceChildren(drawn.frame);
  drawn.show(true);
  byId("viewer-title").textContent = titleOf(row);
  const group = data.groups[row.case] ? ` Group ${data.groups[row.case]}.` : "";
  const position = slice.of > 1 ? ` Slice ${slice.position + 1} of ${slice.of}, the one with the largest error.` : "";
  byId("viewer-about").textContent = `${viewed.index + 1} of ${viewed.rows.length}.${position}${group}`;
  // not `disabled`: a disabled button that has the focus swallows the keys
  byId("viewer-previous").setAttribute("aria-disabled", viewed.index === 0);
  byId("viewer-next").setAttribute("aria-disabled", viewed.index === viewed.rows.length - 1);
  showOthers(row);
  showNumbers(row);
}

function showOthers(row) {
  const others = data.rows.filter((other) => other.case === row.case);
  byId("viewer-others").replaceChildren(
    ...(others.length < 2 ? [] : others).map((other) => {
      const fold = other.fold === "" ? "" : `, fold ${other.fold}`;
      const pressed = String(other === row);
      const made = element("button", { type: "button", "aria-pressed": pressed }, data.trainers[other.trainer] + fold);
      made.addEventListener("click", () => {
        const place = viewed.rows.indexOf(other);
        viewed = place >= 0 ? { ...viewed, index: place } : { rows: [other], index: 0 };
        showViewed();
        byId("viewer-others").querySelector("[aria-pressed=true]").focus();
      });
      return made;
    }),
  );
}

function showNumbers(row) {
  const head = element("tr");
  head.append(element("th", { scope: "col" }, "Metric"), ...data.labels.map((label) => element("th", { scope: "col" }, label.name)));
  const lines = data.metrics.map((metric, index) => {
    const line = element("tr");
    line.append(element("th", { scope: "row" }, metric.name));
    line.append(...row.numbers.map((numbers) => element("td", {}, written(numbers[index], index))));
    return line;
  });
  const [above, below] = [element("thead"), element("tbody")];
  above.append(head);
  below.append(...lines);
  byId("viewer-numbers").replaceChildren(above, below);
}

function moveViewer(by) {
  const index = viewed.index + by;
  if (index < 0 || index >= viewed.rows.length) return;
  viewed = { ...viewed, index };
  showViewed();
}

byId("viewer-previous").addEventListener("click", () => moveViewer(-1));
byId("viewer-next").addEventListener("click", () => moveViewer(1));
byId("viewer-close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
viewer.addEventListener("keydown", (event) => {
  const switches = { t: "show-truth", p: "show-prediction", e: "show-errors" };
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowLeft") moveViewer(-1);
  else if (event.key === "ArrowRight") moveViewer(1);
  else if (event.key.toLowerCase() in switches) byId(switches[event.key.toLowerCase()]).click();
  else return;
  event.preventDefault();
});
parts.push(() => viewer.open && showViewed());
