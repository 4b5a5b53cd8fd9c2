// Headline and leaderboard.
const leader = data.groups[0];
const TEST = "test/mAP", VAL = "best/val_mAP";

// Paired over common seeds, with the half width of the 95 % interval; as `paired_difference` of reporting/statistics.py.
function difference(i, j) {
  const here = data.groups[i].metrics[TEST]?.values ?? {}, there = data.groups[j].metrics[TEST]?.values ?? {};
  const seeds = Object.keys(here).filter((seed) => Object.hasOwn(there, seed)), n = seeds.length;
  if (!n) return null;
  const gaps = seeds.map((seed) => here[seed] - there[seed]), mean = gaps.reduce((a, b) => a + b, 0) / n;
  const spread = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / (n - 1));
  const half = n > 1 ? (data.quantiles[n - 2] * spread) / Math.sqrt(n) : null;
  return { mean, half, seeds, clear: half !== null && Math.abs(mean) > half };
}

function headline() {
  const { runs, studies, groups } = data, count = runs.length, plural = (number, word, many = `${word}s`) => `${number} ${number === 1 ? word : many}`;
  const things = [count ? `${plural(count, "run")} of ${plural(groups.length, "experiment")}` : null, studies.length ? plural(studies.length, "study", "studies") : null].filter(Boolean);
  const title = el("h1", {}, things.join(" and "), data.datasets.length ? [things.length > 1 ? ", on " : " on ", named(data.datasets.join(", "))] : null);
  const warnings = [...data.notes, ...(count || studies.length > 1 ? studies : []).flatMap((one) => one.problems.map((line) => `Study ${one.name}: ${line}`))];
  const states = runs.map((run) => run.state).filter((state) => state !== "finished"), kinds = [...new Set(states)].sort();
  if (states.length) warnings.push(`${states.length} of ${plural(count, "run")} ${states.length === 1 ? "has" : "have"} not finished (${kinds.map((kind) => `${states.filter((state) => state === kind).length} ${kind}`).join(", ")}); see Runs.`);
  if (data.datasets.length > 1) warnings.push("These runs are on several datasets: differences between them mean nothing.");
  return el("div", {}, title, leader ? leaderLine() : null, warnings.map((text) => el("p", { class: "warning" }, named(text))));
}

// Who leads, and whether by more than seed noise.
function leaderLine() {
  const lead = el("p", { class: "lead" }), metric = leader.metrics[TEST] ? TEST : VAL, best = leader.metrics[metric];
  const draw = () => {
    if (!best) { lead.replaceChildren("None of these runs has finished; what they hold so far is below."); return; }
    const parts = [el("strong", {}, named(leader.name)), ` leads with ${withHalf(best)} ${metric === TEST ? "test" : "validation"} mAP`];
    const other = baseline.index === 0 ? null : data.groups[baseline.index], gap = other && difference(0, baseline.index);
    if (gap) {
      parts.push(`, ${signed(gap.mean)}${known(gap.half) ? ` \u00b1 ${fixed(gap.half)}` : ""} against `, named(other.name));
      parts.push(!known(gap.half) ? ". One common seed cannot tell the difference from seed noise." :
        gap.clear ? `: beyond seed noise over ${gap.seeds.length} common seeds.` : `: within seed noise over ${gap.seeds.length} common seeds.`);
    } else parts.push(".");
    lead.replaceChildren(...parts);
  };
  baseline.listeners.push(draw);
  draw();
  return lead;
}

function ranking() {
  const bounds = data.groups.flatMap((group) => { const value = group.metrics[TEST]; return value ? [value.mean - (value.half || 0), value.mean + (value.half || 0)] : []; });
  const low = Math.max(0, Math.floor(Math.min(...bounds) / 5) * 5), high = Math.min(100, Math.ceil(Math.max(...bounds) / 5) * 5);
  const scale = bounds.length ? `${low} to ${high}` : "";
  const against = (i) => difference(i, baseline.index);
  const metricColumn = ([title, name]) => ({ title, value: ([group]) => group.metrics[name]?.mean, cell: ([group]) => withHalf(group.metrics[name]), plain: true });
  const columns = [
    { title: "Experiment", left: true, value: ([group]) => group.name, cell: ([group]) => named(group.name) },
    { title: "Seeds", roomy: true, value: ([group]) => group.seeds.length, cell: ([group]) => String(group.seeds.length), plain: true },
    { title: "Test mAP", value: ([group]) => group.metrics[TEST]?.mean, cell: ([group]) => withHalf(group.metrics[TEST]) },
    { title: scale, left: true, wide: true, roomy: true, cell: ([group, i]) => intervalPlot(group.metrics[TEST], [low, high], { first: i === 0, guide: data.groups[baseline.index].metrics[TEST]?.mean ?? null }) },
    { title: "Difference", value: ([, i]) => (i === baseline.index ? 0 : against(i)?.mean), plain: true,
      cell: ([, i]) => (i === baseline.index ? el("span", { class: "soft" }, "baseline") : el("span", { class: against(i)?.clear ? (against(i).mean > 0 ? "good" : "bad") : "soft" }, withHalf(against(i), signed))) },
    ...Object.entries(data.metrics).slice(1).map(metricColumn),
  ];
  columns[5].title = "Val mAP"; columns[6].title = "Pseudo P"; columns[7].title = "Pseudo R"; columns[8].title = "Labeler";
  const rows = data.groups.map((group, i) => [group, i]);
  const sheet = table(columns, rows, { sortBy: 2, rowClass: ([, i]) => (i === 0 ? "first" : null), label: "Ranking" });
  baseline.listeners.push(sheet.redraw);
  return section("ranking", "Ranking",
    "Mean over seeds \u00b1 95 % interval (Student\u2019s t), in percent. Differences are paired over common seeds; coloured where the interval leaves 0 out. Labeler is the test mAP of its own scores.",
    el("div", { class: "controls" }, picker("Baseline", options(() => true), setBaseline, baseline.index)), sheet);
}
