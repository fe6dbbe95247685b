// The instrument's controls: what is chosen, what the sliders are set to, and everything that follows from it.

const POSITIONS = 240, PREFERRED = "time_share", FIELDS = ["scenario", "workload", "cloud", "edge"];
const form = document.getElementById("instrument"), result = document.getElementById("instrument-result");
const find = (selector) => form.querySelector(selector);
const controls = new Map(dials.map((dial) => [dial.name, {
  dial, box: find(`[data-name="${dial.name}"]`), slider: find(`#dial-${dial.name}`), typed: find(`#value-${dial.name}`),
}]));
const state = {pair: pairs[0], attribution: PREFERRED, set: {}, x: "energy_ratio", y: "edge_grid_g_per_kwh"};
let sides, outcomes, waiting;

const available = (name) => name in state.pair.marks;
const current = (name) => state.set[name] ?? state.pair.marks[name][0];
const map = new BreakEvenMap(find("#instrument-map"), find("#map-readout"), (x, y) => {
  Object.assign(state.set, {[state.x]: rounded(x), [state.y]: rounded(y)});
  show();
});

function rounded(value) {
  return Number(value.toPrecision(3));
}

// The pair that has `value` for `field` and agrees in most else with the present one.
function choose(field, value) {
  const agreeing = (pair) => FIELDS.filter((one) => pair[one] === state.pair[one]).length;
  const candidates = pairs.filter((pair) => pair[field] === value);
  open(candidates.reduce((best, pair) => agreeing(pair) > agreeing(best) ? pair : best));
}

function open(pair) {
  state.pair = pair;
  sides = sidesOf(pair);
  if (!pair.attributions.includes(state.attribution)) {
    state.attribution = pair.attributions.includes(PREFERRED) ? PREFERRED : pair.attributions[0];
  }
  for (const name of Object.keys(state.set)) if (!available(name)) delete state.set[name];
  for (const axis of ["x", "y"]) {
    if (!available(state[axis])) state[axis] = dials.find(({name}) => available(name) && name !== state.x && name !== state.y).name;
  }
  // Each list offers what goes with the choices before it.
  FIELDS.forEach((field, place) => {
    const fitting = pairs.filter((one) => FIELDS.slice(0, place).every((before) => one[before] === pair[before]));
    fill(find(`#pick-${field}`), [...new Set(fitting.map((one) => one[field]))].map((name) => [name, name]), pair[field]);
  });
  find(".attributions").replaceChildren(find("legend"), ...pair.attributions.map(attributionChoice));
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => element("option", {value}, text)));
  select.value = chosen;
}

function attributionChoice(name) {
  const label = element("label"), input = element("input", {type: "radio", name: "attribution", value: name});
  input.checked = name === state.attribution;
  label.append(input, element("span", {}, names[name] ?? name), element("span", {class: "figure"}), element("b", {class: "winner"}));
  return label;
}

// Everything anew, from the draws to the map; it takes a few milliseconds.
function show() {
  outcomes = state.pair.attributions.map((attribution) => recompute(sides, attribution, state.set));
  const outcome = outcomes.find((one) => one.attribution === state.attribution);
  tell(outcome);
  form.querySelectorAll(".attributions label").forEach((label, place) => {
    const {ratio, probability, winner} = outcomes[place];
    label.querySelector("input").checked = outcomes[place] === outcome;
    label.querySelector(".figure").textContent = `${number(ratio)} · ${percent(probability)}`;
    label.querySelector("b").textContent = winner;
    label.querySelector("b").className = `winner ${winner}`;
  });
  for (const name of controls.keys()) showDial(name);
  const axes = dials.filter(({name}) => available(name)).map(({name, label}) => [name, label]);
  for (const axis of ["x", "y"]) fill(find(`#map-${axis}`), axes, state[axis]);
  const ratio = (x, y) => {
    const {cloud, edge} = emitted(sides.center, state.attribution, {...state.set, [state.x]: x, [state.y]: y}, 0);
    return cloud / edge;
  };
  map.update(controls.get(state.x).dial, controls.get(state.y).dial, ratio, [current(state.x), current(state.y)]);
  // A browser slows a page that changes its address with every move.
  clearTimeout(waiting);
  waiting = setTimeout(() => history.replaceState(null, "", fragment()), 250);
}

