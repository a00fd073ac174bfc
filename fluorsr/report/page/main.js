// The page put together: what the controls say goes into `state`, and `redraw` shows it.

document.querySelectorAll("table.sortable").forEach(sortable);

const fields = JSON.parse(document.getElementById("fields").textContent);
const $ = (id) => document.getElementById(id);
const state = { field: null, left: 0, right: 0, split: 0.5, low: 0, high: 1, own: false, palette: "grey", mode: "images", view: null, line: null };
let due = false;

function redraw() {
  if (!due) requestAnimationFrame(() => { due = false; draw(); });
  due = true;
}

function picture(image) {
  const [low, high] = state.own ? image.own : [state.low, state.high];
  return bitmap(image, image.values, low, high, state.palette);
}

function draw() {
  const { field, view } = state, truth = field.truth === null ? null : field.images[field.truth];
  const side = (index) => ({ image: field.images[index], picture: picture(field.images[index]) });
  const context = drawStage($("stage"), aspect(), side(state.left), side(state.right), state.split, view);
  drawLine(context, view, state.line);
  drawScaleBar(context, view, field.unit);
  const names = [state.left, state.right].map((index) => field.images[index].name);
  $("stage").setAttribute("aria-label", `${names[0]} left and ${names[1]} right of a slider at ${Math.round(100 * state.split)} %`);
  field.images.forEach((image, index) => {
    const crop = $("crops").children[index].querySelector("canvas"), small = prepare(crop, 1);
    const wrong = state.mode === "errors" ? errors(image, truth) : null;
    const reach = field.errorWindow;
    drawImage(small, wrong ? bitmap(image, wrong, -reach, reach, "errors") : picture(image), image, view);
    drawLine(small, view, state.line);
    drawScaleBar(small, view, field.unit);
  });
  const legend = $("error-legend");
  legend.hidden = state.mode !== "errors";
  legend.textContent = `Image minus truth, after a linear fit of intensity: orange has too much light, blue too little, black none; in full colour from ±${short(field.errorWindow)}.`;
  $("low-value").value = short(state.low);
  $("high-value").value = short(state.high);
}

const aspect = () => Math.min(1.1, Math.max(0.5, state.field.images[0].height / state.field.images[0].width));

function whole() {
  const { width, height } = state.field.images[0];
  state.view = { x: width / 2, y: height / 2, span: Math.max(width, height / aspect()) };
}

function zoom(factor, x = state.view.x, y = state.view.y) {
  const { width, height, pixel } = state.field.images[0], old = state.view.span;
  const span = Math.min(Math.max(width, height / aspect()), Math.max(old * factor, 8 * pixel));
  state.view = { x: x + ((state.view.x - x) * span) / old, y: y + ((state.view.y - y) * span) / old, span };
  move(0, 0);
}

function move(dx, dy) {
  const { width, height } = state.field.images[0], { view } = state;
  view.x = Math.min(width, Math.max(0, view.x + dx));
  view.y = Math.min(height, Math.max(0, view.y + dy));
  $("stage").style.touchAction = view.span < width ? "none" : "pan-y";
  redraw();
}

async function show(index) {
  const field = fields[index];
  await Promise.all(field.images.map(load));
  Object.assign(state, { field, left: field.left, right: field.right, line: [...field.line] });
  for (const id of ["left", "right"]) {
    $(id).replaceChildren(...field.images.map((image, i) => new Option(image.name, i, false, i === field[id])));
  }
  const least = Math.min(...field.images.map((image) => image.low)), most = Math.max(...field.images.map((image) => image.high));
  for (const id of ["low", "high"]) Object.assign($(id), { min: least, max: most, step: (most - least) / 1000 || 1 });
  $("crops").replaceChildren(...field.images.map(crop));
  $("errors-choice").hidden = field.truth === null;
  if (field.truth === null) setMode("images");
  $("field-remark").textContent = field.remark;
  document.querySelectorAll(".field-charts").forEach((charts) => { charts.hidden = Number(charts.dataset.field) !== index; });
  contrast(...field.window);
  whole();
  move(0, 0);
  profile();
}

function profile() {
  drawProfile($("profile"), state.field.images, state.line, state.field.unit);
  redraw();
}

function crop(image) {
  const figure = document.createElement("figure"), canvas = document.createElement("canvas");
  const caption = document.createElement("figcaption"), swatch = document.createElement("span"), small = document.createElement("small");
  swatch.className = "swatch";
  swatch.style.background = image.color;
  small.textContent = image.caption + (image.bad ? ` ${image.bad} pixels are not numbers.` : "");
  caption.append(swatch, image.name, small);
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${image.name}; arrow keys move the profile's line`);
  listenForLine(canvas);
  figure.append(canvas, caption);
  return figure;
}

