// One image as a card: the photo with R and B, then each model's blocks with their scores and the difference.

function verdict(answer) {
  if (!answer || answer.predicted === null) return null;
  const mark = answer.correct === null ? null
    : el("span", { class: answer.correct ? "right" : "wrong" }, el("span", { "aria-hidden": "true" }, answer.correct ? "✓" : "✗"), el("span", { class: "hidden" }, answer.correct ? " right" : " wrong"));
  return el("span", { class: "verdict" }, el("span", { class: "predicted", title: answer.predicted }, cutMiddle(answer.predicted, 28)), el("span", {}, percent(answer.confidence)), mark);
}

function describe(image, model, block, cell) {
  const score = cell.sfd === null ? statusWords(cell.status) : `sfd ${fixed(cell.sfd, 3)}`;
  return `Heat map of ${MODELS[model]} at ${BLOCKS[block]} for ${image.name}: ${score}`;
}

// What stands below a map.
function scoreWords(image, model, block) {
  const cell = shownCell(image, model, block);
  const flag = cell.status === "ok" ? null : el("span", { class: "flag" }, statusWords(cell.status));
  return [el("span", { class: "block" }, BLOCKS[block]), el("b", { class: "score" }, fixed(cell.sfd, 3)), flag].filter(Boolean);
}

// A map with its score below; a cell that the run does not have keeps its place empty.
function tile(image, model, block, detail) {
  const cell = cellOf(image, model, block);
  if (!cell) return el("figure", { class: "tile absent" });
  const body = !cell.blank
    ? picture(image, { frame: image.models[model].frame, map: { model, block }, boxes: tileBoxes(image, model, block), alt: describe(image, model, block, cell), detail })
    : el("div", { class: "stack-of-layers blank" }, el("p", { class: "missing" }, "No map"));
  if (cell.blank) {
    const { height, width } = DATA.frames[image.models[model].frame];
    body.style.aspectRatio = `${width} / ${height}`;
  }
  return el("figure", { class: "tile", "data-cell": `${model} ${block}` }, body, el("figcaption", {}, scoreWords(image, model, block)));
}

function tileBoxes(image, model, block) {
  const { box } = shownCell(image, model, block);
  return box ? [{ box, model: null }] : [];
}

function photoBoxes(image, models) {
  const block = chosenBlock();
  return models
    .map((model) => ({ model: model % 7, box: (shownCell(image, model, block) || {}).box, frame: (image.models[model] || {}).frame }))
    .filter(({ box, frame }) => box && frame === 0);
}

function photo(image, models, detail) {
  return picture(image, { frame: 0, boxes: photoBoxes(image, models), finds: image.region ? image.region.boxes : [], alt: `${image.name}, as the network saw it`, detail });
}

// How R was found: what was asked for, the score of the box, and what is odd about it.
function found(image) {
  const region = image.region;
  if (!region || region.score === null && !region.prompt) return null;
  return el("p", { class: "message found" },
    "R asked for: ", el("q", {}, region.prompt || "the data’s boxes"),
    region.score === null ? null : `, score ${fixed(region.score)}`,
    region.iou === null ? null : `, SAM expects an IoU of ${fixed(region.iou)}`,
    region.of > 1 ? `, ${region.used} of ${region.of} boxes used` : null,
    region.retried ? ", at the lower threshold" : null);
}

function differences(image, pair, blocks) {
  const [a, b] = pair;
  const values = blocks.map((block) => [block, difference(shownScore(image, a, block), shownScore(image, b, block))]);
  if (values.every(([, value]) => value === null)) return null;
  return el("div", { class: "differences" },
    el("p", {}, "difference ", key(b), ` ${MINUS} `, key(a)),
    el("dl", {}, values.map(([block, value]) => el("div", {},
      el("dt", { class: "block" }, BLOCKS[block]),
      el("dd", { "data-model": value === null || value === 0 ? null : (value > 0 ? b : a) % 7 }, signed(value, 3))))));
}

// A model's line of maps; an image that failed as a whole has none, only (perhaps) a prediction.
function modelRow(image, model, blocks, detail) {
  const whole = image.status !== "ok" && blocks.every((block) => (cellOf(image, model, block) || { blank: true }).blank);
  const said = verdict(image.models[model]);
  if (whole && !said) return null;
  return el("section", { class: "model" },
    el("p", { class: "model-head" }, key(model), said),
    whole ? null : el("div", { class: "tiles" }, blocks.map((block) => tile(image, model, block, detail))));
}

// Write another reading of an image into its card, or into the viewer, once its maps are loaded.
async function reread(root, image) {
  await load(image);
  const models = shownModels(), blocks = shownBlocks(), pair = chosenPair();
  for (const figure of root.querySelectorAll(".tile[data-cell]")) {
    const [model, block] = figure.dataset.cell.split(" ").map(Number);
    figure.querySelector("figcaption").replaceChildren(...scoreWords(image, model, block));
    figure.querySelector(".boxes")?.replaceChildren(...boxLines(tileBoxes(image, model, block)));
  }
  root.querySelector(".photo .boxes")?.replaceChildren(...boxLines(photoBoxes(image, models)));
  const told = root.querySelector(".differences"), fresh = told && differences(image, pair, blocks);
  if (fresh) told.replaceWith(fresh);
  const table = root.querySelector(".numbers"), rows = table && numbers(image, models, blocks);
  if (rows) table.replaceWith(rows);
  root.dataset.reading = readingKey();
}

function card(image, open) {
  const models = shownModels(), blocks = shownBlocks(), pair = chosenPair();
  const rows = models.filter((model) => image.models[model]);
  const compared = pair && blocks.length && pair.every((model) => models.includes(model));
  return el("article", { class: "card", "data-index": image.index, onclick: () => open(image) },
    el("header", {},
      el("h3", {}, el("button", { type: "button", class: "open", title: image.name, "aria-haspopup": "dialog" }, cutMiddle(image.name, 52))),
      el("p", { class: "facts" }, image.label === null ? null : el("span", { class: "label", title: image.label }, cutMiddle(image.label, 28)),
        image.status === "ok" ? null : el("span", { class: "flag" }, statusWords(image.status)))),
    el("div", { class: "card-body" },
      el("div", { class: "photo" }, photo(image, models, 2),
        image.frames[0] && image.message ? el("p", { class: "message" }, image.message) : null,
        found(image),
        compared ? differences(image, pair, blocks) : null),
      rows.length && blocks.length ? el("div", { class: "models" }, rows.map((model) => modelRow(image, model, blocks, 1))) : null));
}
