// Line charts and interval plots, drawn to the width they have.
const watcher = new ResizeObserver((entries) => entries.forEach((entry) => entry.target.draw && entry.target.draw()));

function ticks(low, high, count) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const result = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) result.push(Number(value.toPrecision(12)));
  return result;
}

// series: {name, colour, x: [], y: [], low: [], high: [], dashed, step, dots, drawn: y where that is not y}; marks: vertical lines {x, text}
function lineChart(title, series, { digits = 1, xName = "epoch", range = null, marks = [], whole = true, height = 210 } = {}) {
  const box = el("div", { class: "chart" });
  const drawn = series.filter((one) => one.y.some(known));
  if (!drawn.length) return el("div", { class: "chart" }, el("h3", {}, title), empty("Not known for these runs."));
  const xs = [...new Set(drawn.flatMap((one) => one.x))].sort((a, b) => a - b);
  const values = drawn.flatMap((one) => [...one.y, ...(one.low || []), ...(one.high || [])]).filter(known);
  let [low, high] = range || [Math.min(...values), Math.max(...values)];
  // Means of equal figures may differ in their last bit, which no tick can divide.
  if (high - low <= 1e-9 * Math.max(1, Math.abs(high))) { low -= 1; high += 1; }
  const room = range ? 0 : (high - low) * 0.06;
  low -= room; high += room;
  const yTicks = ticks(low, high, 5);
  const left = 14 + 7 * Math.max(...yTicks.map((tick) => String(tick).length)), right = 10, top = 8, bottom = 34;
  const graph = svg("svg", { role: "img", tabindex: 0, height, "aria-label": `${title}, by ${xName}; arrow keys read values` });
  const tip = el("div", { class: "tip", "aria-live": "polite", hidden: true });
  let active = null, rule = null, place = null;
  box.append(el("h3", {}, title), graph, tip);

  box.draw = () => {
    const width = Math.max(box.clientWidth, 160);
    graph.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const span = xs.at(-1) - xs[0] || 1;
    const px = (value) => (xs.length === 1 ? (left + width - right) / 2 : left + ((value - xs[0]) / span) * (width - left - right));
    const py = (value) => top + (1 - (value - low) / (high - low)) * (height - top - bottom);
    place = px;
    const parts = [];
    for (const tick of yTicks) parts.push(svg("line", { class: "grid", x1: left, x2: width - right, y1: py(tick), y2: py(tick) }),
      svg("text", { x: left - 8, y: py(tick) + 4, "text-anchor": "end" }, String(tick)));
    const xTicks = ticks(xs[0], xs.at(-1), Math.min(8, width / 60)).filter((tick) => !whole || Number.isInteger(tick));
    for (const tick of xs.length === 1 ? xs : xTicks) parts.push(svg("text", { x: px(tick), y: height - 18, "text-anchor": "middle" }, String(tick)));
    parts.push(svg("text", { x: width - right, y: height - 3, "text-anchor": "end" }, xName));
    for (const one of drawn) {
      const at = one.x.map((x, i) => i).filter((i) => known(one.y[i])), ys = one.drawn || one.y;
      if (one.low && at.length > 1) {
        const band = [...at.map((i) => [one.x[i], one.high[i]]), ...at.toReversed().map((i) => [one.x[i], one.low[i]])];
        parts.push(svg("polygon", { points: band.map(([x, y]) => `${px(x)},${py(y)}`).join(" "), fill: one.colour, "fill-opacity": 0.12 }));
      }
      if (at.length === 1 || one.dots) parts.push(...at.map((i) => svg("circle", { cx: px(one.x[i]), cy: py(ys[i]), r: 3, fill: one.colour })));
      if (one.dots) continue;
      // A step keeps its value until the next point.
      const corners = at.flatMap((i, j) => [...(one.step && j ? [[one.x[i], ys[at[j - 1]]]] : []), [one.x[i], ys[i]]]);
      parts.push(svg("polyline", { points: corners.map(([x, y]) => `${px(x)},${py(y)}`).join(" "), fill: "none", stroke: one.colour,
        "stroke-width": 1.8, "stroke-linejoin": "round", "stroke-dasharray": one.dashed ? "5 4" : null }));
    }
    for (const mark of marks) parts.push(svg("line", { x1: px(mark.x), x2: px(mark.x), y1: top, y2: height - bottom, stroke: mark.strong ? "var(--accent)" : "var(--soft)", "stroke-dasharray": mark.strong ? null : "2 3" }),
      svg("text", { x: px(mark.x) + (px(mark.x) > width * 0.8 ? -5 : 5), y: height - bottom - (mark.strong ? 8 : 22), "text-anchor": px(mark.x) > width * 0.8 ? "end" : "start", class: "ink" }, mark.text));
    rule = svg("line", { class: "grid", y1: top, y2: height - bottom, visibility: "hidden" });
    graph.replaceChildren(...parts, rule);
    if (active !== null) show(active);
  };

  function show(i) {
    active = Math.max(0, Math.min(xs.length - 1, i));
    const x = xs[active], at = place(x);
    rule.setAttribute("x1", at); rule.setAttribute("x2", at); rule.setAttribute("visibility", "visible");
    const lines = drawn.map((one) => [one, one.y[one.x.indexOf(x)]]).filter(([, value]) => known(value)).sort((a, b) => b[1] - a[1]).slice(0, 12);
    tip.replaceChildren(el("div", { class: "soft" }, `${xName} ${x}`), ...lines.map(([one, value]) => {
      const key = el("span", { class: "key" });
      key.style.background = one.colour;
      return el("div", {}, key, named(shortened(one.name, 30)), el("span", {}, fixed(value, digits)));
    }));
    tip.hidden = false;
    const over = at > box.clientWidth / 2;
    tip.style.left = over ? "auto" : `${at + 10}px`;
    tip.style.right = over ? `${box.clientWidth - at + 10}px` : "auto";
  }
  function hide() { active = null; tip.hidden = true; if (rule) rule.setAttribute("visibility", "hidden"); }
  graph.addEventListener("pointermove", (event) => {
    const x = event.clientX - graph.getBoundingClientRect().left;
    show(xs.reduce((best, value, i) => (Math.abs(place(value) - x) < Math.abs(place(xs[best]) - x) ? i : best), 0));
  });
  graph.addEventListener("pointerleave", hide);
  graph.addEventListener("blur", hide);
  graph.addEventListener("focus", () => { if (graph.matches(":focus-visible")) show(active ?? xs.length - 1); });
  graph.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (move) { show((active ?? xs.length) + move); event.preventDefault(); }
    if (event.key === "Escape") hide();
  });
  watcher.observe(box);
  return box;
}

