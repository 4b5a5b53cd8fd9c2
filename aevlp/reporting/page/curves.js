// Learning curves and the quality of pseudo-labels over epochs, one line an experiment.
const MAX_LINES = COLOURS;
// Of a run that the page has no room for, only the tables tell.
const isWhole = (run) => Boolean(run.curves);
const curve = (run, metric) => (isWhole(run) ? run.curves[metric] : []);

function curveSeries(metric, visible) {
  return data.groups.flatMap((group, i) => (visible.has(i) ? [{ name: group.name, colour: colour(i), dashed: group.place >= MAX_LINES, ...overRuns(group.drawn.map((run) => data.runs[run]), metric) }] : []));
}

// Those of one table at a time: what is measured on other images belongs on another axis.
function curveCharts(metrics) {
  const parts = data.tables.map((one, t) => [t, one.title, tableCharts(one, metrics)]).filter(([, , charts]) => charts);
  if (parts.length < 2) return parts.length ? parts[0][2] : null;
  const place = el("div", {}, parts[0][2]), of = new Map(parts.map(([t, , charts]) => [t, charts]));
  return el("div", {}, el("div", { class: "controls" }, picker("Data", parts.map(([t, title]) => [t, title]), (t) => place.replaceChildren(of.get(t)), parts[0][0])), place);
}

// What is measured by known labels tells something where there are no others.
function tableCharts({ groups, by_known: byKnown }, wanted) {
  const has = (i, metric) => data.groups[i].drawn.some((run) => curve(data.runs[run], metric)?.some(known));
  const metrics = wanted.filter(([, metric, settings]) => (byKnown || !settings?.byKnown) && groups.some((i) => has(i, metric))), shown = groups.filter((i) => metrics.some(([, metric]) => has(i, metric)));
  if (!shown.length) return null;
  const visible = new Set(shown.slice(0, MAX_LINES)), charts = el("div", { class: "charts" });
  const draw = () => charts.replaceChildren(...metrics.map(([title, metric, settings]) => lineChart(title, curveSeries(metric, visible), settings)));
  const legend = el("div", { class: "legend", role: "group", "aria-label": "Experiments shown" }, shown.map((i) => {
    const key = el("span", { class: "key" });
    key.style.background = colour(i);
    const button = el("button", { type: "button", "aria-pressed": String(visible.has(i)), onclick: () => {
      if (visible.has(i)) visible.delete(i); else visible.add(i);
      button.setAttribute("aria-pressed", String(visible.has(i)));
      draw();
    } }, key, named(shortened(data.groups[i].name, 40)));
    return button;
  }));
  draw();
  return el("div", {}, legend, charts);
}

function curves() {
  const charts = curveCharts([["Validation mAP", "val/mAP"], ["Training loss", "train/loss", { digits: 3 }], ["Validation mAP (known labels)", "val/mAP_observed"],
    ["Known label in top 1, percent", "val/known_recall_1", { byKnown: true }], ["Mean rank of the known label", "val/known_rank", { byKnown: true }], ["Labels predicted a photo", "val/labels_per_image", { byKnown: true }]]);
  if (!charts) return nothing("Learning curves", "No epoch has ended in these runs.");
  return section("curves", "Learning curves", "Mean over seeds, where some have ended of those that go on; the band reaches from the lowest to the highest seed. Hover, or focus a chart and use the arrow keys.",
    charts);
}
