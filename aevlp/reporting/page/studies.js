// Studies: how the search went, the best trials against the base, what the objective goes along with.
const digits4 = (value) => (typeof value === "number" ? String(Number(value.toPrecision(4))).replace("-", MINUS) : value === null ? NONE : String(value));
const sameCode = (a, b) => (known(a) && known(b) ? Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b)) : a === b || (a !== null && meant(a) === meant(b)));
// The list that a text stands for, in one form: [0, 2] is [0.0, 2.0].
const meant = (code) => { try { return JSON.stringify(JSON.parse(code)); } catch { return code; } };

function studyFacts(one) {
  const { complete, pruned, failed } = one.counts, ended = complete + pruned + failed;
  const states = Object.entries(one.counts).filter(([state, number]) => number || state === "complete").map(([state, number]) => `${number} ${state}`);
  const planned = known(one.planned) && one.planned > ended ? ` of ${one.planned}` : "";
  const facts = [
    ["Base", [named(one.base), one.changes.length ? el("span", { class: "soft" }, " with ", named(one.changes.join(" "))) : null]],
    [one.objectives.length > 1 ? "Objectives" : "Objective", one.objectives.map(({ metric, direction }, i) => [i ? ", " : null, named(metric), el("span", { class: "soft" }, direction === "maximize" ? " as large as possible" : " as small as possible")])],
    ["Trials", [`${ended}${planned}: ${states.join(", ")}`, one.written ? el("span", { class: "soft" }, ` (trials.csv of ${one.written.slice(0, 16).replace("T", " ")})`) : null]],
    ["Time", [time(one.seconds), el("span", { class: "soft" }, " in all trials together")]],
  ];
  const best = one.best[0];
  if (best && one.front.length === 1) {
    const base = one.base_trial;
    const gain = base ? best.values[0] - base.values[0] : null;
    facts.push(["Best", [el("strong", {}, fixed(best.values[0], 2)), ` in trial ${best.number}`,
      base && base.number === best.number ? ", which is the base itself" : known(gain) ? `, ${signed(gain, 2)} against the base (trial ${base.number})` : null]]);
    const first = one.confirmed.find((row) => row.verdict === "first"), alike = one.confirmed.filter((row) => row.verdict === "cannot be told from the first").map((row) => row.trial);
    if (first) facts.push(["On fresh seeds", [el("strong", {}, fixed(first.mean, 2)), known(first.half) ? ` \u00b1 ${fixed(first.half, 2)}` : null, ` in trial ${first.trial}, the best mean of ${first.seeds}`, alike.length ? `; ${alike.length > 1 ? "trials" : "trial"} ${alike.join(", ")} cannot be told apart from it` : null]]);
  } else if (one.front.length) facts.push(["Pareto front", `trials ${one.front.join(", ")}`]);
  return el("dl", { class: "facts" }, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

// What is worse than three quarters of the trials lies at the edge of its chart: else a gain of half a point could not be seen.
function historyRange(values, maximize) {
  const sorted = [...values].sort((a, b) => (maximize ? a - b : b - a));
  const worst = sorted[Math.floor(sorted.length / 4)], best = sorted.at(-1), room = Math.abs(best - worst) * 0.08 || 1;
  return [Math.min(worst, best) - room, Math.max(worst, best) + room];
}

function historyCharts(one) {
  const charts = one.objectives.map(({ metric, direction }, i) => {
    const { numbers: x, values, best } = one.history[i], given = i === 0 ? one.pruned : { numbers: [], values: [] };
    const last = Math.max(...x, ...given.numbers), [low, high] = historyRange([...values, ...given.values], direction === "maximize");
    const held = (numbers) => numbers.map((value) => Math.max(low, Math.min(high, value)));
    return lineChart(metric, [
      { name: "best so far", colour: "var(--accent)", x: [...x, last], y: [...best, best.at(-1)], drawn: held([...best, best.at(-1)]), step: true },
      { name: "complete", colour: "var(--accent)", x, y: values, drawn: held(values), dots: true },
      { name: "pruned", colour: "var(--soft)", x: given.numbers, y: given.values, drawn: held(given.values), dots: true },
    ], { digits: 2, xName: "trial", range: [low, high] });
  });
  const keys = [["best so far", "key", "var(--accent)"], ["complete", "key dot", "var(--accent)"],
    ...(one.pruned.numbers.length ? [["pruned, with the figure it was given up at", "key dot", "var(--soft)"]] : [])].map(([name, kind, fill]) => {
    const key = el("span", { class: kind });
    key.style.background = fill;
    return el("span", {}, key, name);
  });
  return el("div", {}, el("div", { class: "legend" }, keys, one.best.length + one.pruned.numbers.length > 3 ? el("span", { class: "soft" }, "the worst quarter lies at the edge") : null), el("div", { class: "charts" }, charts));
}

function bestTrials(one) {
  const based = one.base_codes.some((code) => code !== null);
  const rows = [
    ...one.objectives.map(({ metric }, i) => ({ title: metric, base: one.base_trial ? fixed(one.base_trial.values[i], 2) : NONE, cells: one.best.map((trial) => el("strong", {}, fixed(trial.values[i], 2))) })),
    ...(one.best.some((trial) => known(trial.std)) ? [{ title: "standard deviation over seeds", base: NONE, cells: one.best.map((trial) => fixed(trial.std, 2)) }] : []),
    ...one.parameters.map((name, i) => ({
      title: name, base: digits4(one.base_codes[i]),
      cells: one.best.map((trial) => el("span", { class: based && sameCode(trial.codes[i], one.base_codes[i]) ? "soft" : null }, named(digits4(trial.codes[i])))),
    })),
  ];
  const columns = [{ title: "Setting", left: true, cell: (row) => named(row.title) },
    ...(based ? [{ title: "Base", cell: (row) => named(row.base) }] : []),
    ...one.best.map((trial, i) => ({ title: `Trial ${trial.number}${one.objectives.length > 1 && one.front.includes(trial.number) ? " *" : ""}`, cell: (row) => row.cells[i] }))];
  return el("div", { class: "dense" }, table(columns, rows, { limit: 80, label: "Best trials" }));
}

function confirmed(one) {
  const columns = [
    { title: "Trial", left: true, value: (row) => row.trial, cell: (row) => String(row.trial) },
    { title: "Mean", value: (row) => row.mean, cell: (row) => el("strong", {}, fixed(row.mean, 2)) },
    { title: "95 %", cell: (row) => (known(row.half) ? `\u00b1 ${fixed(row.half, 2)}` : NONE) },
    { title: "Seeds", value: (row) => row.seeds, cell: (row) => String(row.seeds) },
    { title: "Search", value: (row) => row.search, cell: (row) => fixed(row.search, 2) },
    { title: "Verdict", left: true, wrap: true, cell: (row) => named(row.verdict) },
  ];
  return table(columns, one.confirmed, { label: "Best trials on fresh seeds" });
}

// From 0 in the middle to either side; the band is what unrelated settings reach in 19 of 20 cases.
function correlationBar(row) {
  const graph = svg("svg", { viewBox: "0 0 200 20", width: "100%", height: 20, preserveAspectRatio: "none", "aria-hidden": "true" });
  const wide = 100 * Math.abs(row.correlation), beyond = Math.abs(row.correlation) > row.chance;
  graph.append(svg("rect", { x: 100 - 100 * row.chance, y: 2, width: 200 * row.chance, height: 16, fill: "var(--wash)" }),
    svg("rect", { x: row.correlation < 0 ? 100 - wide : 100, y: 7, width: wide, height: 6, fill: beyond ? "var(--accent)" : "var(--soft)" }),
    svg("line", { x1: 100, x2: 100, y1: 1, y2: 19, stroke: "var(--ink)", "vector-effect": "non-scaling-stroke" }));
  return graph;
}

function correlations(one) {
  const columns = [
    { title: "Setting", left: true, value: (row) => row.parameter, cell: (row) => named(row.parameter) },
    { title: "Correlation", value: (row) => row.correlation, cell: (row) => signed(row.correlation, 2) },
    { title: "\u22121 to 1", left: true, wide: true, cell: correlationBar },
    { title: "Trials", value: (row) => row.trials, roomy: true, cell: (row) => String(row.trials) },
  ];
  return table(columns, one.correlations, { label: "Rank correlation" });
}

function studyDetail(one) {
  const several = one.objectives.length > 1, metric = one.objectives[0].metric;
  const parts = [one.problems.map((line) => el("p", { class: "warning" }, named(line))), studyFacts(one)];
  if (one.best.length) {
    parts.push(historyCharts(one), el("h3", { class: "apart" }, "The best trials"),
      el("p", { class: "note" }, `Best first${several ? ", by the first objective; * marks the Pareto front" : ""}. ${one.base_codes.some((code) => code !== null) ? "Grey where a setting is as in the base." : one.has_base ? "" : "What the base has is not known: base.yaml is missing, and the next sweep run writes it."} The best of many trials is lucky too: ${one.confirmed.length ? "below is what they are on fresh seeds" : "expect a little less from it with new seeds"}. `,
        el("code", {}, "sweep best ", named(one.name), " --save FILE"), " makes it an experiment."), bestTrials(one));
    if (one.confirmed.length) parts.push(el("h3", { class: "apart" }, "The best on fresh seeds"), el("p", { class: "note" },
      named(`${metric} by ${one.confirmed[0].labels} labels of validation, with seeds that no trial had; the spread is pooled over these trials. What was dropped cannot win any more.`)), confirmed(one));
  } else parts.push(empty("No trial is complete."));
  if (one.correlations.length) {
    parts.push(el("h3", { class: "apart" }, named(`Rank correlation with ${metric}`)), el("p", { class: "note" },
      "Spearman\u2019s, of each numeric setting alone, over complete trials and pruned ones, these with the figure they were given up at. The sampler does not draw evenly, so this tells where good trials lie, not what a setting causes; unrelated settings stay within the grey band in 19 of 20 cases."), correlations(one));
  }
  if (one.failed.length) parts.push(el("h3", { class: "apart" }, "Failed"), table([
    { title: "Trial", left: true, value: (row) => row.number, cell: (row) => String(row.number) },
    { title: "Reason", left: true, wrap: true, cell: (row) => named(row.reason || NONE) }], one.failed, { limit: 5, label: "Failed trials" }));
  return parts;
}

function studies() {
  const detail = el("div", {}), titles = data.studies.map((one, i) => [i, one.name]);
  const show = (i) => detail.replaceChildren(...(titles.length > 1 ? [] : [el("h3", { class: "study" }, named(data.studies[i].name))]), ...studyDetail(data.studies[i]).flat(Infinity));
  show(0);
  return section("studies", "Studies", data.runs.length ? "Trials of a study are not in the ranking above: their settings were searched by their validation figure." : null,
    titles.length > 1 ? el("div", { class: "controls" }, picker("Study", titles, show)) : null, detail);
}
