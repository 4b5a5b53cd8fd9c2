// Validation images that the trained model is most wrong about, the surest mistakes first.
function unpackMistakes(group) {
  if (group.wrongs) return group.wrongs;
  const packed = group.mistakes, width = packed.classes.length, scores = numbers(packed.scores, Uint8Array);
  group.wrongs = packed.pictures.map((picture, i) => {
    const score = (j) => scores[i * width + j] / SCALE, by = (found, sure) => [...found].sort((a, b) => sure(b) - sure(a));
    const card = { uri: data.images[picture], name: packed.names[i], score, false: by(packed.false[i], score), missed: by(packed.missed[i], (j) => 1 - score(j)),
      right: by(packed.right[i], score), unknown: by(packed.unknown[i], score) };
    return Object.assign(card, { sure: { false: card.false.length ? score(card.false[0]) : -1, missed: card.missed.length ? 1 - score(card.missed[0]) : -1 } });
  });
  return group.wrongs;
}

function mistakes() {
  const have = options((group) => group.mistakes), title = "Mistakes";
  if (!have.length) return nothing(title, "No run has kept validation images; they are written when a run ends.");
  const kinds = [["false", "missed"], ["false"], ["missed"]], some = (card, kind) => (only === null ? card[kind].length : card[kind].includes(only));
  const full = have.every(([i]) => data.groups[i].mistakes.full), judged = full || have.some(([i]) => data.groups[i].mistakes.false.some((found) => found.length));
  let group = data.groups[have[0][0]], filter = 0, only = null, all = false;
  const cards = el("div", { class: "cards" }), about = el("span", { class: "soft", "aria-live": "polite" }), run = el("span", { class: "soft" });
  const byClass = el("select", { "aria-label": "Class of mistakes", onchange: () => { only = byClass.value === "" ? null : Number(byClass.value); draw(); } });
  const more = el("button", { type: "button", class: "more", onclick: () => { all = true; draw(); } });
  const card = (one) => {
    const chip = (kind, meaning) => (j) => el("span", { class: `chip ${kind}`, title: meaning }, named(shortened(group.mistakes.classes[j], 28)), ` ${Math.round(100 * one.score(j))}\u00a0%`);
    return el("div", { class: "card" }, el("div", { class: "frame" }, el("img", { src: one.uri, alt: one.name, title: one.name })),
      el("div", { class: "chips" }, one.false.map(chip("wrong", "false")), one.missed.map(chip("missed", "missed")), one.right.map(chip("right", "right")), one.unknown.slice(0, 6).map(chip("unknown", "predicted, not known"))));
  };
  function draw() {
    const sure = (one) => Math.max(...kinds[filter].map((kind) => (only === null ? one.sure[kind] : one[kind].includes(only) ? (kind === "false" ? one.score(only) : 1 - one.score(only)) : -1)));
    const fitting = unpackMistakes(group).filter((one) => kinds[filter].some((kind) => some(one, kind))).sort((a, b) => sure(b) - sure(a));
    const shown = all ? fitting : fitting.slice(0, FIRST_IMAGES);
    about.textContent = `${fitting.length} of ${group.wrongs.length} images`;
    more.hidden = shown.length === fitting.length;
    more.textContent = `Show all ${fitting.length}`;
    cards.replaceChildren(...(shown.length ? shown.map(card) : [empty("None of these images has such a mistake.")]));
  }
  function choose(i) {
    group = data.groups[i];
    only = null;
    byClass.replaceChildren(el("option", { value: "" }, "every class"), ...group.mistakes.classes.map((name, j) => el("option", { value: j }, shortened(name, 60))));
    run.replaceChildren("run ", named(group.mistakes.run));
    draw();
  }
  choose(have[0][0]);
  const key = [...(judged ? [["wrong", "false"]] : []), ["missed", "missed"], ["right", "right"], ...(full ? [] : [["unknown", "predicted, not known"]])].map(([kind, text]) => el("span", { class: `chip ${kind}` }, text));
  return section("mistakes", title, `Validation images that the trained model is most wrong about, the surest first, with its probabilities at the epoch that is kept. ${full ? "A class is predicted from the threshold of its highest F1." : "Only known labels are judged, at 50\u00a0%: a label that nobody gave may well be there."}`,
    el("div", { class: "controls" }, picker("Experiment", have, choose, have[0][0]), judged ? choice("Mistakes shown", ["All", "False", "Missed"], (i) => { filter = i; draw(); }) : null, byClass, about, run), el("div", { class: "samples" }, key), cards, el("p", {}, more));
}