// Mean and extremes over runs of one metric, by epoch.
function overRuns(runs, metric) {
  const byEpoch = new Map();
  for (const run of runs) curve(run, metric).forEach((value, i) => {
    if (known(value) && known(run.epochs[i])) byEpoch.set(run.epochs[i], [...(byEpoch.get(run.epochs[i]) || []), value]);
  });
  const x = [...byEpoch.keys()].sort((a, b) => a - b), at = x.map((epoch) => byEpoch.get(epoch));
  const several = at.some((values) => values.length > 1);
  return {
    x, y: at.map((values) => values.reduce((sum, value) => sum + value, 0) / values.length),
    low: several ? at.map((values) => Math.min(...values)) : null, high: several ? at.map((values) => Math.max(...values)) : null,
  };
}

// A dot with its 95 % interval on a scale shared by the rows of a table.
function intervalPlot(value, [low, high], { first = false, guide = null } = {}) {
  const graph = svg("svg", { viewBox: "0 0 200 20", width: "100%", height: 20, preserveAspectRatio: "none", "aria-hidden": "true" });
  const px = (number) => 4 + ((Math.max(low, Math.min(high, number)) - low) / (high - low || 1)) * 192;
  if (guide !== null) graph.append(svg("line", { class: "grid", x1: px(guide), x2: px(guide), y1: 0, y2: 20, "vector-effect": "non-scaling-stroke" }));
  if (!value) return graph;
  const stroke = first ? "var(--accent)" : "var(--soft)";
  if (known(value.half)) graph.append(svg("line", { x1: px(value.mean - value.half), x2: px(value.mean + value.half), y1: 10, y2: 10, stroke, "stroke-width": 1.5, "vector-effect": "non-scaling-stroke" }));
  // A line of no length with round ends stays a circle however the picture is stretched.
  graph.append(svg("line", { x1: px(value.mean), x2: px(value.mean), y1: 10, y2: 10.01, stroke, "stroke-width": 8, "stroke-linecap": "round", "vector-effect": "non-scaling-stroke" }));
  return graph;
}
