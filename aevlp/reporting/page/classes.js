// Test AP by class, and the gain over the baseline.
function classRows(index) {
  const group = data.groups[index], other = data.groups[baselineOf(index)];
  const bySeed = (one) => new Map(one.finished.map((run) => data.runs[run]).filter(isWhole).map((run) => [run.seed, run.classes]));
  const here = bySeed(group), there = bySeed(other);
  const mean = (values) => { const have = values.filter(known); return have.length ? have.reduce((a, b) => a + b, 0) / have.length : null; };
  const common = [...here.keys()].filter((seed) => there.has(seed));
  const names = [...new Set([...here.values()].flatMap((classes) => Object.keys(classes)))];
  return names.map((name) => ({
    name,
    positives: [...here.values()].map((classes) => classes[name]?.positives).find(known) ?? null,
    AP: mean([...here.values()].map((classes) => classes[name]?.AP)),
    base: mean([...there.values()].map((classes) => classes[name]?.AP)),
    gain: index === baselineOf(index) ? null : mean(common.map((seed) => { const a = here.get(seed)[name]?.AP, b = there.get(seed)[name]?.AP; return known(a) && known(b) ? a - b : null; })),
  }));
}

// From the baseline (a tick) to the experiment (the end of the bar), on 0 to 100.
function gainBar(row) {
  const graph = svg("svg", { viewBox: "0 0 200 20", width: "100%", height: 20, preserveAspectRatio: "none", "aria-hidden": "true" });
  graph.append(svg("rect", { x: 0, y: 9, width: 200, height: 2, fill: "var(--line)" }));
  if (!known(row.AP)) return graph;
  const from = known(row.base) && known(row.gain) ? row.base : 0, low = Math.min(from, row.AP), wide = Math.abs(row.AP - from);
  if (from) graph.append(svg("rect", { x: 0, y: 7, width: 2 * low, height: 6, fill: "var(--soft)", "fill-opacity": 0.35 }));
  graph.append(svg("rect", { x: 2 * low, y: 7, width: 2 * wide, height: 6, fill: row.AP >= from ? "var(--accent)" : "var(--bad)" }));
  if (from) graph.append(svg("line", { x1: 2 * from, x2: 2 * from, y1: 3, y2: 17, stroke: "var(--ink)", "stroke-width": 1.5, "vector-effect": "non-scaling-stroke" }));
  return graph;
}

function classes() {
  const have = options((group) => group.finished.some((run) => isWhole(data.runs[run]) && Object.keys(data.runs[run].classes).length));
  if (!have.length) return nothing("Classes", "No finished run was tested against full labels (per_class.csv).");
  let index = have[0][0], word = "";
  const rows = () => classRows(index).filter((row) => row.name.toLowerCase().includes(word));
  const columns = [
    { title: "Class", left: true, value: (row) => row.name, cell: (row) => named(row.name) },
    { title: "Positives", roomy: true, value: (row) => row.positives, cell: (row) => grouped(row.positives) },
    { title: "AP", value: (row) => row.AP, cell: (row) => fixed(row.AP) },
    { title: "Baseline", roomy: true, value: (row) => row.base, cell: (row) => fixed(row.base) },
    { title: "Gain", value: (row) => row.gain, cell: (row) => coloured(row.gain) },
    { title: "0 to 100", left: true, wide: true, cell: gainBar },
  ];
  const sheet = table(columns, rows(), { sortBy: 4, limit: 25, label: "Test AP by class" });
  const search = el("input", { type: "search", placeholder: "Find a class", "aria-label": "Find a class", oninput: () => { word = search.value.toLowerCase(); sheet.show(rows()); } });
  baseline.listeners.push(() => sheet.show(rows()));
  return section("classes", "Classes", "Average precision on the test images, mean over seeds. The tick is the baseline chosen above; the gain is over common seeds.",
    el("div", { class: "controls" }, picker("Experiment", have, (i) => { index = i; sheet.show(rows()); }, index), search), sheet);
}
