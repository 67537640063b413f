// Paired scatter, one per block: model a across, model b up, the diagonal, one point an image.

const places = [...document.querySelectorAll(".scatter")];
const tip = document.getElementById("tip");
const BOX = { left: 44, top: 12, right: 308, bottom: 276 };
const xOf = (value) => BOX.left + value * (BOX.right - BOX.left);
const yOf = (value) => BOX.bottom - value * (BOX.bottom - BOX.top);
let drawnPair = null, paled = false;

// What is said beside a mark in a chart.
function showTip(mark, children) {
  tip.hidden = false;
  tip.replaceChildren(...children);
  const where = mark.getBoundingClientRect(), size = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(innerWidth - size.width - 8, where.left + where.width / 2 - size.width / 2))}px`;
  tip.style.top = `${where.top - size.height - 8 < 8 ? where.bottom + 8 : where.top - size.height - 8}px`;
}

function points(pair, block) {
  return IMAGES
    .map((image) => ({ image, a: scoreOf(image, pair[0], block), b: scoreOf(image, pair[1], block) }))
    .filter(({ a, b }) => a !== null && b !== null)
    .sort((first, second) => first.a - second.a || first.image.index - second.image.index);
}

function frameOf(pair) {
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  return [
    ticks.flatMap((tick) => [
      svg("path", { class: "grid", d: `M${xOf(tick)} ${BOX.top}V${BOX.bottom}M${BOX.left} ${yOf(tick)}H${BOX.right}` }),
      svg("text", { class: "tick", x: xOf(tick), y: BOX.bottom + 16, "text-anchor": "middle" }, String(tick)),
      svg("text", { class: "tick", x: BOX.left - 6, y: yOf(tick) + 4, "text-anchor": "end" }, String(tick)),
    ]),
    svg("path", { class: "diagonal", d: `M${xOf(0)} ${yOf(0)}L${xOf(1)} ${yOf(1)}` }),
    svg("text", { class: "name", x: (BOX.left + BOX.right) / 2, y: 312, "text-anchor": "middle", "data-model": pair[0] % 7 }, cutMiddle(`sfd of ${MODELS[pair[0]]}`, 34)),
    svg("text", { class: "name", x: 0, y: 0, transform: `translate(10 ${(BOX.top + BOX.bottom) / 2}) rotate(-90)`, "text-anchor": "middle", "data-model": pair[1] % 7 }, cutMiddle(`sfd of ${MODELS[pair[1]]}`, 34)),
  ];
}

function drawScatter(place, pair) {
  const block = Number(place.dataset.block);
  const all = points(pair, block);
  place.hidden = false;
  const above = all.filter(({ a, b }) => b > a).length, below = all.filter(({ a, b }) => b < a).length;
  const title = el("figcaption", {}, el("span", { class: "block" }, BLOCKS[block]), " ", count(all.length, "image"));
  const dots = all.map(({ image, a, b }) => svg("circle", { cx: xOf(a).toFixed(1), cy: yOf(b).toFixed(1), r: all.length > 300 ? 2.4 : 3.4, "data-index": image.index, "data-model": (b > a ? pair[1] : pair[0]) % 7 }));
  const ring = svg("circle", { class: "ring", r: 6.5, visibility: "hidden" });
  const chart = svg("svg", {
    viewBox: "0 0 320 320", tabindex: all.length ? 0 : null, role: "img",
    "aria-label": `${BLOCKS[block]}: sfd of ${MODELS[pair[1]]} against ${MODELS[pair[0]]} on ${count(all.length, "image")}; ${MODELS[pair[1]]} higher on ${above}, ${MODELS[pair[0]]} on ${below}. Arrow keys move between images, Enter opens one.`,
  }, frameOf(pair),
  all.length ? [
    svg("text", { class: "corner", x: BOX.left + 6, y: BOX.top + 14 }, `higher on ${above}`),
    svg("text", { class: "corner", x: BOX.right - 6, y: BOX.bottom - 8, "text-anchor": "end" }, `higher on ${below}`),
  ] : svg("text", { class: "corner", x: (BOX.left + BOX.right) / 2, y: 150, "text-anchor": "middle" }, "no image scored for both"),
  svg("g", { class: "dots" }, dots), ring);
  place.replaceChildren(title, chart);
  let at = -1;

  function show(i) {
    at = i;
    ring.setAttribute("visibility", i < 0 ? "hidden" : "visible");
    tip.hidden = i < 0;
    if (i < 0) return;
    const { image, a, b } = all[i];
    ring.setAttribute("cx", xOf(a));
    ring.setAttribute("cy", yOf(b));
    showTip(ring, [el("b", {}, image.name), ...[[pair[0], a], [pair[1], b]].map(([model, value]) => el("span", {}, key(model), ` ${fixed(value, 3)}`))]);
  }

  function nearest(event) {
    const area = chart.getBoundingClientRect();
    const x = (event.clientX - area.left) * 320 / area.width, y = (event.clientY - area.top) * 320 / area.height;
    let best = -1, distance = 14 * 14;
    all.forEach(({ a, b }, i) => {
      const d = (xOf(a) - x) ** 2 + (yOf(b) - y) ** 2;
      if (d < distance) [best, distance] = [i, d];
    });
    return best;
  }

  chart.addEventListener("pointermove", (event) => { if (event.pointerType !== "touch") show(nearest(event)); });
  chart.addEventListener("pointerleave", () => show(-1));
  chart.addEventListener("blur", () => show(-1));
  chart.addEventListener("click", (event) => {
    const i = nearest(event);
    show(-1);
    if (i >= 0) openViewer(all[i].image);
  });
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (step && all.length) {
      event.preventDefault();
      show((at + step + all.length) % all.length);
    } else if (event.key === "Enter" && at >= 0) {
      event.preventDefault();
      const { image } = all[at];
      show(-1);
      openViewer(image);
    } else if (event.key === "Escape") show(-1);
  });
}

// Draw for the chosen pair; images that the filters leave out turn pale.
function drawScatters() {
  const pair = chosenPair();
  if (!pair) return;
  if (drawnPair !== pairName(pair)) {
    drawnPair = pairName(pair);
    paled = false;
    places.forEach((place) => drawScatter(place, pair));
  }
  const filtered = chosen.length < IMAGES.length;
  if (!filtered && !paled) return;
  paled = filtered;
  const inside = new Set(chosen.map((image) => String(image.index)));
  for (const dot of document.querySelectorAll(".dots circle")) dot.classList.toggle("pale", filtered && !inside.has(dot.dataset.index));
}
