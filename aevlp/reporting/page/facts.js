// Settings, environment, cost, and the state of every run.
const text = (value) => (value === null || value === undefined ? NONE : typeof value === "string" ? value : JSON.stringify(value));

function settings() {
  const rows = Object.entries(data.settings), shown = data.groups.slice(0, rows.length ? rows[0][1].length : 0), more = data.groups.length - shown.length;
  const note = `Only what is not the same everywhere; the settings of a component that just one experiment has are left out.${more ? ` Of the first ${shown.length} experiments in the ranking; ${more} more are left out.` : ""}`;
  if (data.groups.length < 2) return section("settings", "Settings", null, empty("One experiment: nothing to compare."));
  if (!rows.length) return section("settings", "Settings", null, empty("No setting differs."));
  const columns = [{ title: "Setting", left: true, value: ([path]) => path, cell: ([path]) => named(path) },
    ...shown.map((group, i) => ({ title: shortened(group.name, 28), left: true, cell: ([, values]) => named(text(values[i])) }))];
  return section("settings", "Settings", note, table(columns, rows, { limit: 80, label: "Settings that differ" }));
}

function environment() {
  const told = data.runs.filter((run) => isWhole(run) && Object.keys(run.environment).length);
  const keys = [...new Set(told.flatMap((run) => Object.keys(run.environment)))];
  if (!told.length) return section("environment", "Environment", null, empty("No run has an environment.json."));
  const same = keys.filter((key) => told.every((run) => run.environment[key] === told[0].environment[key])), other = keys.filter((key) => !same.includes(key));
  const facts = el("dl", { class: "facts" }, same.flatMap((key) => [el("dt", {}, named(key)), el("dd", {}, named(told[0].environment[key]))]));
  const columns = [{ title: "Run", left: true, value: (run) => run.name, cell: (run) => named(run.name) },
    ...other.map((key) => ({ title: key, left: true, wrap: true, value: (run) => run.environment[key] ?? null, cell: (run) => named(text(run.environment[key])) }))];
  return section("environment", "Environment", told.length > 1 ? `The same in all ${told.length} runs that tell:` : null, same.length ? facts : null,
    other.length ? [el("h3", {}, "Different"), table(columns, told, { limit: 40, label: "Environment" })] : null);
}

function cost() {
  const columns = [
    { title: "Run", left: true, value: (run) => run.name, cell: (run) => named(run.name) },
    { title: "Epochs", value: (run) => run.cost.epochs, cell: (run) => String(run.cost.epochs) },
    { title: "Training time", value: (run) => run.cost.seconds, cell: (run) => time(run.cost.seconds) },
    { title: "Images/s", value: (run) => run.cost.images_per_second, cell: (run) => grouped(run.cost.images_per_second) },
    { title: "Waiting for data", value: (run) => run.cost.data_wait, cell: (run) => (known(run.cost.data_wait) ? `${fixed(100 * run.cost.data_wait)} %` : NONE) },
    { title: "Views encoded", value: (run) => run.cost.clip_images_encoded, cell: (run) => grouped(run.cost.clip_images_encoded) },
    { title: "Peak memory", value: (run) => run.cost.memory_peak_mb, cell: (run) => (known(run.cost.memory_peak_mb) ? `${grouped(run.cost.memory_peak_mb)} MB` : NONE) },
  ];
  return section("cost", "Cost", "Training time is that of optimiser steps, without validation and the encoding of views.", table(columns, data.runs.filter(isWhole), { limit: 40, label: "Cost" }));
}

function runs() {
  const columns = [
    { title: "Run", left: true, value: (run) => run.name, cell: (run) => named(run.name) },
    { title: "Seed", value: (run) => run.seed, cell: (run) => String(run.seed) },
    { title: "State", left: true, value: (run) => run.state, cell: (run) => el("span", { class: { finished: "state", running: "state on" }[run.state] ?? "state off" }, named(run.state)) },
    { title: "Test mAP", value: (run) => run.summary[TEST], cell: (run) => fixed(run.summary[TEST], 2) },
    { title: "Best val mAP", value: (run) => run.summary[VAL], cell: (run) => fixed(run.summary[VAL], 2) },
    { title: "at epoch", value: (run) => run.summary["best/epoch"], cell: (run) => text(run.summary["best/epoch"]) },
    { title: "What is missing", left: true, wrap: true, cell: (run) => (run.problems.length ? run.problems.map((line) => el("div", {}, named(line))) : el("span", { class: "soft" }, "nothing")) },
  ];
  return section("runs", "Runs", null, table(columns, data.runs, { limit: 60, label: "Runs" }));
}
