// Pseudo-labels: better or worse over epochs, and for which classes.
function sparkline(values) {
  const graph = svg("svg", { viewBox: "0 0 80 20", width: 80, height: 20, "aria-hidden": "true" });
  const points = values.map((value, i) => [values.length === 1 ? 40 : 2 + (76 * i) / (values.length - 1), value]).filter(([, value]) => known(value));
  if (points.length > 1) graph.append(svg("polyline", { points: points.map(([x, value]) => `${x},${18 - value * 0.16}`).join(" "), fill: "none", stroke: "var(--accent)", "stroke-width": 1.5 }));
  return graph;
}

const percent = (part, whole) => (whole ? (100 * part) / whole : null);
const change = (values) => { const have = values.filter(known); return have.length > 1 ? have.at(-1) - have[0] : null; };
const coloured = (value) => el("span", { class: !known(value) || Math.abs(value) < 0.05 ? "soft" : value > 0 ? "good" : "bad" }, known(value) ? signed(value) : NONE);

function pseudoRows(group) {
  const { epochs, classes, assigned, correct, actual } = group.pseudo;
  if (!correct) return classes.map((name, j) => ({ name, assigned: assigned.at(-1)[j] }));
  return classes.map((name, j) => {
    const over = (share) => epochs.map((_, e) => share(e));
    const precision = over((e) => percent(correct[e][j], assigned[e][j])), recall = over((e) => percent(correct[e][j], actual[e][j]));
    const f1 = over((e) => percent(2 * correct[e][j], assigned[e][j] + actual[e][j]));
    return { name, precision, recall, f1, assigned: assigned.at(-1)[j], actual: actual.at(-1)[j] };
  });
}

function pseudo() {
  const hundred = { range: [0, 100] };
  const unjudged = data.runs.every((run) => !curve(run, "pseudo/positive/precision").some(known));
  const charts = curveCharts([["Precision of pseudo-positives", "pseudo/positive/precision", hundred], ["Recall of pseudo-positives", "pseudo/positive/recall", hundred], ["F1 of pseudo-positives", "pseudo/positive/f1", hundred],
    ["Model and labeler agree, percent", "val/agreement", { byKnown: true }], ...(unjudged ? [["Pseudo-positives", "pseudo/positive/count", { digits: 0 }]] : [])]);
  const have = options((group) => group.pseudo), judged = have.some(([i]) => data.groups[i].pseudo.correct);
  const note = judged ? "Measured on the training images where no label was observed. The true labels are read by this meter only, never by training." : "Full labels are not known: pseudo-labels can be counted, but not judged.";
  if (!charts && !have.length) return nothing("Pseudo-labels", "None of these runs uses pseudo-labels.");
  if (!have.length) return section("pseudo", "Pseudo-labels", note, charts);
  const counted = [
    { title: "Class", left: true, value: (row) => row.name, cell: (row) => named(row.name) },
    { title: "Assigned", value: (row) => row.assigned, cell: (row) => grouped(row.assigned) },
  ];
  const columns = [
    { title: "Class", left: true, value: (row) => row.name, cell: (row) => named(row.name) },
    { title: "To find", value: (row) => row.actual, cell: (row) => grouped(row.actual) },
    { title: "Assigned", value: (row) => row.assigned, cell: (row) => grouped(row.assigned) },
    { title: "Precision", value: (row) => row.precision.at(-1), cell: (row) => fixed(row.precision.at(-1)) },
    { title: "since first", value: (row) => change(row.precision), cell: (row) => coloured(change(row.precision)) },
    { title: "Recall", value: (row) => row.recall.at(-1), cell: (row) => fixed(row.recall.at(-1)) },
    { title: "since first", value: (row) => change(row.recall), cell: (row) => coloured(change(row.recall)) },
    { title: "F1", value: (row) => row.f1.at(-1), cell: (row) => fixed(row.f1.at(-1)) },
    { title: "over epochs", left: true, cell: (row) => sparkline(row.f1) },
  ];
  const place = el("div"), run = el("span", { class: "soft" });
  const show = (i) => {
    const group = data.groups[i], whole = Boolean(group.pseudo.correct);
    place.replaceChildren(table(whole ? columns : counted, pseudoRows(group), { sortBy: whole ? 7 : 1, ascending: whole, limit: 20, label: "Pseudo-positives by class" }));
    run.replaceChildren("run ", named(group.pseudo.run));
  };
  show(have[0][0]);
  return section("pseudo", "Pseudo-labels", note, charts, el("br"), el("div", { class: "controls" }, picker("By class, last epoch, of", have, show, have[0][0]), run), place);
}