function contrast(low, high) {
  const gap = Number($("low").step);
  Object.assign(state, { low, high: Math.max(high, low + gap) });
  $("low").value = state.low;
  $("high").value = state.high;
  redraw();
}

function setMode(mode) {
  state.mode = mode;
  document.querySelector(`input[name="mode"][value="${mode}"]`).checked = true;
  redraw();
}

// Where a pointer is, in the field's unit.
function place(canvas, event) {
  const box = canvas.getBoundingClientRect(), k = state.view.span / box.width;
  return [state.view.x + (event.clientX - box.left - box.width / 2) * k, state.view.y + (event.clientY - box.top - box.height / 2) * k];
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function listenForLine(canvas) {
  let start = null;
  canvas.addEventListener("pointerdown", (event) => {
    start = place(canvas, event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const end = place(canvas, event);
    if (!start || Math.hypot(end[0] - start[0], end[1] - start[1]) < state.view.span / 50) return;
    state.line = [...start, ...end];
    profile();
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { start = null; });
  canvas.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const by = state.view.span / 60;
    state.line = state.line.map((v, i) => (event.shiftKey && i < 2 ? v : v + step[i % 2] * by));
    profile();
  });
}

function listenOnStage(stage) {
  const pointers = new Map();
  let dividing = false;
  stage.addEventListener("pointerdown", (event) => {
    const box = stage.getBoundingClientRect();
    pointers.set(event.pointerId, event);
    dividing = pointers.size === 1 && Math.abs(event.clientX - box.left - state.split * box.width) < 22;
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    tell(place(stage, event));
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const box = stage.getBoundingClientRect(), k = state.view.span / box.width;
    if (dividing) split((event.clientX - box.left) / box.width);
    else if (pointers.size === 1) move((before.clientX - event.clientX) * k, (before.clientY - event.clientY) * k);
    else {
      const other = [...pointers.values()].find((one) => one.pointerId !== event.pointerId);
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      zoom(apart(before) / Math.max(apart(event), 1), ...place(stage, other));
    }
    pointers.set(event.pointerId, event);
  });
  for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, (event) => { pointers.delete(event.pointerId); dividing = false; });
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    zoom(1.0015 ** event.deltaY, ...place(stage, event));
  }, { passive: false });
  stage.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (step) move(step[0] * state.view.span / 12, step[1] * state.view.span / 12);
    else if (event.key === "+" || event.key === "=") zoom(0.7);
    else if (event.key === "-") zoom(1 / 0.7);
    else if (event.key === "0") { whole(); move(0, 0); }
    else return;
    event.preventDefault();
  });
}

function split(share) {
  state.split = Math.min(1, Math.max(0, share));
  $("split").value = Math.round(100 * state.split);
  redraw();
}

function tell([x, y]) {
  const { field } = state;
  const figures = [...new Set([state.left, state.right])].map((index) => `${field.images[index].name} ${short(sample(field.images[index], x, y))}`);
  $("readout").textContent = `x ${short(x)}, y ${short(y)} ${field.unit}: ${figures.join(", ")}`;
}

if (fields.length) {
  $("viewer").hidden = false;
  $("field").addEventListener("change", () => show(Number($("field").value)));
  for (const id of ["left", "right"]) $(id).addEventListener("change", () => { state[id] = Number($(id).value); redraw(); });
  $("palette").addEventListener("change", () => { state.palette = $("palette").value; redraw(); });
  $("own").addEventListener("change", () => { state.own = $("own").checked; redraw(); });
  $("split").addEventListener("input", () => split($("split").value / 100));
  $("low").addEventListener("input", () => contrast(Math.min(Number($("low").value), state.high), state.high));
  $("high").addEventListener("input", () => contrast(Math.min(state.low, Number($("high").value)), Number($("high").value)));
  document.querySelectorAll('input[name="mode"]').forEach((radio) => radio.addEventListener("change", () => setMode(radio.value)));
  $("zoom-in").addEventListener("click", () => zoom(0.7));
  $("zoom-out").addEventListener("click", () => zoom(1 / 0.7));
  $("fit").addEventListener("click", () => { whole(); move(0, 0); });
  $("auto").addEventListener("click", () => contrast(...state.field.window));
  listenOnStage($("stage"));
  new ResizeObserver(() => { if (state.field) profile(); }).observe($("viewer"));
  window.addEventListener("beforeprint", () => { if (state.field) draw(); });
  show(0).then(() => { document.body.dataset.ready = "yes"; });
} else {
  document.body.dataset.ready = "yes";
}
