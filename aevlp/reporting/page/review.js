// One question at a time: is this class in this photo? Answers are kept in the browser, and saved as a file.
const KEYS = { y: "yes", n: "no", u: "unsure", s: "skip" }, IDLE = 60_000;
const [main, foot, count, pace, bar] = ["main", "foot", "count", "pace", "bar"].map((id) => document.getElementById(id));
const total = data.questions.length;
let kept = { answers: {}, order: [], at: 0 }, storage = null, times = [], warned = false;

const answered = (i) => kept.answers[i] !== undefined;
const next = (from) => { for (let step = 0; step < total; step++) { const i = (from + step) % total; if (!answered(i)) return i; } return total; };
function take(text) {
  const found = JSON.parse(text || "null");
  if (found && typeof found.answers === "object" && Array.isArray(found.order)) kept = found;
  kept.at = Math.min(Math.max(0, kept.at), total);
  if (kept.at < total && answered(kept.at)) kept.at = next(kept.at + 1);
}

// Answers of an earlier visit. A browser may refuse to keep anything for a file: then it is said, once.
try {
  storage = window.localStorage;
  take(storage.getItem(data.key));
} catch { storage = null; }
// Another tab with this page keeps its answers in the same place.
window.addEventListener("storage", ({ key, newValue }) => { if (key === data.key) { take(newValue); draw(); } });

function keep() {
  try { if (storage) storage.setItem(data.key, JSON.stringify(kept)); } catch { storage = null; }
}

function answer(word) {
  if (kept.at >= total) return;
  kept.order = kept.order.filter((i) => i !== kept.at).concat(kept.at);
  kept.answers[kept.at] = word;
  times = times.concat(Date.now()).slice(-30);
  kept.at = next(kept.at + 1);
  keep();
  draw();
}

function undo() {
  const last = kept.order.pop();
  if (last === undefined) return;
  delete kept.answers[last];
  kept.at = last;
  keep();
  draw();
}

const skipped = () => kept.order.filter((i) => kept.answers[i] === "skip");
function askAgain() {
  for (const i of skipped()) delete kept.answers[i];
  kept.order = kept.order.filter(answered);
  kept.at = next(0);
  keep();
  draw();
}

const percent = (p) => `${Math.round(100 * p)}\u00a0%`;
function evidence([photo, , model, labeler, tile]) {
  const parts = [known(model) ? `model ${percent(model)}` : null, known(labeler) ? `labeler ${percent(labeler)}` : null].filter(Boolean);
  const { name, known: present } = data.photos[photo];
  const about = parts.length ? [parts.join(", ") + (known(tile) ? " (most of it in the marked tile)" : "")] : [];
  if (present.length) about.push(["known: ", ...present.slice(0, 8).flatMap((j, i) => [i ? ", " : "", named(data.classes[j])])]);
  about.push(named(name));
  return about.flatMap((part, i) => [i ? " \u00b7 " : "", part]);
}

function picture([photo, , , , tile]) {
  const { uri, width, height, name } = data.photos[photo];
  const frame = el("div", { class: "photo" }, el("img", { src: uri, alt: name }));
  if (known(tile)) {
    const side = data.grid, size = 100 / side;
    frame.append(svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { x: (tile % side) * size, y: Math.floor(tile / side) * size, width: size, height: size })));
  }
  fit = () => {
    const room = main.getBoundingClientRect(), style = getComputedStyle(main);
    const wide = room.width - 2 * parseFloat(style.paddingLeft), high = room.height - 2 * parseFloat(style.paddingTop);
    const scale = Math.min(wide / width, high / height, 4);
    frame.style.width = `${Math.floor(width * scale)}px`;
    frame.style.height = `${Math.floor(height * scale)}px`;
  };
  return frame;
}
let fit = () => {};
window.addEventListener("resize", () => fit());

const article = (word) => (/^[aeiou]/i.test(word) ? "an" : "a");
const button = (word, key, act, pressed) => el("button", { type: "button", "data-answer": word, "aria-pressed": pressed === null ? null : String(pressed), onclick: act }, word[0].toUpperCase() + word.slice(1), el("kbd", { "aria-hidden": "true" }, key));

function controls(question) {
  const said = answered(kept.at) ? kept.answers[kept.at] : "";
  const words = Object.entries(KEYS).map(([key, word]) => button(word, key, () => answer(word), said === word));
  return [
    el("p", { class: "question", "aria-live": "polite" }, `Is there ${article(data.classes[question[1]])} `, named(data.classes[question[1]]), "?"),
    el("p", { class: "about" }, evidence(question)),
    el("div", { class: "answers" }, words.slice(0, 2)),
    el("div", { class: "answers small" }, words.slice(2), button("undo", "z", undo, null)),
  ];
}

function rate() {
  const steps = times.slice(1).map((time, i) => time - times[i]).filter((step) => step < IDLE);
  if (steps.length < 3) return "";
  const seconds = steps.reduce((sum, step) => sum + step, 0) / steps.length / 1000;
  const left = (total - kept.order.length) * seconds;
  return `${Math.round(60 / seconds)} a minute, ${left < 90 ? `${Math.round(left)} s` : `${Math.round(left / 60)} min`} left`;
}

function draw() {
  const done = kept.order.length;
  count.textContent = `${done} of ${total}`;
  pace.textContent = rate();
  bar.setAttribute("aria-valuemax", total);
  bar.setAttribute("aria-valuenow", done);
  bar.firstElementChild.style.width = `${total ? (100 * done) / total : 0}%`;
  if (kept.at >= total) {
    fit = () => {};
    const left = skipped().length, again = el("button", { id: "again", type: "button", class: "quiet", onclick: askAgain }, left === 1 ? "Ask the one that was skipped" : `Ask the ${left} that were skipped`);
    main.replaceChildren(el("div", { class: "done" }, el("p", { class: "question" }, "That was all."), ...(left ? [el("p", {}, again)] : []),
      el("p", { class: "note" }, "Save the answers, and make them known:"), el("code", {}, data.command)));
    foot.replaceChildren(el("div", { class: "answers small" }, button("undo", "z", undo, null)));
  } else {
    const question = data.questions[kept.at];
    foot.replaceChildren(...controls(question));
    main.replaceChildren(picture(question));
    fit();
  }
  if (!storage && !warned) { warned = true; foot.append(el("p", { class: "warning" }, "This browser keeps nothing for this page: save the answers before you close it.")); }
}

// Quoted as RFC 4180 has it, and only where it must be.
const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
function saved() {
  // Only a photo of which all is known moves to another split.
  const open = new Set(data.questions.filter((_, i) => !["yes", "no"].includes(kept.answers[i])).map(([photo]) => photo));
  const lines = kept.order.filter((i) => kept.answers[i] !== "skip").sort((a, b) => a - b).map((i) => {
    const [photo, column] = data.questions[i];
    return [data.photos[photo].name, data.classes[column], kept.answers[i], open.has(photo) ? "" : data.split, data.source].map(cell).join(",");
  });
  return ["image,class,answer,split,source", ...lines].join("\n") + "\n";
}

function save() {
  const link = el("a", { href: URL.createObjectURL(new Blob([saved()], { type: "text/csv" })), download: "answers.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

document.getElementById("save").addEventListener("click", save);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (KEYS[key]) { if (!event.repeat) answer(KEYS[key]); } // a key that is held answers one question
  else if (key === "z" || key === "backspace") undo();
  else return;
  event.preventDefault();
});
draw();
document.documentElement.dataset.ready = "true";
