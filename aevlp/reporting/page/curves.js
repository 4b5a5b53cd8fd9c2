// Learning curves and the quality of pseudo-labels over epochs, one line an experiment.
const MAX_LINES = 8;
// Of a run that the page has no room for, only the tables tell.
const isWhole = (run) => Boolean(run.curves);
const curve = (run, metric) => (isWhole(run) ? run.curves[metric] : []);

function curveSeries(metric, visible) {
  return data.groups.flatMap((group, i) => (visible.has(i) ? [{ name: group.name, colour: colour(i), dashed: i >= MAX_LINES, ...overRuns(group.runs.map((run) => data.runs[run]), metric) }] : []));
}

function curveCharts(metrics) {
  const shown = data.groups.map((group, i) => i).filter((i) => metrics.some(([, metric]) => data.groups[i].runs.some((run) => curve(data.runs[run], metric).some(known))));
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
  const charts = curveCharts([["Validation mAP", "val/mAP"], ["Training loss", "train/loss", { digits: 3 }], ["Validation mAP on observed labels", "val/mAP_observed"]]);
  return section("curves", "Learning curves", "Mean over seeds; the band reaches from the lowest to the highest seed. Hover, or focus a chart and use the arrow keys.",
    charts || empty("No epoch has ended in these runs."));
}
