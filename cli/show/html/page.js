"use strict";
(function () {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const NARROW = window.matchMedia("(max-width: 700px)");
  const options = {
    responsive: true,
    displaylogo: false,
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
    displayModeBar: NARROW.matches ? false : "hover",
  };
  const PAPER = { width: 690, height: 900 };
  const drawn = [];

  function draw(place, figure) {
    Plotly.react(place, figure.data, Object.assign({}, figure.layout), options);
    if (!drawn.includes(place)) drawn.push(place);
  }

  const charts = Array.from(document.querySelectorAll("[data-figure]"));
  charts.forEach(function (place) { draw(place, figures[place.dataset.figure]); });

  // What is zoomed into in one chart over time is shown in the other.
  const times = charts.filter(function (place) { return place.dataset.time; });
  times.forEach(function (place) {
    place.on("plotly_relayout", function () {
      const range = place.layout.xaxis.range;
      times.forEach(function (other) {
        const own = other.layout.xaxis.range;
        if (other !== place && (own[0] !== range[0] || own[1] !== range[1]))
          Plotly.relayout(other, { "xaxis.range": range.slice() });
      });
    });
  });

  const share = document.getElementById("share");
  share.addEventListener("click", function () {
    const pressed = share.getAttribute("aria-pressed") !== "true";
    const text = pressed ? "share of the cycles for which the layer holds its banks (%)" : "cycles for which the layer holds its banks";
    share.setAttribute("aria-pressed", String(pressed));
    share.textContent = pressed ? "Show cycles" : "Show shares";
    Plotly.relayout(document.querySelector("[data-figure=cycles]"),
      { barnorm: pressed ? "percent" : "", "xaxis.title.text": text, "xaxis.autorange": true });
  });

  const nests = document.getElementById("nests");
  nests.addEventListener("click", function () {
    const all = Array.from(document.querySelectorAll("details"));
    const open = !all.every(function (x) { return x.open; });
    all.forEach(function (x) { x.open = open; });
    nests.textContent = open ? "Close all" : "Open all";
  });

  function edgeFigure(edge) {
    const figure = structuredClone(figures.edge);
    [edge.done, edge.ready, edge.needed].forEach(function (curve, i) {
      Object.assign(figure.data[i], {
        x: curve.times, y: curve.blocks.map(function (block) { return block / curve.count; }),
        customdata: curve.blocks, meta: curve.count,
      });
    });
    const waits = figure.data[3];
    waits.x = []; waits.y = []; waits.customdata = [];
    edge.waits.forEach(function ([block, cycles, end]) {
      const level = (block - 1) / edge.needed.count;
      waits.x.push(end - cycles, end, null);
      waits.y.push(level, level, null);
      waits.customdata.push([block, cycles], [block, cycles], null);
    });
    figure.layout.xaxis.range = edge.span.slice();
    return figure;
  }

  const choice = document.getElementById("edge");
  if (choice) {
    const rows = Array.from(document.querySelectorAll("#edges tbody tr"));
    const show = function (number) {
      choice.value = String(number);
      document.getElementById("edge-name").textContent = choice.selectedOptions[0].textContent;
      draw(document.getElementById("edge-chart"), edgeFigure(figures.edges[number]));
      rows.forEach(function (row) { row.classList.toggle("chosen", Number(row.dataset.edge) === number); });
    };
    choice.addEventListener("change", function () { show(Number(choice.value)); });
    rows.forEach(function (row) { row.addEventListener("click", function () { show(Number(row.dataset.edge)); }); });
    show(0);
  }

  // Paper is narrower than the screen, a chart should stand on one page, and patterns make a PDF of many
  // megabytes.
  window.addEventListener("beforeprint", function () {
    drawn.forEach(function (place) {
      const size = { width: PAPER.width, height: Math.min(place.layout.height, PAPER.height) };
      Plotly.update(place, { "marker.pattern.shape": "" }, size);
    });
  });
  window.addEventListener("afterprint", function () {
    drawn.forEach(function (place) {
      const figure = figures[place.dataset.figure || "edge"];
      const shapes = figure.data.map(function (trace) { return ((trace.marker || {}).pattern || {}).shape || ""; });
      const size = { width: null, height: figure.layout.height, autosize: true };
      Plotly.update(place, { "marker.pattern.shape": shapes }, size);
    });
  });
})();
