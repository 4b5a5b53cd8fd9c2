// Settings, environment, cost, and the state of every run.
const text = (value) => (value === null || value === undefined ? NONE : typeof value === "string" ? value : JSON.stringify(value));

function settings() {
  const told = data.tables.filter((one) => Object.keys(one.settings).length);
  if (!told.length) return nothing("Settings", data.tables.some((one) => one.groups.length > 1) ? "No setting differs." : "One experiment: nothing to compare.");
  return section("settings", "Settings", "Only what is not the same everywhere; settings of a component are compared among its users.", told.map((one) => {
    const rows = Object.entries(one.settings), shown = one.groups.slice(0, rows[0][1].length), more = one.groups.length - shown.length;
    const columns = [{ title: "Setting", left: true, value: ([path]) => path, cell: ([path]) => named(path) },
      ...shown.map((group, i) => ({ title: shortened(data.groups[group].name, 28), left: true, cell: ([, values]) => named(text(values[i])) }))];
    return [data.tables.length > 1 ? el("h3", { class: "apart" }, named(one.title)) : null,
      more ? el("p", { class: "note" }, `Of the first ${shown.length} experiments in the ranking; ${more} more are left out.`) : null, table(columns, rows, { limit: 80, label: "Settings that differ" })];
  }));
}

function environment() {
  const told = data.runs.filter((run) => isWhole(run) && Object.keys(run.environment).length);
  const keys = [...new Set(told.flatMap((run) => Object.keys(run.environment)))];
  if (!told.length) return nothing("Environment", "No run has an environment.json.");
  const same = keys.filter((key) => told.every((run) => run.environment[key] === told[0].environment[key])), other = keys.filter((key) => !same.includes(key));
  const facts = el("dl", { class: "facts" }, same.flatMap((key) => [el("dt", {}, named(key)), el("dd", {}, named(told[0].environment[key]))]));
  const columns = [{ title: "Run", left: true, value: (run) => run.name, cell: (run) => named(run.name) },
    ...other.map((key) => ({ title: key, left: true, wrap: true, value: (run) => run.environment[key] ?? null, cell: (run) => named(text(run.environment[key])) }))];
  return section("environment", "Environment", told.length > 1 ? `The same in all ${told.length} runs that tell:` : null, same.length ? facts : null,
    other.length ? [el("h3", {}, "Different"), el("div", { class: "stacked" }, table(columns, told, { limit: 40, label: "Environment" }))] : null);
}

function cost() {
  const columns = [
    { title: "Run", left: true, value: (run) => run.name, cell: (run) => named(run.name) },
    { title: "Epochs", value: (run) => run.cost.epochs, cell: (run) => String(run.cost.epochs) },
    { title: "Training time", value: (run) => run.cost.seconds, cell: (run) => time(run.cost.seconds) },
    { title: "CPU time", value: (run) => run.cost.cpu_seconds, cell: (run) => time(run.cost.cpu_seconds) },
    { title: "By the clock", value: (run) => run.cost.clock_seconds, cell: (run) => time(run.cost.clock_seconds) },
    { title: "Images/s", value: (run) => run.cost.images_per_second, cell: (run) => grouped(run.cost.images_per_second) },
    { title: "Waiting for data", value: (run) => run.cost.data_wait, cell: (run) => (known(run.cost.data_wait) ? `${fixed(100 * run.cost.data_wait)} %` : NONE) },
    { title: "Views encoded", value: (run) => run.cost.clip_images_encoded, cell: (run) => grouped(run.cost.clip_images_encoded) },
    { title: "Peak memory", value: (run) => run.cost.memory_peak_mb, cell: (run) => (known(run.cost.memory_peak_mb) ? `${grouped(run.cost.memory_peak_mb)} MB` : NONE) },
    { title: "GPU memory", value: (run) => run.cost.gpu_memory_peak_mb, cell: (run) => (known(run.cost.gpu_memory_peak_mb) ? `${grouped(run.cost.gpu_memory_peak_mb)} MB` : NONE) },
  ].filter(({ title }) => title !== "GPU memory" || data.runs.some((run) => isWhole(run) && known(run.cost.gpu_memory_peak_mb)));
  return section("cost", "Cost", "Training time is that of optimiser steps, without validation and the encoding of views; CPU time and the clock are of the whole run until its last epoch, and other work on the machine lengthens the clock's.", table(columns, data.runs.filter(isWhole), { limit: 40, label: "Cost" }));
}

function runs() {
  const figures = [["Test mAP", TEST], ["Test mAP (known labels)", "test/mAP_observed"], ["Best val mAP", VAL], ["Best val mAP (known labels)", VAL_KNOWN]];
  const columns = [
    { title: "Run", left: true, value: (run) => run.name, cell: (run) => named(run.name) },
    { title: "Seed", value: (run) => run.seed, cell: (run) => String(run.seed) },
    { title: "State", left: true, value: (run) => run.state, cell: (run) => el("span", { class: { finished: "state", running: "state on" }[run.state] ?? "state off" }, named(run.state)) },
    ...figures.filter(([, metric]) => data.runs.some((run) => known(run.summary[metric]))).map(([title, metric]) => ({ title, value: (run) => run.summary[metric], cell: (run) => fixed(run.summary[metric], 2) })),
    { title: "at epoch", value: (run) => run.summary["best/epoch"], cell: (run) => text(run.summary["best/epoch"]) },
    { title: "What is missing", left: true, wrap: true, cell: (run) => (run.problems.length ? run.problems.map((line) => el("div", {}, named(line))) : el("span", { class: "soft" }, "nothing")) },
  ];
  return section("runs", "Runs", null, table(columns, data.runs, { limit: 60, label: "Runs" }));
}