function tell(outcome) {
  const {ratio, low, high, probability, winner, energyRatio, even, evenLow, evenHigh} = outcome;
  const facts = {ratio, low, high, probability, breakEven: even, energyRatio, winner};
  for (const [key, value] of Object.entries(facts)) result.dataset[key] = value ?? "";
  result.className = `outcome verdict ${winner}`;
  // By the draws: a ratio over an edge that emits nothing has no median.
  const odds = outcomes.map((one) => one.probability), flips = Math.max(...odds) > 0.5 && Math.min(...odds) < 0.5;
  const bound = (value) => value === null ? "no bound" : number(value);
  result.querySelector(".label").textContent = labels[winner];
  result.querySelector(".ratio").textContent = (ratio !== null
    ? `Cloud over edge ${number(ratio)}, the median of the draws (5–95 %: ${number(low)}–${bound(high)}). `
    : low === null && winner === "unclear" ? "No ratio: in some draws neither side emits anything. "
    : `The ${probability < 0.5 ? "cloud" : "edge"} emits nothing at all, by the median of the draws. `) +
    `The edge wins in ${percent(probability)} of the draws.` + (flips ? " The winner flips with the attribution." : "");
  const taken = `The cloud takes ${number(energyRatio)} times the energy of the edge; `;
  result.querySelector(".even").textContent = even === null
    ? outcome.ratioDefault === null ? "Neither side emits anything."
      : "No energy ratio breaks even: moving the edge’s data alone emits more than the cloud."
    : even === 0 ? `${taken}the edge’s energy adds nothing, so it emits less at any ratio.`
    : `${taken}both would emit the same at ${number(even)} (${number(evenLow)}–${bound(evenHigh)}).`;
}

// Why a slider cannot change this verdict, if so.
function idle(name) {
  const under = names[state.attribution] ?? state.attribution;
  const lifeless = {lifetime_years: ["sunk"], utilisation: ["sunk", "time_share", "marginal_wear"]}[name] ?? [];
  return lifeless.includes(state.attribution) ? `; plays no part under ${under}` : "";
}

function showDial(name) {
  const {dial, box, slider, typed} = controls.get(name), usable = available(name), isSet = name in state.set;
  for (const input of [slider, typed]) input.disabled = !usable;
  box.classList.toggle("set", isSet);
  box.querySelector(".back").hidden = !isSet;
  if (!usable) {
    typed.value = "";
    box.querySelector(".about span").textContent = "none: it has no battery, or was metered at the plug";
    box.style.setProperty("--low", 0);
    box.style.setProperty("--high", 0);
    box.style.setProperty("--default", -1);
    return;
  }
  const [center, low, high] = state.pair.marks[name], share = (value) => map.share(dial, value);
  const value = current(name);
  slider.value = Math.round(POSITIONS * share(value));
  slider.setAttribute("aria-valuetext", `${number(value)} ${dial.unit}`);
  // What is being typed is left as it is.
  if (document.activeElement !== typed || !isSet) typed.value = isSet ? value : Number(value.toPrecision(4));
  typed.setCustomValidity("");
  for (const [mark, place] of Object.entries({low, high, default: center})) box.style.setProperty(`--${mark}`, share(place));
  const range = low === high ? "" : ` (${number(low)}–${number(high)})`;
  box.querySelector(".about span").textContent = `scenario: ${number(center)}${range}${idle(name)}`;
}

