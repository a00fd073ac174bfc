// The profile: intensities of every image along the line, read from the pixels, drawn as one SVG.

const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];

function element(name, attributes, words) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (words !== undefined) made.textContent = words;
  return made;
}

// Distances along the line and each image's intensities there, two samples a pixel of the finest image.
function profiles(images, line) {
  const [x0, y0, x1, y1] = line, length = Math.hypot(x1 - x0, y1 - y0);
  const finest = Math.min(...images.map((image) => image.pixel));
  const count = Math.min(1000, Math.max(2, Math.ceil((2 * length) / finest) + 1));
  const shares = Array.from({ length: count }, (_, i) => i / (count - 1));
  return {
    at: shares.map((t) => t * length),
    values: images.map((image) => shares.map((t) => sample(image, x0 + t * (x1 - x0), y0 + t * (y1 - y0)))),
  };
}

// Round numbers from low to high, about `wanted` of them.
function ticks(low, high, wanted) {
  const rough = (high - low || 1) / wanted, decade = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * decade).find((n) => n >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(+(k * step).toPrecision(12));
  return found;
}

function drawProfile(place, images, line, unit) {
  const { at, values } = profiles(images, line);
  const all = values.flat().filter((v) => Number.isFinite(v));
  let low = Math.min(0, ...all), high = Math.max(...all, low + 1e-12);
  if (low === 0 && Math.min(...all) > 0.3 * high) low = Math.min(...all) - 0.1 * (high - Math.min(...all));
  const width = Math.max(place.clientWidth, 240), height = Math.min(260, 0.62 * width);
  const left = 54, right = width - 8, top = 10, bottom = height - 36;
  const x = (v) => left + ((right - left) * v) / (at[at.length - 1] || 1);
  const y = (v) => bottom - ((bottom - top) * (v - low)) / (high - low);
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.setAttribute("aria-label", `Intensity along a line of ${lengthLabel(at[at.length - 1], unit)}: ` + images.map((image, i) => {
    const seen = values[i].filter((v) => Number.isFinite(v));
    return seen.length ? `${image.name} ${short(Math.min(...seen))} to ${short(Math.max(...seen))}` : `${image.name} none`;
  }).join(", "));
  for (const tick of ticks(low, high, 4)) {
    svg.append(element("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }));
    svg.append(element("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  for (const tick of ticks(0, at[at.length - 1], Math.min(10, width / 75))) {
    svg.append(element("text", { x: x(tick), y: bottom + 16, "text-anchor": "middle" }, short(tick)));
  }
  svg.append(element("text", { x: (left + right) / 2, y: height - 4, "text-anchor": "middle" }, `along the line (${unit})`));
  svg.append(element("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` }));
  values.forEach((row, i) => {
    let d = "", drawing = false;
    row.forEach((v, k) => {
      if (Number.isFinite(v)) d += `${drawing ? "L" : "M"}${x(at[k]).toFixed(1)} ${y(v).toFixed(1)}`;
      drawing = Number.isFinite(v);
    });
    svg.append(element("path", { ...stroke(images, i), class: "curve", d: d || "M0 0", fill: "none" }));
  });
  const legend = document.createElement("ul");
  legend.className = "key";
  images.forEach((image, i) => {
    const item = document.createElement("li"), swatch = element("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
    swatch.append(element("path", { ...stroke(images, i), d: "M0 5H26", fill: "none" }));
    item.append(swatch, image.name);
    legend.append(item);
  });
  place.replaceChildren(svg, legend);
}

// Colour, and a dash that changes when the colours begin again.
function stroke(images, i) {
  const before = images.slice(0, i).filter((image) => image.color === images[i].color).length;
  return { stroke: images[i].color, "stroke-width": 2, "stroke-dasharray": DASHES[before % DASHES.length] || "none" };
}

function short(v) {
  if (!Number.isFinite(v)) return "–";
  const size = Math.abs(v);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return v.toExponential(2);
  return String(+v.toPrecision(size >= 1000 ? 5 : 4));
}
