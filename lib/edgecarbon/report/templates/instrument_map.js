// The break-even map: cloud over edge across two inputs, both axes logarithmic, drawn as plain SVG so that it can be saved.

const COLUMNS = 40, ROWS = 30, ROOM = {left: 58, right: 14, top: 8, bottom: 88}, TALLEST = 420, NARROWEST = 280, WIDEST = 720;
// The colours are full where one side emits ten times the other.
const FULL = Math.log(10), CLOUD = [0, 114, 178], EDGE = [213, 94, 0];
const HINT = "Click a place in the map, or move there with the arrow keys and press Enter, to set both sliders.";
const NAMESPACE = "http://www.w3.org/2000/svg";

function drawn(parent, name, attributes, text = "") {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  parent.append(made);
  return made;
}

// White where both emit the same, or nothing, towards the colour of the side that emits less.
function colour(logRatio) {
  const share = Math.min(1, Math.abs(logRatio) / FULL || 0) ** 0.8, end = logRatio > 0 ? EDGE : CLOUD;
  return `rgb(${end.map((part) => Math.round(255 + share * (part - 255))).join(",")})`;
}

function ticks(low, high, room) {
  const steps = Math.log10(high / low) > room / 110 ? [1] : [1, 2, 5], found = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade++) {
    for (const step of steps) found.push(Number(`${step}e${decade}`));
  }
  return found.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
}

// Where the surface over a lattice of values crosses zero: a line through every square that it passes.
function contour(values, columns, at) {
  let path = "";
  for (let start = 0; start + columns + 1 < values.length; start++) {
    if (start % columns === columns - 1) continue;
    const corners = [start, start + 1, start + columns + 1, start + columns], crossings = [];
    corners.forEach((here, side) => {
      const there = corners[(side + 1) % 4];
      if ((values[here] > 0) === (values[there] > 0)) return;
      const share = values[here] / (values[here] - values[there]);
      const place = (corner) => [corner % columns, Math.floor(corner / columns)];
      const [from, to] = [place(here), place(there)];
      crossings.push(at(from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])));
    });
    for (let i = 0; i + 1 < crossings.length; i += 2) path += `M${crossings[i]}L${crossings[i + 1]}`;
  }
  return path;
}

class BreakEvenMap {
  // `pick(x, y)` is called with the values of a chosen cell.
  constructor(svg, readout, pick) {
    Object.assign(this, {svg, readout, pick, cell: null, drawnAs: ""});
    svg.addEventListener("pointermove", (event) => this.point(this.under(event)));
    svg.addEventListener("pointerleave", () => this.point(null));
    svg.addEventListener("blur", () => this.point(null));
    svg.addEventListener("click", (event) => {
      const cell = this.under(event);
      if (cell) this.pick(...this.values(cell));
    });
    svg.addEventListener("keydown", (event) => this.key(event));
  }

  // x and y are dials; `ratio(x, y)` the cloud over the edge there; `cross` where the sliders stand.
  update(x, y, ratio, cross) {
    Object.assign(this, {x, y, ratio});
    const width = Math.max(NARROWEST, Math.min(WIDEST, this.svg.clientWidth)), layout = [width, x.name, y.name].join();
    if (layout !== this.drawnAs) this.layOut(width);
    this.drawnAs = layout;
    for (let row = 0; row < ROWS; row++) {
      for (let column = 0; column < COLUMNS; column++) {
        const here = Math.log(this.ratio(...this.values([column, row])));
        this.rects[row * COLUMNS + column].setAttribute("fill", colour(here));
      }
    }
    const lattice = [];
    for (let row = 0; row <= ROWS; row++) {
      for (let column = 0; column <= COLUMNS; column++) lattice.push(Math.log(ratio(...this.values([column - 0.5, row - 0.5]))));
    }
    const line = contour(lattice, COLUMNS + 1, (column, row) => this.place(column / COLUMNS, row / ROWS));
    for (const path of this.lines) path.setAttribute("d", line);
    const [left, top] = this.place(this.share(x, cross[0]), this.share(y, cross[1]));
    this.cross.forEach((path) => path.setAttribute("d", `M${left - 9},${top}h18M${left},${top - 9}v18`));
    this.point(this.cell);
  }

  // How far along its axis a value lies, from 0 to 1; a zero, as of one's own sun, lies at its beginning.
  share(dial, value) {
    return Math.max(0, Math.min(1, Math.log(value / dial.low) / Math.log(dial.high / dial.low)));
  }

  // The values in the middle of a cell; row 0 is the lowest.
  values([column, row]) {
    const at = (dial, share) => dial.low * (dial.high / dial.low) ** share;
    return [at(this.x, (column + 0.5) / COLUMNS), at(this.y, (row + 0.5) / ROWS)];
  }

  place(across, upwards) {
    return [ROOM.left + across * this.plot[0], ROOM.top + (1 - upwards) * this.plot[1]];
  }

  layOut(width) {
    this.svg.replaceChildren();
    this.plot = [width - ROOM.left - ROOM.right, Math.min(TALLEST, 0.72 * (width - ROOM.left - ROOM.right))];
    const height = this.plot[1] + ROOM.top + ROOM.bottom, [wide, tall] = this.plot;
    const size = {viewBox: `0 0 ${width} ${height}`, height, "font-family": "system-ui, sans-serif", "font-size": 12};
    for (const [key, value] of Object.entries(size)) this.svg.setAttribute(key, value);
    const cells = drawn(this.svg, "g", {"shape-rendering": "crispEdges"});
    this.rects = Array.from({length: COLUMNS * ROWS}, (_, number) => {
      const [left, top] = this.place((number % COLUMNS) / COLUMNS, (Math.floor(number / COLUMNS) + 1) / ROWS);
      return drawn(cells, "rect", {x: left, y: top, width: wide / COLUMNS + 0.3, height: tall / ROWS + 0.3});
    });
    const halo = {fill: "none", stroke: "white", "stroke-width": 5, "stroke-linecap": "round"};
    const ink = {...halo, stroke: "#1a1a1a", "stroke-width": 2};
    this.lines = [{...halo, "stroke-width": 4}, ink].map((look) => drawn(this.svg, "path", look));
    this.cross = [halo, ink].map((look) => drawn(this.svg, "path", look));
    this.frame = drawn(this.svg, "rect", {fill: "none", stroke: "#1a1a1a", "stroke-width": 2, visibility: "hidden",
      width: wide / COLUMNS, height: tall / ROWS});
    this.axes(wide, tall);
    this.legend(tall + ROOM.top + 58, wide);
  }

