"use strict";
(function () {
  const page = JSON.parse(document.getElementById("figures").textContent);
  const options = { responsive: true, displaylogo: false, displayModeBar: "hover",
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]] };
  const places = { front: document.getElementById("front"), parallel: document.getElementById("parallel") };
  const choices = ["group", "up", "across"].map(function (id) { return document.getElementById(id); });
  const [groupChoice, upChoice, acrossChoice] = choices;
  const said = document.getElementById("chosen");
  let chosen = null;

  function group() { return page.groups[Number(groupChoice.value)]; }

  function fill(select, columns) {
    const before = select.value;
    select.replaceChildren();
    columns.forEach(function ([column, title]) {
      const option = document.createElement("option");
      option.value = column;
      option.textContent = title;
      select.appendChild(option);
      if (column === before) select.value = before;
    });
  }

  // Indices of the designs that have both values.
  function along(x, y, wanted) {
    const designs = group().designs;
    return Array.from(designs.keys()).filter(function (i) {
      const own = designs[i];
      return own.values[x] != null && own.values[y] != null && wanted(own, i);
    });
  }

  function spread(values) {
    const known = values.filter(function (value) { return value != null; });
    const low = Math.min.apply(null, known), high = Math.max.apply(null, known);
    return low > 0 && high > 10 * low ? "log" : "linear";
  }

  // The best of two axes: less is better across, and upwards too unless it is a throughput.
  function staircase(x, y) {
    const more = y === "inferences_per_s";
    const designs = group().designs;
    const order = along(x, y, function () { return true; });
    order.sort(function (a, b) {
      return designs[a].values[x] - designs[b].values[x] || (designs[a].values[y] - designs[b].values[y]) * (more ? -1 : 1);
    });
    let best = null;
    return order.filter(function (i) {
      const value = designs[i].values[y];
      const better = best === null || (more ? value > best : value < best);
      if (better) best = value;
      return better;
    });
  }

  function drawFront() {
    const x = acrossChoice.value, y = upChoice.value, designs = group().designs;
    const figure = structuredClone(page.front);
    const sets = [
      along(x, y, function (own) { return !own.front; }),
      along(x, y, function (own) { return own.front; }),
      staircase(x, y),
      along(x, y, function (own, i) { return i === chosen; }),
    ];
    sets.forEach(function (set, k) {
      Object.assign(figure.data[k], {
        x: set.map(function (i) { return designs[i].values[x]; }),
        y: set.map(function (i) { return designs[i].values[y]; }),
        text: set.map(function (i) { return designs[i].hover; }),
        customdata: set,
      });
    });
    figure.data[2].line.shape = "hv";
    const all = along(x, y, function () { return true; });
    [["xaxis", x, acrossChoice], ["yaxis", y, upChoice]].forEach(function ([axis, column, choice]) {
      const title = choice.selectedOptions[0].textContent;
      figure.layout[axis].title = { text: title };
      figure.layout[axis].type = spread(all.map(function (i) { return designs[i].values[column]; }));
    });
    Plotly.react(places.front, figure.data, figure.layout, options);
  }

  function lines(wanted) {
    const found = { x: [], y: [], text: [], customdata: [] };
    group().designs.forEach(function (own, i) {
      if (!wanted(own, i)) return;
      own.place.forEach(function (place, axis) {
        found.x.push(axis); found.y.push(place); found.text.push(own.hover); found.customdata.push(i);
      });
      found.x.push(null); found.y.push(null); found.text.push(null); found.customdata.push(null);
    });
    return found;
  }

  function drawParallel() {
    const figure = structuredClone(page.parallel), axes = group().axes;
    const sets = [
      lines(function (own) { return !own.front; }),
      lines(function (own) { return own.front; }),
      lines(function (own, i) { return i === chosen; }),
    ];
    sets.forEach(function (set, k) { Object.assign(figure.data[k], set); });
    const last = axes.length - 1;
    Object.assign(figure.layout.xaxis, { tickvals: Array.from(axes.keys()), range: [-0.2, last + 0.2],
      ticktext: axes.map(function (axis) { return axis.title; }) });
    figure.layout.shapes = axes.map(function (_, i) {
      return { type: "line", x0: i, x1: i, y0: 0, y1: 1, layer: "below", line: { color: "#888888", width: 1 } };
    });
    figure.layout.annotations = axes.flatMap(function (axis, i) {
      return [[axis.low, 0, "top"], [axis.high, 1, "bottom"]].map(function ([text, y, anchor]) {
        return { x: i, y: y, text: text, yanchor: anchor, showarrow: false, font: { size: 11 } };
      });
    });
    Plotly.react(places.parallel, figure.data, figure.layout, options);
  }

  function choose(index) {
    chosen = index;
    const own = group().designs[index];
    said.replaceChildren(document.createTextNode("Chosen: " + own.name + ". "));
    if (own.report) {
      const link = document.createElement("a");
      link.href = own.report;
      link.textContent = "Its report";
      said.appendChild(link);
    } else {
      said.appendChild(document.createTextNode("Its solution: " + own.solution));
    }
    table().querySelectorAll("tbody tr").forEach(function (row) {
      row.classList.toggle("chosen", Number(row.dataset.design) === index);
    });
    drawFront();
    drawParallel();
  }

  function table() { return document.querySelector("[data-designs='" + groupChoice.value + "']"); }

  function changeGroup() {
    chosen = null;
    said.textContent = "No design is chosen.";
    document.querySelectorAll("tr.chosen").forEach(function (row) { row.classList.remove("chosen"); });
    fill(upChoice, group().up);
    fill(acrossChoice, group().across);
    document.getElementById("note").textContent = group().note;
    document.querySelectorAll("[data-designs]").forEach(function (own) { own.hidden = own !== table(); });
    drawFront();
    drawParallel();
  }

  if (!page.groups.length) return;
  groupChoice.addEventListener("change", changeGroup);
  [upChoice, acrossChoice].forEach(function (choice) { choice.addEventListener("change", drawFront); });
  document.querySelectorAll("[data-design]").forEach(function (row) {
    row.addEventListener("click", function () { choose(Number(row.dataset.design)); });
  });
  changeGroup();
  Object.values(places).forEach(function (place) {
    place.on("plotly_click", function (event) {
      const index = event.points[0].customdata;
      if (index != null) choose(index);
    });
  });
})();
