// Outlines of truth and prediction over a picture. Truth is a solid blue line, prediction a dashed yellow one; each
// has a rim of its own, so that both are seen on any picture and by every kind of colour vision.
const TRUTH = "#0050dc";
const PREDICTION = "#fff01e";
const IGNORED = 255;
const DASH = 9; // pixels of the canvas

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The label maps of a row, reduced to the chosen class: {truth, prediction, ignored}.
async function masksOf(row) {
  const [truth, prediction] = await Promise.all([inflate(data.slices[row.slice].truth), inflate(row.mask)]);
  const label = chosenLabel();
  const codes = label === null ? null : new Set(data.labels[label].codes);
  const table = Uint8Array.from({ length: 256 }, (_, code) => (codes ? (codes.has(code) ? 1 : 0) : code % IGNORED));
  return {
    ignored: truth.map((code) => (code === IGNORED ? 1 : 0)),
    truth: truth.map((code) => table[code]),
    prediction: prediction.map((code) => table[code]),
  };
}

// The borders between different labels of a map, as a path; `dashed` leaves out every other piece.
function outline(map, width, height, scale, dashed) {
  const path = new Path2D();
  const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : map[y * width + x]);
  const drawn = (position) => !dashed || Math.floor((position * scale) / DASH) % 2 === 0;
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      const here = at(x, y);
      if (y < height && here !== at(x - 1, y) && drawn(y)) {
        path.moveTo(x * scale, y * scale);
        path.lineTo(x * scale, (y + 1) * scale);
      }
      if (x < width && here !== at(x, y - 1) && drawn(x)) {
        path.moveTo(x * scale, y * scale);
        path.lineTo((x + 1) * scale, y * scale);
      }
    }
  }
  return path;
}

function fillErrors(context, masks, width, height, scale) {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x;
      if (masks.ignored[i] || masks.truth[i] === masks.prediction[i]) continue;
      const missed = masks.truth[i] !== 0;
      context.fillStyle = missed ? "rgb(0 80 220 / 0.7)" : "rgb(255 240 30 / 0.7)";
      // missed areas are striped, false ones plain: not by colour only
      if (!missed || Math.floor(((x + y) * scale) / 6) % 2 === 0) context.fillRect(x * scale, y * scale, scale, scale);
    }
  }
}

function stroke(context, path, colour, rim, width) {
  context.lineCap = "square";
  context.strokeStyle = rim;
  context.lineWidth = width * 1.6;
  context.stroke(path);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(path);
}

// Draws what is switched on; the canvas gets at least `pixels` columns.
async function drawOverlay(canvas, row, pixels) {
  const { width, height } = data.slices[row.slice];
  const masks = await masksOf(row);
  const scale = Math.max(1, Math.ceil(pixels / width));
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  if (data.ignore) {
    context.fillStyle = "rgb(128 128 128 / 0.6)";
    masks.ignored.forEach((is, i) => is && context.fillRect((i % width) * scale, Math.floor(i / width) * scale, scale, scale));
  }
  if (state.errors) fillErrors(context, masks, width, height, scale);
  const thickness = (2.4 * canvas.width) / pixels / (pixels < 300 ? 1.4 : 1);
  if (state.truth) {
    stroke(context, outline(masks.truth, width, height, scale, false), TRUTH, "rgb(255 255 255 / 0.6)", 1.8 * thickness);
  }
  if (state.prediction) {
    stroke(context, outline(masks.prediction, width, height, scale, true), PREDICTION, "rgb(0 0 0 / 0.5)", thickness);
  }
}

// A picture with its canvas. `show(true)` loads and draws it, `show(false)` gives the memory back.
function picture(row, pixels, fit) {
  const slice = data.slices[row.slice];
  const frame = element("span", { class: "frame" });
  const image = element("img", { alt: "", decoding: "async", width: slice.width, height: slice.height });
  const canvas = element("canvas", { width: 1, height: 1, "aria-hidden": "true" });
  frame.append(image, canvas);
  const shape = slice.width / slice.height;
  frame.style.width = shape > fit.width / fit.height ? "100%" : `${(100 * shape * fit.height) / fit.width}%`;
  return {
    frame,
    show(visible) {
      if (!visible) {
        image.removeAttribute("src");
        canvas.width = canvas.height = 1;
        return undefined;
      }
      image.src = data.imageFolder ? slice.image : `data:image/jpeg;base64,${slice.image}`;
      return drawOverlay(canvas, row, pixels);
    },
  };
}
