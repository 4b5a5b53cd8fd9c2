// The page: sections in order, and their links.
const main = document.getElementById("main"), links = document.getElementById("sections");

main.append(headline());
const ofRuns = data.runs.length > 0, searched = data.studies.length ? [studies] : [];
for (const make of ofRuns ? [ranking, bySetting, curves, pseudo, classes, mistakes, gallery, thresholds, together, ...searched, settings, environment, cost, runs] : searched) {
  const part = make();
  main.append(part);
  if (part.id) links.append(el("a", { href: `#${part.id}` }, part.dataset.link));
}
const spy = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (!entry.isIntersecting) return;
  for (const link of links.children) {
    if (link.hash === `#${entry.target.id}`) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
  }
}), { rootMargin: "-15% 0px -75% 0px" });
document.querySelectorAll("section").forEach((part) => spy.observe(part));
document.getElementById("foot").textContent = `aevlp ${data.version}, ${data.created.replace("T", " ")}. Made from run folders alone; this page fetches nothing.`;
document.documentElement.dataset.ready = "true";
