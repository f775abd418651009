"use strict";
// What the page knows, and small things that every part uses.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// A new element with text and attributes; text is never HTML.
function element(name, attributes, text) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function options(select, entries) {
  select.replaceChildren(...entries.map(([value, text]) => element("option", { value }, text)));
}

const state = { metric: 0, label: 0, truth: true, prediction: true, errors: false };

// Classes that can be chosen: with several, the mean over them is the first.
const labelChoices = data.labels.length > 1 ? [null, ...data.labels.keys()] : [0];
const chosenLabel = () => labelChoices[state.label];
const labelName = (label) => (label === null ? data.allClasses : data.labels[label].name);

function valueOf(row, label, metric) {
  if (label !== null) return row.numbers[label][metric];
  const known = row.numbers.map((numbers) => numbers[metric]).filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}
const chosenValue = (row) => valueOf(row, chosenLabel(), state.metric);

function written(value, metric) {
  if (value === null) return "no value";
  const { distance, unit } = data.metrics[metric];
  return value.toFixed(distance ? 2 : 3) + (distance ? " " + unit : "");
}

function titleOf(row) {
  const fold = row.fold === "" ? "" : `, fold ${row.fold}`;
  return `${row.case}, ${data.trainers[row.trainer]}${fold}`;
}

// Rows with a value, the worst first.
function ranked(rows) {
  const sign = data.metrics[state.metric].moreIsBetter ? 1 : -1;
  return rows
    .map((row) => [row, chosenValue(row)])
    .filter(([, value]) => value !== null)
    .sort((a, b) => sign * (a[1] - b[1]) || (a[0].case < b[0].case ? -1 : 1))
    .map(([row]) => row);
}

// Parts of the page add themselves: each is called when a choice changes.
const parts = [];
const redraw = () => parts.forEach((part) => part());
