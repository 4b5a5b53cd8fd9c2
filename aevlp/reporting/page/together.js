// Co-occurrence: which classes are predicted where a class is truly present, against which are truly there.
function together() {
  const have = options((group) => group.scored), title = "Co-occurrence";
  if (!have.length) return nothing(title, WITHOUT_SCORES);
  let group = data.groups[have[0][0]], mode = 0;
  const graph = svg("svg", { tabindex: 0, role: "img", "aria-label": "Co-occurrence matrix; arrow keys read cells" }), reading = el("p", { class: "caption", "aria-live": "polite" });
  const outer = el("div", { class: "scroll matrix" }, graph);
  let cells = [], active = [0, 0];
  const idle = "Rows: the class that is truly there. Columns: the other class. Point at a cell, or focus the matrix and use the arrow keys.";
  function draw() {
    const { shown, together: pairs, predicted } = group.scored, all = classNames(group), names = shown.map((j) => all[j] ?? `class ${j}`);
    const n = names.length, letters = Math.min(16, Math.max(...names.map((name) => [...name].length))), left = 12 + 6.4 * letters;
    const room = Math.min(620, (outer.parentElement?.clientWidth || 700) - left - 24), size = Math.max(14, Math.min(44, Math.floor(room / n)));
    const top = left * 0.8 + 8, width = left + n * size + 24, height = top + n * size + 4;
    graph.setAttribute("viewBox", `0 0 ${width} ${height}`);
    graph.style.width = `${width}px`;
    graph.style.height = `${height}px`;
    graph.style.maxWidth = "none";
    const share = (matrix, i, j) => (pairs[i][i] ? (100 * matrix[i][j]) / pairs[i][i] : null);
    const parts = [];
    cells = names.map((row, i) => names.map((column, j) => {
      const seen = share(predicted, i, j), there = share(pairs, i, j), value = mode === 0 ? seen : mode === 1 ? there : known(seen) ? seen - there : null;
      const fill = mode === 2 && value < 0 ? "var(--bad)" : "var(--accent)";
      const rect = svg("rect", { x: left + j * size, y: top + i * size, width: size - 1, height: size - 1, rx: 2, fill: known(value) ? fill : "var(--wash)", "fill-opacity": known(value) ? 0.05 + 0.9 * Math.min(1, Math.abs(value) / (mode === 2 ? 50 : 100)) : 1 });
      rect.addEventListener("pointerenter", () => read(i, j));
      parts.push(rect);
      if (size >= 24 && known(value) && Math.abs(value) >= 0.5) parts.push(svg("text", { x: left + j * size + size / 2 - 0.5, y: top + i * size + size / 2 + 3.5, "text-anchor": "middle", "pointer-events": "none", class: Math.abs(value) / (mode === 2 ? 50 : 100) > 0.6 ? "over" : "ink" }, mode === 2 ? signed(value, 0) : fixed(value, 0)));
      return { rect, row, column, seen, there };
    }));
    names.forEach((name, i) => {
      parts.push(svg("text", { x: left - 8, y: top + i * size + size / 2 + 4, "text-anchor": "end" }, shortened(name, 16)));
      const x = left + i * size + size / 2 - 2, y = top - 8;
      parts.push(svg("text", { transform: `translate(${x} ${y}) rotate(-50)` }, shortened(name, 16)));
    });
    graph.replaceChildren(...parts);
    reading.textContent = idle;
    note.textContent = all.length > n ? `the ${n} most frequent of ${all.length} classes` : "";
  }
  function read(i, j) {
    cells[active[0]]?.[active[1]]?.rect.removeAttribute("stroke");
    active = [i, j];
    const cell = cells[i][j];
    cell.rect.setAttribute("stroke", "var(--ink)");
    const amount = (value) => (known(value) ? `${fixed(value)} %` : NONE);
    reading.replaceChildren("Where ", named(cell.row), " is true, ", named(cell.column), ` is predicted in ${amount(cell.seen)} of the images and true in ${amount(cell.there)}.`);
  }
  graph.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!move) return;
    const clamp = (value) => Math.max(0, Math.min(cells.length - 1, value));
    read(clamp(active[0] + move[0]), clamp(active[1] + move[1]));
    event.preventDefault();
  });
  const note = el("span", { class: "soft" });
  outer.draw = draw;
  watcher.observe(outer);
  draw();
  return section("together", title, "On the validation images, each class at its best threshold. Percent of the images with the row\u2019s class; the diagonal of \u201cPredicted\u201d is recall. \u201cDifference\u201d is what is predicted too often (blue) or too rarely (red).",
    el("div", { class: "controls" }, picker("Experiment", have, (i) => { group = data.groups[i]; active = [0, 0]; draw(); }, have[0][0]), choice("Values", ["Predicted", "True", "Difference"], (i) => { mode = i; draw(); }), note), outer, reading);
}
