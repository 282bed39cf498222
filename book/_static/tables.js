// Tables of the class "sortable": a button in every head sorts, a field filters rows, a link saves what is shown.
// Without this script they are plain tables.
"use strict";

const order = new Intl.Collator("en", { numeric: true });
const number = (text) => Number.parseFloat(text.replace("−", "-"));

function compare(one, other) {
  const [a, b] = [number(one), number(other)];
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b) || order.compare(one, other);
  return a - b;
}

function sortBy(table, column, head) {
  const falling = head.getAttribute("aria-sort") === "ascending";
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  const text = (row) => row.cells[column].textContent;
  rows.sort((a, b) => (falling ? compare(text(b), text(a)) : compare(text(a), text(b))));
  table.tBodies[0].append(...rows);
}

function asCsv(table) {
  const quoted = (cell) => `"${cell.textContent.replace("−", "-").replaceAll('"', '""')}"`;
  const rows = [...table.rows].filter((row) => !row.hidden);
  return rows.map((row) => [...row.cells].map(quoted).join(",")).join("\n");
}

function prepare(table) {
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
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const cells = [...row.cells].map((cell) => cell.textContent.toLowerCase());
      row.hidden = !words.every((word) => cells.some((cell) => cell === word || (word.length > 2 && cell.startsWith(word))));
      shown += !row.hidden;
    }
    status.textContent = `${shown} of ${table.tBodies[0].rows.length}`;
  });
  link.addEventListener("click", () => {
    link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(asCsv(table))}`;
  });
  table.closest("div.wide").before(tools);
}

document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("table.sortable").forEach(prepare));
