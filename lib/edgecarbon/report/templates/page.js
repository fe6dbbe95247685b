// Draws every chart at the width of its box. A chart is drawn once to learn how much its labels take beside the plot, and
// again where the plot should be wider or narrower than it came out.
"use strict";

const NARROWEST_PLOT = 150, WIDEST_PLOT = 940, NARROW_BOX = 560;

function fitted(spec, plotWidth, narrow) {
  const copy = structuredClone(spec);
  for (const view of copy.vconcat ?? [copy]) {
    view.width = plotWidth;
    if (narrow && view.title) view.title.frame = "bounds";
  }
  if (narrow) {
    oneColumnLegends(copy);
    Object.assign(copy.config.axis, {labelLimit: 150, labelFontSize: 11});
    Object.assign(copy.config.legend, {direction: "vertical", layout: {top: {direction: "vertical", anchor: "start"}}});
  }
  return copy;
}

function oneColumnLegends(node) {
  for (const [key, value] of Object.entries(node)) {
    if (key === "values" || value === null || typeof value !== "object") continue;
    if (key === "legend" && "columns" in value) value.columns = 1;
    oneColumnLegends(value);
  }
}

async function draw(figure) {
  const box = figure.querySelector(".chart");
  const spec = JSON.parse(figure.querySelector(".spec").textContent);
  const room = box.clientWidth, narrow = room < NARROW_BOX;
  const render = (width) => vegaEmbed(box, fitted(spec, width, narrow), OPTIONS);
  let width = Math.max(NARROWEST_PLOT, Math.min(WIDEST_PLOT, room - 160));
  let drawn = await render(width);
  const beside = box.querySelector("svg").getBoundingClientRect().width - width;
  const wanted = Math.floor(Math.max(NARROWEST_PLOT, Math.min(WIDEST_PLOT, room - beside)));
  if (wanted < width || wanted - width > 2) {
    drawn.finalize();
    drawn = await render(wanted);
  }
  figure.dataset.drawn = room;
}

async function drawAll() {
  for (const figure of document.querySelectorAll("figure")) {
    if (figure.dataset.drawn != figure.querySelector(".chart").clientWidth) await draw(figure);
  }
}

// A table as rows of texts: cells that span several are repeated, a group's heading becomes a column of its own, and a
// figure comes in full precision, with its unit and the ends of its interval in columns beside it.
function tableRows(table) {
  const text = (cell) => [...cell.childNodes].map((node) => node.textContent).join(" ").replace(/\s+/g, " ").trim();
  const grid = [], groups = [];
  let group = "";
  for (const row of table.rows) {
    if (row.classList.contains("group")) {
      group = text(row);
      continue;
    }
    const number = groups.push(group) - 1;
    for (const cell of row.cells) {
      let column = 0;
      while (grid[number]?.[column]) column++;
      for (let down = 0; down < cell.rowSpan; down++) {
        for (let across = 0; across < cell.colSpan; across++) (grid[number + down] ??= [])[column + across] = cell;
      }
    }
  }
  const columns = grid[0].map((heading, column) => {
    const cells = grid.slice(1).map((line) => line[column]).filter(Boolean);
    const units = new Set(cells.map((cell) => cell.dataset.unit).filter(Boolean));
    const ends = ["low", "high"].filter((end) => cells.some((cell) => cell.dataset[end]));
    return {name: text(heading) + (units.size === 1 ? ` (${[...units][0]})` : ""), column, ends, mixed: units.size > 1};
  });
  const heading = columns.flatMap(({name, ends, mixed}) => [name, ...(mixed ? [`${name}: unit`] : []), ...ends.map((end) => `${name}: ${end}`)]);
  const rows = grid.slice(1).map((line) => columns.flatMap(({column, ends, mixed}) => {
    const cell = line[column], facts = cell?.dataset ?? {};
    return [facts.value ?? (cell ? text(cell) : ""), ...(mixed ? [facts.unit ?? ""] : []), ...ends.map((end) => facts[end] ?? "")];
  }));
  if (!groups.some(Boolean)) return [heading, ...rows];
  return [["group", ...heading], ...rows.map((row, number) => [groups[number + 1], ...row])];
}

// A text that a spreadsheet would take for a formula is marked as text.
function csv(rows) {
  const quoted = (value) => {
    const safe = /^[=+\-@\t\r]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : value;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return rows.map((row) => row.map(quoted).join(",") + "\r\n").join("");
}

function offerCsv() {
  const counts = {};
  for (const table of document.querySelectorAll("main table")) {
    const section = table.closest("section").id;
    counts[section] = (counts[section] ?? 0) + 1;
    const name = `edgecarbon-${section}-${counts[section]}.csv`;
    const button = Object.assign(document.createElement("button"), {type: "button", className: "csv", textContent: "CSV"});
    button.setAttribute("aria-label", `Download this table as CSV, ${name}`);
    button.addEventListener("click", () => {
      const address = URL.createObjectURL(new Blob([csv(tableRows(table))], {type: "text/csv"}));
      Object.assign(document.createElement("a"), {href: address, download: name}).click();
      setTimeout(() => URL.revokeObjectURL(address), 1000);
    });
    (table.closest(".scroll") ?? table).after(button);
  }
}

offerCsv();
let waiting;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(drawAll, 200);
});
window.charts = drawAll();
