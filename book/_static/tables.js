// Tables of the class "sortable": the heads sort, a field filters rows, a link saves the shown rows as CSV.
// Tables of the class "words": each cell gets the head of its column, which book.css shows on narrow screens.
// Without this script they are plain tables.
"use strict";

const collator = new Intl.Collator("en", { numeric: true });
const number = (text) => Number.parseFloat(text.replace("−", "-"));

function compare(one, other) {
  const [a, b] = [number(one), number(other)];
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b) || collator.compare(one, other);
  return a - b;
}

function sortBy(table, column, head) {
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const text = (row) => row.cells[column].textContent;
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => sign * compare(text(a), text(b))));
}

function asCsv(table) {
  const quoted = (cell) => `"${cell.textContent.replace("−", "-").replaceAll('"', '""')}"`;
  const rows = [...table.rows].filter((row) => !row.hidden);
  return rows.map((row) => [...row.cells].map(quoted).join(",")).join("\n");
}

// A row matches a word if one of its cells is the word or, for three letters and more, starts with it.
function filterRows(table, words) {
  for (const row of table.tBodies[0].rows) {
    const cells = [...row.cells].map((cell) => cell.textContent.toLowerCase());
    row.hidden = !words.every((word) => cells.some((cell) => cell === word || (word.length > 2 && cell.startsWith(word))));
  }
  return [...table.tBodies[0].rows].filter((row) => !row.hidden).length;
}

function addControls(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sortBy(table, column, head));
    head.replaceChildren(button);
  });
  const tools = document.createElement("div");
  tools.className = "tools";
  tools.innerHTML = '<label>Show rows with <input type="search" placeholder="fan gmm"></label> '
    + '<span role="status"></span> <a href="#" download="table_1.csv">Save as CSV</a>';
  const [field, status, link] = [tools.querySelector("input"), tools.querySelector("span"), tools.querySelector("a")];
  field.addEventListener("input", () => {
    const shown = filterRows(table, field.value.toLowerCase().split(/\s+/).filter(Boolean));
    status.textContent = `${shown} of ${table.tBodies[0].rows.length}`;
  });
  link.addEventListener("click", () => {
    link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(asCsv(table))}`;
  });
  table.closest("div.wide").before(tools);
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("table.sortable").forEach(addControls);
  for (const cell of document.querySelectorAll("table.words td")) {
    cell.dataset.head = cell.closest("table").tHead.rows[0].cells[cell.cellIndex].textContent;
  }
});