function type(name) {
  const {dial, box, typed} = controls.get(name), value = typed.valueAsNumber;
  if (value >= dial.low && value <= dial.high) {
    state.set[name] = value;
    return show();
  }
  const wanted = `expected ${number(dial.low)} to ${number(dial.high)}`;
  typed.setCustomValidity(wanted);
  box.querySelector(".about span").textContent = wanted;
}

function fragment() {
  const {pair, attribution, set, x, y} = state;
  const chosen = Object.fromEntries(FIELDS.map((field) => [field, pair[field]]));
  return `#try?${new URLSearchParams({...chosen, attribution, x, y, ...set})}`;
}

// Take what the address says, as far as it makes sense here; it may come from another page.
function restore() {
  if (!location.hash.startsWith("#try?")) return;
  const said = new URLSearchParams(location.hash.slice(5));
  const pair = pairs.find((one) => FIELDS.every((field) => !said.has(field) || one[field] === said.get(field))) ?? state.pair;
  const attribution = said.get("attribution");
  if (pair.attributions.includes(attribution)) state.attribution = attribution;
  state.set = {};
  for (const {name, low, high} of dials) {
    const value = said.has(name) ? Number(said.get(name)) : NaN;
    if (value >= low && value <= high) state.set[name] = value;
  }
  const [x, y] = [said.get("x"), said.get("y")];
  if (x !== y && controls.has(x) && controls.has(y)) Object.assign(state, {x, y});
  open(pair);
  show();
  document.getElementById("try").scrollIntoView();
}

function saveVerdict() {
  const settings = dials.map(({name}) => name);
  const figures = ["ratio", "low", "high", "probability", "winner", "energyRatio", "even", "evenLow", "evenHigh"];
  const titles = ["ratio_cloud_over_edge", "ratio_low", "ratio_high", "probability_edge_wins", "winner", "energy_ratio",
    "break_even_ratio", "break_even_low", "break_even_high"];
  const rows = outcomes.map((outcome) => [...FIELDS.map((field) => state.pair[field]), outcome.attribution,
    ...settings.map((name) => state.set[name]), ...figures.map((name) => outcome[name])]);
  save("verdict.csv", "text/csv", csv([["scenario", "workload", "cloud_device", "edge_device", "attribution",
    ...settings.map((name) => `set_${name}`), ...titles], ...rows]));
}

for (const [name, {dial, box, slider, typed}] of controls) {
  slider.max = POSITIONS;
  slider.addEventListener("input", () => {
    const share = slider.value / POSITIONS;
    const value = rounded(dial.low * (dial.high / dial.low) ** share);
    state.set[name] = Math.max(dial.low, Math.min(dial.high, value));
    show();
  });
  typed.addEventListener("input", () => type(name));
  typed.addEventListener("blur", () => showDial(name));
  box.querySelector(".back").addEventListener("click", () => {
    delete state.set[name];
    show();
    slider.focus();
  });
}
for (const field of FIELDS) {
  find(`#pick-${field}`).addEventListener("change", (event) => {
    choose(field, event.target.value);
    show();
  });
}
for (const [axis, other] of [["x", "y"], ["y", "x"]]) {
  find(`#map-${axis}`).addEventListener("change", (event) => {
    if (event.target.value === state[other]) state[other] = state[axis];
    state[axis] = event.target.value;
    show();
  });
}
find(".attributions").addEventListener("change", (event) => {
  state.attribution = event.target.value;
  show();
});
find("#instrument-reset").addEventListener("click", () => {
  state.set = {};
  show();
});
find("#save-verdict").addEventListener("click", saveVerdict);
find("#save-map").addEventListener("click", () => save("map.csv", "text/csv", csv(map.table())));
find("#save-svg").addEventListener("click", () => save("map.svg", "image/svg+xml", map.picture()));
form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", restore);
form.hidden = false;
open(state.pair);
show();
clearTimeout(waiting);
restore();
new ResizeObserver(show).observe(find("#instrument-map"));
