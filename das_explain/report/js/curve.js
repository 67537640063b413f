// Specification curves: a pair's difference in every reading of sfd, one chart per block.

const CURVE = { left: 150, right: 610, top: 12, bottom: 150, rows: 172, row: 13 };
const CHOICE_WORDS = { scaling: "scaling", threshold: "threshold", box: "box B", region: "region R", zero_cam: "empty map", no_background: "map inside R" };
const VALUE_WORDS = {
  scaling: SCALING_WORDS,
  zero_cam: { out: "left out", 0.5: "counts 0.5" },
  no_background: { out: "left out", 1: "counts 1" },
};
const valueWords = (choice, value) => (VALUE_WORDS[choice] && VALUE_WORDS[choice][value]) || value;
const curvePlaces = [...document.querySelectorAll(".curve")];

// The largest of 1, 2 or 5 times a power of ten up to a limit.
function niceStep(limit) {
  const power = 10 ** Math.floor(Math.log10(limit));
  return power * [5, 2, 1].find((each) => each * power <= limit);
}

function drawCurve(place, pair, { choices, curves }) {
  const block = Number(place.dataset.block), curve = curves[pair.join("-")]?.[block];
  place.hidden = !curve;
  if (!curve) return;
  const { delta, low, high, n } = curve, total = delta.length;
  const values = curve.values.map((digits) => [...digits].map((digit) => parseInt(digit, 36)));
  const reach = 1.05 * Math.max(1, ...[...delta, ...low, ...high].map(Math.abs));
  const x = (i) => CURVE.left + (i + 0.5) * (CURVE.right - CURVE.left) / total;
  const y = (value) => (CURVE.top + CURVE.bottom) / 2 - value / reach * (CURVE.bottom - CURVE.top) / 2;
  const line = (i) => low[i] === null ? "" : `M${x(i).toFixed(1)} ${y(low[i]).toFixed(1)}V${y(high[i]).toFixed(1)}`;
  const ahead = (i) => (low[i] === null ? 2 : low[i] > 0 ? 1 : high[i] < 0 ? 0 : 2);
  const bars = [0, 1, 2].map((side) => delta.map((_, i) => (ahead(i) === side ? line(i) : "")).join(""));
  const step = niceStep(reach / 2), ticks = [-2, -1, 1, 2].map((each) => each * step).filter((value) => Math.abs(value) < reach);
  const counts = [0, 1, 2].map((side) => delta.filter((_, i) => ahead(i) === side).length);
  const own = curve.default, lines = [];
  let at = CURVE.rows;
  choices.forEach(([choice, words], number) => {
    lines.push(svg("text", { class: "choice", x: 0, y: at + 9 }, CHOICE_WORDS[choice] || choice));
    words.forEach((word, value) => {
      const mine = [...values[number].keys()].filter((i) => values[number][i] === value);
      if (!mine.length) return;
      const above = mine.filter((i) => delta[i] > 0).length, is = own !== null && values[number][own] === value;
      lines.push(
        svg("text", { class: is ? "level own" : "level", x: CURVE.left - 8, y: at + 9, "text-anchor": "end" }, valueWords(choice, word)),
        svg("path", { class: "tick-row", d: mine.map((i) => `M${x(i).toFixed(1)} ${at + 1}v9`).join("") }),
        svg("text", { class: "level", x: CURVE.right + 6, y: at + 9 }, `${Math.round(100 * above / mine.length)}\u202f%`));
      at += CURVE.row;
    });
    at += 6;
  });
  const marker = svg("path", { class: "reading-now", visibility: "hidden" });
  const [a, b] = pair.map((model) => MODELS[model]);
  const chart = svg("svg", {
    viewBox: `0 0 650 ${at + 4}`, role: "img", tabindex: 0,
    "aria-label": `${BLOCKS[block]}: ${b} minus ${a} in ${count(total, "reading")}. ${b} ahead with an interval above zero in ${counts[1]}, ${a} in ${counts[0]}, neither in ${counts[2]}. Arrow keys read one after the other.`,
  },
  svg("path", { class: "zero-line", d: `M${CURVE.left} ${y(0)}H${CURVE.right}` }),
  ticks.map((tick) => [svg("path", { class: "grid", d: `M${CURVE.left} ${y(tick).toFixed(1)}H${CURVE.right}` }), svg("text", { class: "tick", x: CURVE.right + 6, y: y(tick) + 4 }, signed(tick / 1e6, step < 1e4 ? 3 : 2))]),
  svg("text", { class: "tick", x: CURVE.right + 6, y: y(0) + 4 }, "0"),
  svg("text", { class: "side", x: 0, y: CURVE.top + 10, "data-model": pair[1] % 7 }, `${cutMiddle(b, 16)} higher`),
  svg("text", { class: "side", x: 0, y: CURVE.bottom, "data-model": pair[0] % 7 }, `${cutMiddle(a, 16)} higher`),
  svg("text", { class: "level", x: CURVE.right + 6, y: CURVE.rows - 8 }, "above 0"),
  bars.map((d, side) => svg("path", { class: side === 2 ? "bar unclear" : "bar", d, "data-model": side === 2 ? null : pair[side] % 7 })),
  svg("path", { class: "deltas", d: delta.map((value, i) => `M${x(i).toFixed(1)} ${(y(value) - 1).toFixed(1)}v2`).join("") }),
  own === null ? [] : [
    svg("path", { class: "default-line", d: `M${x(own).toFixed(1)} ${CURVE.top - 4}V${at - 6}` }),
    svg("circle", { class: "default-point", cx: x(own).toFixed(1), cy: y(delta[own]).toFixed(1), r: 4 }),
    svg("text", { class: "default-word", x: x(own) + (own > total / 2 ? -7 : 7), y: CURVE.top + 4, "text-anchor": own > total / 2 ? "end" : "start" }, `as scored ${signed(delta[own] / 1e6, 3)}`),
  ],
  lines, marker);
  place.replaceChildren(el("figcaption", {}, el("span", { class: "block" }, BLOCKS[block]), ` ${b} ${MINUS} ${a} in ${count(total, "reading")}; `,
    `interval above zero in ${counts[1]}, below in ${counts[0]}`), chart);

  let shown = -1;
  const choose = (i) => {
    shown = i;
    marker.setAttribute("visibility", i < 0 ? "hidden" : "visible");
    if (i < 0) return void (tip.hidden = true);
    marker.setAttribute("d", `M${x(i).toFixed(1)} ${CURVE.top}V${at - 6}`);
    const said = choices.map(([choice, words], number) => `${CHOICE_WORDS[choice] || choice} ${valueWords(choice, words[values[number][i]])}`);
    const interval = low[i] === null ? "no interval" : `[${signed(low[i] / 1e6, 3)}, ${signed(high[i] / 1e6, 3)}]`;
    showTip(marker, [el("b", {}, `${signed(delta[i] / 1e6, 3)} ${interval}`), el("span", {}, said.join(", ")), el("span", {}, count(n[i] || 0, "image"))]);
  };
  chart.addEventListener("pointermove", (event) => {
    const area = chart.getBoundingClientRect(), across = (event.clientX - area.left) * 650 / area.width;
    choose(across < CURVE.left || across > CURVE.right ? -1 : Math.min(total - 1, Math.floor((across - CURVE.left) / (CURVE.right - CURVE.left) * total)));
  });
  chart.addEventListener("pointerleave", () => choose(-1));
  chart.addEventListener("blur", () => choose(-1));
  chart.addEventListener("focus", () => { if (chart.matches(":focus-visible")) choose(own === null ? 0 : own); });
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 20, PageUp: -20 }[event.key];
    if (step) {
      event.preventDefault();
      choose((shown + step + total) % total);
    } else if (event.key === "Escape") choose(-1);
  });
}

let drawnCurves = ""; // the pair whose curves are drawn
function drawCurves() {
  const pair = chosenPair();
  if (!pair || !curvePlaces.length || drawnCurves === pairName(pair)) return;
  drawnCurves = pairName(pair);
  loadPairs().then((found) => {
    for (const place of found && found.curves ? curvePlaces : []) later(() => { if (pairName(pair) === drawnCurves) drawCurve(place, pair, found); });
  });
}
