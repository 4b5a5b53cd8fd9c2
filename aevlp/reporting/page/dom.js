// Elements, numbers, tables. Text from runs only ever becomes a text node.
const data = JSON.parse(document.getElementById("data").textContent);
const NONE = "\u2013", MINUS = "\u2212";

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) node.setAttribute(key, value);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

// A name of any language, which does not turn the writing direction of its surroundings.
const named = (text) => el("bdi", {}, String(text));
const shortened = (text, length) => ([...text].length > length ? [...text].slice(0, length - 1).join("") + "\u2026" : text);

const known = (value) => typeof value === "number";
const fixed = (value, digits = 1) => (known(value) ? value.toFixed(digits).replace("-", MINUS) : NONE);
const signed = (value, digits = 1) => (known(value) ? (value > 0 ? "+" : "") + fixed(value, digits) : NONE);
const grouped = (value) => (known(value) ? Math.round(value).toLocaleString("en").replace(/,/g, "\u2009") : NONE);
const withHalf = (value, form = fixed) => (!value ? NONE : form(value.mean) + (known(value.half) ? ` \u00b1 ${fixed(value.half)}` : ""));

function time(seconds) {
  if (!known(seconds)) return NONE;
  const whole = Math.round(seconds), pad = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

function numbers(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return Kind === Uint8Array ? bytes : new Kind(bytes.buffer);
}

// columns: {title, left, value: row => sort key, cell: row => node or text, wide, wrap, plain}; rows that are `below` stay there
function table(columns, rows, { sortBy = null, ascending = false, limit = 60, rowClass = () => null, below = () => false, label = "" } = {}) {
  let sort = sortBy, up = ascending, all = false;
  const body = el("tbody");
  const heads = columns.map((column, i) => {
    const button = el("button", { type: "button", onclick: () => { up = sort === i ? !up : Boolean(column.left); sort = i; draw(); } }, column.title);
    return el("th", { scope: "col", class: [column.left && "left", column.roomy && "hide-small"].filter(Boolean).join(" ") || null }, column.value ? button : column.title);
  });
  const more = el("button", { type: "button", class: "more", onclick: () => { all = true; draw(); } });
  const outer = el("div", {}, el("div", { class: "scroll" }, el("table", { "aria-label": label }, el("thead", {}, el("tr", {}, heads)), body)), more);
  function draw() {
    heads.forEach((head, i) => { if (i === sort) head.setAttribute("aria-sort", up ? "ascending" : "descending"); else head.removeAttribute("aria-sort"); });
    const sorted = [...rows];
    if (sort !== null) {
      const key = columns[sort].value;
      sorted.sort((a, b) => {
        const x = key(a), y = key(b), none = (value) => value === null || value === undefined;
        if (none(x) || none(y)) return none(x) - none(y);
        return (typeof x === "string" ? x.localeCompare(y) : x - y) * (up ? 1 : -1);
      });
    }
    sorted.sort((a, b) => below(a) - below(b));
    const shown = all ? sorted : sorted.slice(0, limit);
    body.replaceChildren(...shown.map((row) => el("tr", { class: rowClass(row) }, columns.map((column) =>
      el("td", { class: [column.left && "left", column.wide && "wide", column.wrap && "wrap", column.plain && "plain", column.roomy && "hide-small"].filter(Boolean).join(" ") || null, "data-title": column.title || null }, column.cell(row))))));
    more.hidden = shown.length === sorted.length;
    more.textContent = `Show all ${sorted.length}`;
  }
  draw();
  outer.show = (next) => { rows = next; draw(); };
  outer.redraw = draw;
  return outer;
}

// options: [value, text, title of its part where there are several]
function picker(label, options, onChange, chosen = 0) {
  const parts = [...new Set(options.map(([, , part]) => part))], option = ([value, text]) => el("option", { value, selected: value === chosen }, text);
  const select = el("select", { onchange: () => onChange(Number(select.value)) }, parts.length > 1 ?
    parts.map((part) => el("optgroup", { label: part }, options.filter(([, , other]) => other === part).map(option))) : options.map(option));
  return el("label", {}, label, select);
}

function choice(label, options, onChange) {
  const buttons = options.map((text, i) => el("button", { type: "button", "aria-pressed": String(i === 0), onclick: () => {
    buttons.forEach((button, j) => button.setAttribute("aria-pressed", String(i === j)));
    onChange(i);
  } }, text));
  return el("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}

function section(id, title, note, ...content) {
  return el("section", { id, "data-link": title.replace("Learning curves", "Curves"), "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), note ? el("p", { class: "note" }, note) : null, content);
}

const empty = (text) => el("p", { class: "empty" }, text);
// A section that has nothing to show is a line.
const nothing = (title, text) => el("p", { class: "nothing" }, el("strong", {}, title), text);
