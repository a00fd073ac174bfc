// A greyscale PNG of 16 bits -> its codes. Browsers show such a file with 8 bits; contrast and profiles need all.

async function decodePng(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const view = new DataView(bytes.buffer);
  const parts = [];
  let width = 0, height = 0;
  for (let at = 8; at < bytes.length;) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IHDR") {
      width = view.getUint32(at + 8);
      height = view.getUint32(at + 12);
    }
    if (kind === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const plain = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = unfilter(new Uint8Array(await new Response(plain).arrayBuffer()), 2 * width, height);
  const codes = new Uint16Array(width * height);
  for (let i = 0; i < codes.length; i++) codes[i] = (rows[2 * i] << 8) | rows[2 * i + 1];
  return { width, height, codes };
}

// PNG specification, section 9: each row was stored as differences from its neighbours left (a), above (b), both (c).
function unfilter(raw, stride, height) {
  const out = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)], row = y * (stride + 1) + 1, at = y * stride;
    for (let x = 0; x < stride; x++) {
      const a = x >= 2 ? out[at + x - 2] : 0;
      const b = y ? out[at + x - stride] : 0;
      const c = x >= 2 && y ? out[at + x - stride - 2] : 0;
      let guess = 0;
      if (filter === 1) guess = a;
      else if (filter === 2) guess = b;
      else if (filter === 3) guess = (a + b) >> 1;
      else if (filter === 4) guess = paeth(a, b, c);
      out[at + x] = raw[row + x] + guess;
    }
  }
  return out;
}

function paeth(a, b, c) {
  const pa = Math.abs(b - c), pb = Math.abs(a - c), pc = Math.abs(a + b - 2 * c);
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}
