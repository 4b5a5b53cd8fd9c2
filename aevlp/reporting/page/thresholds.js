// Precision, recall and F1 of each class by threshold on the validation images.
function classNames(group) {
  for (const run of group.runs) { const names = data.runs[run].class_names ?? []; if (names.length) return names; }
  return group.samples?.classes || group.scored?.positives.map((_, i) => `class ${i}`) || [];
}

const byKnownAlone = data.runs.length > 0 && data.runs.some((run) => known(run.summary[VAL_KNOWN])) && !data.runs.some((run) => known(run.summary["val/mAP"]));
const WITHOUT_SCORES = byKnownAlone ? "They need full labels of the validation photos: column \u201clabels\u201d of labels.csv." : "No run has validation scores with true labels (val_scores.npz).";

function scoresOf(group) {
  if (group.unpacked) return group.unpacked;
  const { positives, best } = group.scored, names = classNames(group), width = data.thresholds.length;
  const right = numbers(group.scored.true, Uint32Array), wrong = numbers(group.scored.false, Uint32Array);
  const half = data.thresholds.indexOf(0.5);
  const at = (j, k) => {
    const tp = right[j * width + k], fp = wrong[j * width + k];
    return { precision: percent(tp, tp + fp), recall: percent(tp, positives[j]), f1: percent(2 * tp, tp + fp + positives[j]) };
  };
  group.unpacked = positives.map((count, j) => ({
    j, name: names[j] ?? `class ${j}`, positives: count, best: data.thresholds[best[j]], f1: at(j, best[j]).f1, plain: at(j, half).f1, at: (k) => at(j, k),
  }));
  return group.unpacked;
}

function thresholds() {
  const have = options((group) => group.scored), title = "Thresholds";
  if (!have.length) return nothing(title, WITHOUT_SCORES);
  let group = data.groups[have[0][0]], chosen = 0;
  const chart = el("div"), run = el("span", { class: "soft" });
  const columns = [
    { title: "Class", left: true, value: (row) => row.name, cell: (row) => el("button", { type: "button", class: "link", onclick: () => { chosen = row.j; draw(); sheet.redraw(); } }, named(row.name)) },
    { title: "Positives", value: (row) => row.positives, cell: (row) => grouped(row.positives) },
    { title: "Best at", value: (row) => row.best, cell: (row) => row.best.toFixed(2) },
    { title: "F1 there", value: (row) => row.f1, cell: (row) => fixed(row.f1) },
    { title: "F1 at 0.5", value: (row) => row.plain, cell: (row) => fixed(row.plain) },
  ];
  const sheet = table(columns, scoresOf(group), { limit: 20, rowClass: (row) => (row.j === chosen ? "chosen" : null), label: "Best threshold of each class" });
  function draw() {
    const row = scoresOf(group)[chosen], points = data.thresholds.map((_, k) => row.at(k));
    const line = (name, key, i) => ({ name, colour: hue(i), x: data.thresholds, y: points.map((point) => point[key]) });
    const marks = [{ x: 0.5, text: row.best === 0.5 ? "" : "0.5" }, { x: row.best, text: `best ${row.best.toFixed(2)}`, strong: true }];
    const keys = ["F1", "Precision", "Recall"].map((name, i) => { const key = el("span", { class: "key" }); key.style.background = hue(i); return el("span", {}, key, ` ${name}\u2003`); });
    chart.replaceChildren(lineChart(shortened(row.name, 60), [line("F1", "f1", 0), line("Precision", "precision", 1), line("Recall", "recall", 2)], { range: [0, 100], xName: "threshold", whole: false, marks, height: 270 }),
      el("p", { class: "samples" }, keys));
    run.replaceChildren("scores of ", named(group.scored.run), `, ${grouped(group.scored.images)} images`);
  }
  draw();
  return section("thresholds", title, "On the validation images, at the epoch that is kept. Choosing a threshold on the images it is judged by flatters it; the test images are not used here.",
    el("div", { class: "controls" }, picker("Experiment", have, (i) => { group = data.groups[i]; chosen = Math.min(chosen, group.scored.positives.length - 1); sheet.show(scoresOf(group)); draw(); }, have[0][0]), run),
    el("div", { class: "two" }, chart, sheet));
}
