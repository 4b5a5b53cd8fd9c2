// Experiments that differ by one number: a chart a setting, a line for each set of the others.
function bySetting() {
  const charts = data.tables.flatMap((one) => {
    const [metric, word] = deciding(one), settings = [...new Set(one.by_setting.map((each) => each.setting))];
    return settings.map((setting) => {
      const series = one.by_setting.filter((each) => each.setting === setting).map((each, i) => {
        const at = each.groups.map((group) => data.groups[group].metrics[metric]), half = (value) => value?.half ?? 0;
        return { name: each.name, colour: hue(i), dashed: i >= COLOURS, x: each.values, y: at.map((value) => value?.mean ?? null),
          low: at.map((value) => value && value.mean - half(value)), high: at.map((value) => value && value.mean + half(value)) };
      });
      const legend = el("div", { class: "legend" }, series.map((each) => {
        const key = el("span", { class: "key" });
        key.style.background = each.colour;
        return el("span", {}, key, named(shortened(each.name, 40)));
      }));
      const title = `${word[0].toUpperCase()}${word.slice(1)} by ${setting}${data.tables.length > 1 ? `, ${one.title}` : ""}`;
      return el("div", {}, lineChart(title, series, { xName: setting, whole: false }), legend);
    });
  });
  if (!charts.length) return el("div", {});
  return section("by-setting", "By setting", "Experiments that differ by one number alone, three values or more. Mean over seeds; the band is its 95 % interval.", el("div", { class: "charts" }, charts));
}
