// Headline and leaderboards, one for each set of images and labels that experiments were judged on.
const TEST = "test/mAP", VAL = "best/val_mAP", VAL_KNOWN = "best/val_mAP_observed";
const RANKED_BY = { [TEST]: "test mAP", [VAL]: "validation mAP", "test/mAP_observed": "test mAP (known labels)", [VAL_KNOWN]: "validation mAP (known labels)" };
// What a table is ranked by, and how it is called.
const deciding = (one) => [one.ranked_by, RANKED_BY[one.ranked_by]];

// Paired over common seeds, with the half width of the 95 % interval; as `paired_difference` of reporting/statistics.py.
function difference(metric, i, j) {
  const here = data.groups[i].metrics[metric]?.values ?? {}, there = data.groups[j].metrics[metric]?.values ?? {};
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
  return el("div", {}, title, data.tables.map((one) => [leaderLine(one), one.caveats.map((line) => el("p", { class: "note" }, line.split(/(--\w+ \w+)/).map((part, i) => (i % 2 ? el("code", { class: "whole" }, part) : part))))]), warnings.map((text) => el("p", { class: "warning" }, named(text))));
}

// Who leads, and whether by more than seed noise.
function leaderLine(one) {
  const [metric, word] = deciding(one), first = one.groups[0], leader = data.groups[first], best = leader.metrics[metric];
  const lead = el("p", { class: "lead" }), place = data.tables.length > 1 ? [named(one.title), ": "] : [];
  const draw = () => {
    if (!best || leader.bound) { lead.replaceChildren(...place, best ? "nothing but runs that were trained with all labels." : "None of these runs has finished; what they hold so far is below."); return; }
    const others = one.groups.slice(1).map((i) => data.groups[i]).filter((group) => !group.bound && group.metrics[metric]), alike = others.filter((group) => group.metrics[metric].mean === best.mean);
    const gaps = new Map(others.map((group) => [group, difference(metric, first, data.groups.indexOf(group))]));
    const unclear = others.filter((group) => !gaps.get(group)?.clear);
    const says = alike.length ? [" and ", named(alike[0].name), ` are even at ${withHalf(best)} ${word}`]
      : unclear.length ? [` has the highest ${word}, ${withHalf(best)}`] : [`${others.length ? " leads with" : " has"} ${withHalf(best)} ${word}`];
    const parts = [...place, el("strong", {}, named(leader.name)), ...says];
    const other = baselineOf(first) === first ? null : data.groups[baselineOf(first)], gap = other && difference(metric, first, baselineOf(first));
    if (gap) {
      parts.push(`, ${signed(gap.mean)}${known(gap.half) ? ` \u00b1 ${fixed(gap.half)}` : ""} against `, named(other.name));
      parts.push(!known(gap.half) ? ". One common seed cannot tell the difference from seed noise." :
        gap.clear ? `: beyond seed noise over ${gap.seeds.length} common seeds.` : `: they cannot be told apart over ${gap.seeds.length} common seeds.`);
    } else parts.push(".");
    const rest = unclear.filter((group) => group !== other && !alike.includes(group));
    const compared = rest.filter((group) => known(gaps.get(group)?.half)), few = rest.filter((group) => !compared.includes(group));
    const names = (groups) => [" ", named(groups[0].name), groups.length > 1 ? ` and ${groups.length - 1} more` : ""];
    if (compared.length) parts.push(...names(compared), " cannot be told apart from it.");
    if (few.length) parts.push(...names(few), few.length > 1 ? " share" : " shares", " too few seeds with it to tell.");
    lead.replaceChildren(...parts);
  };
  baseline.listeners.push(draw);
  draw();
  return lead;
}

function rankingTable(one) {
  const [metric] = deciding(one), first = one.groups[0], base = () => baselineOf(first);
  const bounds = one.groups.flatMap((i) => { const value = data.groups[i].metrics[metric]; return value ? [value.mean - (value.half || 0), value.mean + (value.half || 0)] : []; });
  const low = Math.max(0, Math.floor(Math.min(...bounds) / 5) * 5), high = Math.min(100, Math.ceil(Math.max(...bounds) / 5) * 5);
  const against = (i) => difference(metric, i, base()), of = (i) => data.groups[i];
  const figure = ([title, name]) => ({ title: title[0].toUpperCase() + title.slice(1), plain: name !== metric, value: (i) => of(i).metrics[name]?.mean,
    cell: (i) => (name.endsWith("/count") ? grouped(of(i).metrics[name]?.mean) : withHalf(of(i).metrics[name])) });
  const columns = Object.entries(one.metrics), [main, others] = [columns.filter(([, name]) => name === metric), columns.filter(([, name]) => name !== metric)];
  const sheet = table([
    { title: "Experiment", left: true, value: (i) => of(i).name, cell: (i) => named(of(i).name) },
    { title: "Seeds", roomy: true, value: (i) => of(i).seeds.length, cell: (i) => String(of(i).seeds.length), plain: true },
    ...main.map(figure),
    ...(one.groups.some((i) => known(of(i).metrics[metric]?.half)) ? [{ title: `${low} to ${high}`, left: true, wide: true, roomy: true, cell: (i) => intervalPlot(of(i).metrics[metric], [low, high], { first: i === first, guide: of(base()).metrics[metric]?.mean ?? null }) }] : []),
    ...(one.groups.length < 2 ? [] : [{ title: "Difference", value: (i) => (i === base() ? 0 : against(i)?.mean), plain: true,
      cell: (i) => (i === base() ? el("span", { class: "soft" }, "baseline") : el("span", { class: against(i)?.clear ? (against(i).mean > 0 ? "good" : "bad") : "soft" }, withHalf(against(i), signed))) }]),
    ...others.map(figure),
  ], one.groups, { sortBy: 2, below: (i) => of(i).bound, rowClass: (i) => (of(i).bound ? "bound" : i === first ? "first" : null), label: "Ranking" });
  baseline.listeners.push(sheet.redraw);
  const several = data.tables.length > 1, has = one.groups.some((i) => of(i).bound);
  return [several ? el("h3", { class: "apart" }, named(one.title)) : null, one.notes.map((line) => el("p", { class: "note" }, named(line))),
    one.groups.length > 1 ? el("div", { class: "controls" }, picker("Baseline", one.groups.map((i) => [i, of(i).name]), setBaseline, base())) : null, el("div", { class: columns.length > 6 ? "dense" : null }, sheet),
    has ? el("p", { class: "note below" }, "Grey, below the ranking: trained with all labels, which is what one label can hope for, and no competitor.") : null];
}

function ranking() {
  const several = data.groups.some((group) => group.seeds.length > 1);
  return section("ranking", "Ranking",
    (several ? "Mean over seeds \u00b1 95 % interval (Student\u2019s t), in percent; drawn on the axis from the first to the second number of the column\u2019s title. Differences are paired over common seeds; coloured where the interval leaves 0 out; they are of one comparison each, not corrected for their number." : "In percent, of one seed each: there is no interval.")
    + (data.tables.some((one) => "labeler" in one.metrics) ? " Labeler is the test mAP of its own scores." : "")
    + (data.tables.length > 1 ? " Experiments that were judged on other images or labels have a table of their own." : ""), data.tables.map(rankingTable));
}
