// Sample training images: labels, and how probable the labeler finds a class in each tile.
const SCALE = 200, FIRST_IMAGES = 12;

function unpackSamples(group) {
  if (group.cards) return group.cards;
  const packed = group.samples, width = packed.classes.length, views = packed.tiles + 1;
  const scores = numbers(packed.scores, Uint8Array), seen = packed.views && numbers(packed.views, Uint8Array);
  group.cards = packed.pictures.map((picture, i) => {
    const observed = new Set(packed.observed[i]), positive = packed.positive[i].filter((j) => !observed.has(j));
    const targets = packed.targets && new Set(packed.targets[i]);
    return {
      uri: data.images[picture], name: packed.names[i], observed: [...observed],
      right: targets ? positive.filter((j) => targets.has(j)) : [], wrong: targets ? positive.filter((j) => !targets.has(j)) : [],
      unknown: targets ? [] : positive, missed: targets ? [...targets].filter((j) => !observed.has(j) && !positive.includes(j)) : [],
      score: (j) => scores[i * width + j] / SCALE, view: seen && ((v, j) => seen[(i * views + v) * width + j] / SCALE),
    };
  });
  return group.cards;
}

// Tiles are lit as probable as they are; the numbers are percent.
function heat(card, j, tiles) {
  const side = Math.round(Math.sqrt(tiles)), size = 100 / side, layer = svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  for (let v = 0; v < tiles; v++) {
    const p = card.view(v + 1, j), x = (v % side) * size, y = Math.floor(v / side) * size;
    layer.append(svg("rect", { x, y, width: size, height: size, fill: "#000", "fill-opacity": 0.62 * (1 - p), stroke: "#fff", "stroke-opacity": 0.35, "stroke-width": 0.4 }));
    if (p >= 0.1 && side <= 6) layer.append(svg("text", { x: x + size / 2, y: y + size / 2 + 2, "text-anchor": "middle" }, `${Math.round(100 * p)}`));
  }
  return layer;
}

function cardView(card, packed, preferred, overlay) {
  const order = [["wrong", card.wrong], ["missed", card.missed], ["right", card.right], ["unknown", card.unknown], ["observed", card.observed]];
  const all = order.flatMap(([, found]) => found);
  let chosen = preferred !== null && all.includes(preferred) ? preferred : all[0] ?? null;
  const frame = el("div", { class: "frame" }), caption = el("p", { class: "caption" });
  const picture = el("img", { src: card.uri, alt: card.name, title: card.name });
  const meaning = { observed: "observed", right: "right pseudo-positive", wrong: "false pseudo-positive", missed: "missed positive", unknown: "pseudo-positive" };
  const chips = order.toReversed().flatMap(([kind, found]) => found.map((j) => el("button", { type: "button", class: `chip ${kind}`, title: meaning[kind], "data-class": j, onclick: () => { chosen = j; draw(); } }, named(shortened(packed.classes[j], 28)))));
  function draw() {
    const layered = overlay && chosen !== null && card.view && packed.tiles;
    frame.replaceChildren(picture, ...(layered ? [heat(card, chosen, packed.tiles)] : []));
    chips.forEach((chip) => chip.setAttribute("aria-pressed", String(Number(chip.dataset.class) === chosen)));
    if (chosen === null) { caption.textContent = "No label."; return; }
    const whole = (p) => `${Math.round(100 * p)}\u00a0%`, parts = [];
    if (card.view) {
      parts.push(`whole image ${whole(card.view(0, chosen))}`);
      if (packed.tiles) parts.push(`best tile ${whole(Math.max(...Array.from({ length: packed.tiles }, (_, v) => card.view(v + 1, chosen))))}`);
    }
    parts.push(`model ${whole(card.score(chosen))}`);
    caption.replaceChildren(named(shortened(packed.classes[chosen], 40)), `: ${parts.join(", ")}`);
  }
  draw();
  return el("div", { class: "card" }, frame, el("div", { class: "chips" }, chips), caption);
}

function gallery() {
  const have = options((group) => group.samples);
  if (!have.length) return nothing("Images", "No run has sample images (samples.npz); they are written when a run ends.");
  const withPseudo = have.find(([i]) => data.groups[i].samples.positive.some((found) => found.length)) || have[0];
  let group = data.groups[withPseudo[0]], filter = 0, only = null, overlay = false, all = false;
  const more = el("button", { type: "button", class: "more", onclick: () => { all = true; draw(); } });
  const cards = el("div", { class: "cards" }), count = el("span", { class: "soft", "aria-live": "polite" }), byClass = el("select", { "aria-label": "Class", onchange: () => { only = byClass.value === "" ? null : Number(byClass.value); draw(); } });
  const kinds = [(card) => card.observed.concat(card.right, card.wrong, card.unknown, card.missed), (card) => card.missed, (card) => card.wrong];
  function draw() {
    const every = unpackSamples(group), fitting = every.filter((card) => { const found = kinds[filter](card); return only === null ? filter === 0 || found.length : found.includes(only); });
    const shown = all ? fitting : fitting.slice(0, FIRST_IMAGES);
    count.textContent = `${fitting.length} of ${every.length} images`;
    more.hidden = shown.length === fitting.length;
    more.textContent = `Show all ${fitting.length}`;
    cards.replaceChildren(...(shown.length ? shown.map((card) => cardView(card, group.samples, only ?? (filter ? kinds[filter](card)[0] : null), overlay)) : [empty("No image fits these filters.")]));
  }
  function choose(i) {
    group = data.groups[i];
    only = null;
    byClass.replaceChildren(el("option", { value: "" }, "every class"), ...group.samples.classes.map((name, j) => el("option", { value: j }, shortened(name, 60))));
    draw();
  }
  choose(withPseudo[0]);
  const box = el("input", { type: "checkbox", onchange: () => { overlay = box.checked; draw(); } });
  const judged = have.some(([i]) => data.groups[i].samples.targets);  // without full labels nothing is right or false
  const kindsShown = judged ? [["right", "right pseudo-positive"], ["wrong", "false pseudo-positive"], ["missed", "missed positive"]] : [["unknown", "pseudo-positive"]];
  const key = [["observed", "observed"], ...kindsShown].map(([kind, text]) => el("span", { class: `chip ${kind}` }, text));
  return section("gallery", "Images", "A fixed sample of the training images, the same for every run on a dataset. Choose a label, and Tiles, to see how probable the labeler finds it in each tile: bright tiles are probable.",
    el("div", { class: "controls" }, picker("Experiment", have, choose, withPseudo[0]), judged ? choice("Show", ["All", "Missed positives", "False pseudo-positives"], (i) => { filter = i; draw(); }) : null, byClass, el("label", {}, box, "Tiles"), count),
    el("div", { class: "samples" }, key), cards, el("p", {}, more));
}
