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

let waiting;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(drawAll, 200);
});
window.charts = drawAll();
