// Tables that sort by a click or a key on a heading: first the better end, then the other. What has no value stays last.

function sortable(table) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th button").forEach((button) => {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const column = heading.cellIndex;
      const first = heading.dataset.first || "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? other : first;
      table.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const keys = new Map([...body.rows].map((row) => [row, key(row.cells[column], heading.dataset.kind)]));
      const sorted = [...body.rows].sort((one, two) => compare(keys.get(one), keys.get(two), sign));
      body.append(...sorted);
    });
  });
}

function key(cell, kind) {
  const value = cell.dataset.sort;
  if (kind !== "number") return value.toLowerCase();
  return value === "" ? NaN : Number(value); // "" is no value; "Infinity" is one
}

function compare(a, b, sign) {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
  if (typeof a === "string") return sign * a.localeCompare(b, undefined, { numeric: true });
  return a === b ? 0 : sign * (a < b ? -1 : 1);
}