  axes(wide, tall) {
    const bottom = ROOM.top + tall, line = {stroke: "#999999"};
    const words = ({label, unit}) => unit === "×" ? label : `${label}, ${unit}`;
    for (const tick of ticks(this.x.low, this.x.high, wide)) {
      const [left] = this.place(this.share(this.x, tick), 0);
      drawn(this.svg, "path", {...line, d: `M${left},${bottom}v4`});
      drawn(this.svg, "text", {x: left, y: bottom + 17, "text-anchor": "middle", fill: "#1a1a1a"}, number(tick));
    }
    for (const tick of ticks(this.y.low, this.y.high, tall)) {
      const [, top] = this.place(0, this.share(this.y, tick));
      drawn(this.svg, "path", {...line, d: `M${ROOM.left},${top}h-4`});
      drawn(this.svg, "text", {x: ROOM.left - 7, y: top + 4, "text-anchor": "end", fill: "#1a1a1a"}, number(tick));
    }
    drawn(this.svg, "text", {x: ROOM.left + wide / 2, y: bottom + 35, "text-anchor": "middle", fill: "#595959"}, words(this.x));
    drawn(this.svg, "text", {transform: `translate(13 ${ROOM.top + tall / 2}) rotate(-90)`, "text-anchor": "middle",
      fill: "#595959"}, words(this.y));
  }

  legend(top, wide) {
    const stops = 20, width = wide / stops;
    for (let i = 0; i < stops; i++) {
      drawn(this.svg, "rect", {x: ROOM.left + i * width, y: top - 8, width: width + 0.3, height: 8,
        fill: colour(FULL * (2 * (i + 0.5) / stops - 1)), "shape-rendering": "crispEdges"});
    }
    const texts = [["start", 0, "cloud 10 times less"], ["middle", wide / 2, "equal"], ["end", wide, "edge 10 times less"]];
    for (const [anchor, left, text] of texts) {
      drawn(this.svg, "text", {x: ROOM.left + left, y: top + 15, "text-anchor": anchor, fill: "#595959"}, text);
    }
  }

  under(event) {
    const box = this.svg.getBoundingClientRect(), scale = this.svg.viewBox.baseVal.width / box.width;
    const across = ((event.clientX - box.left) * scale - ROOM.left) / this.plot[0];
    const upwards = 1 - ((event.clientY - box.top) * scale - ROOM.top) / this.plot[1];
    if (across < 0 || across >= 1 || upwards < 0 || upwards >= 1) return null;
    return [Math.floor(across * COLUMNS), Math.floor(upwards * ROWS)];
  }

  key(event) {
    const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}, move = moves[event.key];
    if (event.key === "Enter" && this.cell) this.pick(...this.values(this.cell));
    if (!move && event.key !== "Enter") return;
    event.preventDefault();
    if (!move) return;
    const [column, row] = this.cell ?? [COLUMNS / 2, ROWS / 2];
    const within = (value, count) => Math.max(0, Math.min(count - 1, value));
    this.point([within(column + move[0], COLUMNS), within(row + move[1], ROWS)]);
  }

  // Say what a cell holds; null clears it.
  point(cell) {
    this.cell = cell;
    this.frame.setAttribute("visibility", cell ? "visible" : "hidden");
    for (const key of ["x", "y", "ratio"]) delete this.readout.dataset[key];
    this.readout.textContent = HINT;
    if (!cell) return;
    const [left, top] = this.place(cell[0] / COLUMNS, (cell[1] + 1) / ROWS), [x, y] = this.values(cell);
    this.frame.setAttribute("x", left);
    this.frame.setAttribute("y", top);
    const ratio = this.ratio(x, y), said = (dial, value) => `${dial.label} ${number(value)} ${dial.unit}`;
    Object.assign(this.readout.dataset, {x, y, ratio});
    const times = Math.max(ratio, 1 / ratio), who = Number.isNaN(ratio) ? "neither" : ratio > 1 ? "the edge" : "the cloud";
    const less = `${who} emits ${Number.isFinite(times) ? `${number(times)} times less` : who === "neither" ? "anything" : "nothing at all"}`;
    this.readout.textContent = `${said(this.x, x)}; ${said(this.y, y)}: cloud over edge ${number(ratio)}, ${less}.`;
  }

  table() {
    const rows = [[this.x.name, this.y.name, "cloud_over_edge"]];
    for (let row = 0; row < ROWS; row++) {
      for (let column = 0; column < COLUMNS; column++) {
        const [x, y] = this.values([column, row]);
        rows.push([x, y, this.ratio(x, y)]);
      }
    }
    return rows;
  }

  picture() {
    const copy = this.svg.cloneNode(true);
    for (const name of ["id", "tabindex", "aria-describedby"]) copy.removeAttribute(name);
    copy.setAttribute("xmlns", NAMESPACE);
    copy.setAttribute("width", this.svg.viewBox.baseVal.width);
    return new XMLSerializer().serializeToString(copy);
  }
}
