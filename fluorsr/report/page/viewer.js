// The images of one field: a stage with two of them divided by a slider, and a small crop of each. All show one place.
//
//     codes -> intensities -> colours (window, palette) -> a bitmap an image -> drawn where `view` says
//
// Lengths are in the field's unit (µm). view = { x, y, span }: the centre of what is seen, and the width of the stage.

const PALETTES = {
  grey: ramp(["#000000", "#ffffff"]),
  magma: ramp(["#000004", "#1d1147", "#51127c", "#832681", "#b73779", "#e75263", "#fc8961", "#fec488", "#fcfdbf"]),
  errors: ramp(["#b5dcf5", "#56b4e9", "#005a8f", "#000000", "#9a4a00", "#e69f00", "#ffe2a1"]),
};
const NOT_A_NUMBER = 0xffff7a2e; // ABGR: a blue that neither palette has

// 256 colours as ABGR, between equally spaced #rrggbb.
function ramp(stops) {
  const rgb = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const at = (i / 255) * (rgb.length - 1), k = Math.min(Math.floor(at), rgb.length - 2);
    const [r, g, b] = rgb[k].map((v, c) => Math.round(v + (at - k) * (rgb[k + 1][c] - v)));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

// Intensities as numbers, NaN where a pixel was not finite; kept with the image once made.
async function load(image) {
  if (image.values) return;
  const { width, height, codes } = await decodePng(image.png);
  image.columns = width;
  image.rows = height;
  image.values = Float32Array.from(codes, (c) => (c ? image.low + (c - 1) * image.step : NaN));
  const seen = image.values.filter((v) => !Number.isNaN(v)).sort();
  const at = (share) => (seen.length ? seen[Math.round(share * (seen.length - 1))] : share);
  image.own = [at(0.005), at(0.998)];
}

// The bitmap of an image in a window (low, high) and a palette; made again only where these have changed.
function bitmap(image, values, low, high, palette) {
  const wanted = `${low} ${high} ${palette}`;
  image.bitmaps ??= {};
  const slot = palette === "errors" ? "errors" : "image";
  const made = image.bitmaps[slot];
  if (made && made.wanted === wanted) return made.canvas;
  const canvas = made ? made.canvas : document.createElement("canvas");
  canvas.width = image.columns;
  canvas.height = image.rows;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(image.columns, image.rows);
  const pixels = new Uint32Array(picture.data.buffer), colors = PALETTES[palette];
  const factor = 256 / (high - low || 1);
  for (let i = 0; i < pixels.length; i++) {
    const v = values[i];
    pixels[i] = v !== v ? NOT_A_NUMBER : colors[Math.max(0, Math.min(255, Math.floor((v - low) * factor)))];
  }
  context.putImageData(picture, 0, 0);
  image.bitmaps[slot] = { wanted, canvas };
  return canvas;
}

// Restored minus truth after the gain and offset that fit it best; null where the two do not share their pixels.
function errors(image, truth) {
  if (!truth || image === truth || !image.fit || image.columns !== truth.columns) return null;
  const [gain, offset] = image.fit;
  image.errors ??= image.values.map((v, i) => gain * v + offset - truth.values[i]);
  return image.errors;
}

// Bilinear between pixel centres; x and y in the field's unit. NaN outside the image.
function sample(image, x, y) {
  const u = x / image.pixel - 0.5, v = y / image.pixel - 0.5;
  if (u < -0.5 || v < -0.5 || u > image.columns - 0.5 || v > image.rows - 0.5) return NaN;
  const i = Math.min(Math.max(Math.floor(u), 0), Math.max(image.columns - 2, 0));
  const j = Math.min(Math.max(Math.floor(v), 0), Math.max(image.rows - 2, 0));
  const right = Math.min(i + 1, image.columns - 1), below = Math.min(j + 1, image.rows - 1);
  const a = Math.min(Math.max(u - i, 0), 1), b = Math.min(Math.max(v - j, 0), 1);
  const at = (row, column) => image.values[row * image.columns + column];
  return (1 - b) * ((1 - a) * at(j, i) + a * at(j, right)) + b * ((1 - a) * at(below, i) + a * at(below, right));
}

// A canvas as wide as its place on the page, in the screen's own pixels; `aspect` is height over width.
function prepare(canvas, aspect) {
  const width = Math.max(1, Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)));
  const height = Math.max(1, Math.round(width * aspect));
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  return context;
}

