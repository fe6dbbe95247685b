// The instrument's arithmetic. edgecarbon.report.instrument.recompute is the same in Python, and tests hold the two
// together.
"use strict";

const {pairs, devices, shapes, dials, labels, names} = JSON.parse(document.getElementById("instrument-data").textContent);
const SURE = 0.95, HOURS_PER_YEAR = 8760, STEPS = 65535;
const unpacked = new Map();

// A shape is read when first needed: what is not looked at costs nothing.
function bytesOf(shape) {
  const text = atob(shapes[shape]), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new DataView(bytes.buffer);
}

function drawsOf(entry) {
  if (entry.length === 2) return Float64Array.of(entry[1]);
  const [, low, high, shape] = entry, view = bytesOf(shape);
  if (low === 0) return Float64Array.from({length: view.byteLength / 4}, (_, i) => high * view.getFloat32(4 * i, true));
  const span = Math.log(high / low) / STEPS;
  return Float64Array.from({length: view.byteLength / 2}, (_, i) => low * Math.exp(span * view.getUint16(2 * i, true)));
}

// A device's parts: their draws, and each alone with its default.
function partsOf(device) {
  if (!unpacked.has(device)) {
    const draws = {}, center = {};
    for (const [name, entry] of Object.entries(devices[device])) {
      draws[name] = drawsOf(entry);
      center[name] = Float64Array.of(entry[0]);
    }
    unpacked.set(device, {draws, center, count: Math.max(...Object.values(draws).map((one) => one.length))});
  }
  return unpacked.get(device);
}

// All parts of a pair with equally many draws.
function sidesOf(pair) {
  const sides = pair.sides.map(partsOf), count = Math.max(...sides.map((side) => side.count));
  const whole = (parts) => Object.fromEntries(Object.entries(parts)
    .map(([name, draws]) => [name, draws.length === count ? draws : new Float64Array(count).fill(draws[0])]));
  const [cloud, edge] = sides;
  return {count, draws: [whole(cloud.draws), whole(edge.draws)], center: [cloud.center, edge.center]};
}

function charged(edge, attribution, set, i) {
  const hours = set.lifetime_years === undefined ? edge.lifetime_hours[i] : set.lifetime_years * HOURS_PER_YEAR;
  switch (attribution) {
    case "sunk": return 0;
    case "time_share": return edge.made_g_hours[i] / hours;
    case "used_hours": return edge.made_g_hours[i] / (hours * (set.utilisation ?? edge.utilisation[i]));
    case "marginal_wear": return edge.wear_battery_g[i] + edge.wear_life_g_hours[i] / hours;
  }
  throw new Error(`unknown attribution ${attribution}`);
}

// gCO2e of cloud and edge for a million tokens, and the energy ratio at which both emit the same.
function emitted([cloud, edge], attribution, set, i) {
  const cloudGrid = set.cloud_grid_g_per_kwh ?? cloud.intensity[i];
  const coordinatorGrid = set.cloud_grid_g_per_kwh ?? edge.coordinator_intensity[i];
  const edgeGrid = set.edge_grid_g_per_kwh ?? edge.intensity[i];
  const charger = edge.charger ? set.charger ?? edge.charger[i] : 1;
  const cloudGrams = (cloud.plug_kwh[i] + cloud.network_kwh[i]) * cloudGrid + cloud[`embodied_${attribution}_g`][i];
  const network = edge.network_kwh[i] * edgeGrid;
  const growing = edge.device_kwh[i] * charger * edgeGrid + edge.coordinator_kwh[i] * coordinatorGrid
    + charged(edge, attribution, set, i);
  const found = cloud.meter_kwh[i] / edge.meter_kwh[i], ratio = set.energy_ratio ?? found;
  const even = cloudGrams > network ? found * growing / (cloudGrams - network) : Infinity;
  return {cloud: cloudGrams, edge: network + found / ratio * growing, ratio, even};
}

const finite = (value) => Number.isFinite(value) ? value : null;

// Quantiles with linear interpolation; null where one is not a number.
function quantiles(values, shares) {
  values.sort();
  if (Number.isNaN(values.at(-1))) return shares.map(() => null);
  return shares.map((share) => {
    const place = share * (values.length - 1), below = Math.floor(place), rest = place - below;
    const low = values[below];
    return finite(rest === 0 ? low : low + rest * (values[below + 1] - low));
  });
}

function recompute({count, draws, center}, attribution, set) {
  const ratios = new Float64Array(count), evens = new Float64Array(count);
  let wins = 0;
  for (let i = 0; i < count; i++) {
    const {cloud, edge, even} = emitted(draws, attribution, set, i);
    ratios[i] = cloud / edge;
    evens[i] = even;
    wins += cloud > edge ? 1 : cloud === edge ? 0.5 : 0;
  }
  const probability = wins / count, atDefaults = emitted(center, attribution, set, 0);
  const [median, low, high] = quantiles(ratios, [0.5, 1 - SURE, SURE]);
  const [evenLow, evenHigh] = quantiles(evens, [1 - SURE, SURE]);
  return {
    attribution, ratio: median, low, high, probability,
    winner: probability > SURE ? "edge" : probability < 1 - SURE ? "cloud" : "unclear",
    ratioDefault: finite(atDefaults.cloud / atDefaults.edge), energyRatio: atDefaults.ratio,
    even: finite(atDefaults.even), evenLow, evenHigh,
  };
}

const number = (value, digits = 3) =>
  value === null ? "–" : new Intl.NumberFormat("en", {maximumSignificantDigits: digits}).format(value);
const percent = (share) => share > 0.99 ? ">\u00a099\u00a0%" : share < 0.01 ? "<\u00a01\u00a0%" : `${Math.round(100 * share)}\u00a0%`;

function element(name, attributes = {}, text = "") {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function csv(rows) {
  const cell = (value) => /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  return rows.map((row) => row.map((value) => cell(String(value ?? ""))).join(",") + "\r\n").join("");
}

function save(name, kind, text) {
  const address = URL.createObjectURL(new Blob([text], {type: `${kind};charset=utf-8`}));
  element("a", {href: address, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
