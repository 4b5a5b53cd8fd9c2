// Experiments: their tables and colours, and what they are compared with.
const COLOURS = 12;
const hue = (i) => `var(--s${i % COLOURS})`;
// Experiments by their table, outside of which nothing is compared; their colours are those of their places in it.
data.tables.forEach((one, t) => one.groups.forEach((i, place) => Object.assign(data.groups[i], { table: t, place })));
const colour = (i) => hue(data.groups[i].place);
// The groups that can be chosen from, as options of a picker.
const options = (has) => data.tables.flatMap((one) => one.groups.map((i) => [i, data.groups[i].name, one.title])).filter(([i]) => has(data.groups[i]));

// What differences are taken against in each table; sections listen.
const baseline = { of: data.tables.map((one) => one.baseline), listeners: [] };
const baselineOf = (i) => baseline.of[data.groups[i].table];
function setBaseline(i) { baseline.of[data.groups[i].table] = i; baseline.listeners.forEach((listen) => listen()); }