function drawImage(context, picture, image, view) {
  const { width, height } = context.canvas, k = width / view.span;
  context.drawImage(picture, width / 2 - view.x * k, height / 2 - view.y * k, image.width * k, image.height * k);
}

// The largest 1, 2 or 5 times a power of ten up to a quarter of the width, and its words.
function niceLength(span) {
  const decade = 10 ** Math.floor(Math.log10(span / 4));
  return [5, 2, 1].map((n) => n * decade).find((length) => length <= (span / 4) * (1 + 1e-9));
}

function lengthLabel(length, unit) {
  return unit === "µm" && length < 1 ? `${+(length * 1000).toPrecision(3)} nm` : `${+length.toPrecision(3)} ${unit}`;
}

function drawScaleBar(context, view, unit) {
  const { width, height } = context.canvas, dpr = window.devicePixelRatio || 1;
  const length = niceLength(view.span), pixels = (length * width) / view.span;
  const x = 0.04 * width, y = height - 0.04 * width - 3 * dpr;
  const label = lengthLabel(length, unit);
  context.font = `600 ${12 * dpr}px system-ui, sans-serif`;
  const plate = Math.max(pixels, context.measureText(label).width) + 10 * dpr;
  context.fillStyle = "rgba(0, 0, 0, 0.55)";
  context.fillRect(x - 5 * dpr, y - 21 * dpr, plate, 29 * dpr);
  context.fillStyle = "#ffffff";
  context.fillRect(x, y, pixels, 3 * dpr);
  context.fillText(label, x, y - 6 * dpr);
}

function drawLine(context, view, line) {
  const { width, height } = context.canvas, k = width / view.span, dpr = window.devicePixelRatio || 1;
  const [x0, y0, x1, y1] = line.map((v, i) => (i % 2 ? height / 2 + (v - view.y) * k : width / 2 + (v - view.x) * k));
  for (const [color, thick] of [["rgba(0, 0, 0, 0.7)", 4], ["#ffffff", 1.5]]) {
    context.strokeStyle = color;
    context.lineWidth = thick * dpr;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
  }
  for (const [x, y] of [[x0, y0], [x1, y1]]) {
    context.beginPath();
    context.arc(x, y, 3.5 * dpr, 0, 7);
    context.fillStyle = "#ffffff";
    context.fill();
    context.strokeStyle = "#000000";
    context.lineWidth = dpr;
    context.stroke();
  }
}

function drawLabel(context, label, right) {
  const { width } = context.canvas, dpr = window.devicePixelRatio || 1, pad = 7 * dpr;
  context.font = `600 ${13 * dpr}px system-ui, sans-serif`;
  const room = width / 2 - 3 * pad;
  while (label.length > 4 && context.measureText(label).width > room) label = `${label.slice(0, -2).trimEnd()}…`;
  const wide = context.measureText(label).width + 2 * pad, x = right ? width - wide - pad : pad;
  context.fillStyle = "rgba(0, 0, 0, 0.6)";
  context.fillRect(x, pad, wide, 24 * dpr);
  context.fillStyle = "#ffffff";
  context.fillText(label, x + pad, pad + 16.5 * dpr);
}

// Left image up to `split` (0 to 1) of the width, right image from there on.
function drawStage(canvas, aspect, left, right, split, view) {
  const context = prepare(canvas, aspect), { width, height } = canvas, dpr = window.devicePixelRatio || 1;
  const at = Math.round(split * width);
  for (const [side, x0, x1] of [[left, 0, at], [right, at, width]]) {
    context.save();
    context.beginPath();
    context.rect(x0, 0, x1 - x0, height);
    context.clip();
    drawImage(context, side.picture, side.image, view);
    context.restore();
  }
  context.fillStyle = "#000000aa";
  context.fillRect(at - 2 * dpr, 0, 4 * dpr, height);
  context.fillStyle = "#ffffff";
  context.fillRect(at - dpr, 0, 2 * dpr, height);
  context.beginPath();
  context.arc(at, height / 2, 15 * dpr, 0, 7);
  context.fill();
  context.fillStyle = "#101014";
  for (const way of [-1, 1]) {
    context.beginPath();
    context.moveTo(at + way * 10 * dpr, height / 2);
    context.lineTo(at + way * 4 * dpr, height / 2 - 5 * dpr);
    context.lineTo(at + way * 4 * dpr, height / 2 + 5 * dpr);
    context.fill();
  }
  drawLabel(context, left.image.name, false);
  drawLabel(context, right.image.name, true);
  return context;
}
