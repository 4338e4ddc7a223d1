"use strict";
const drawn = (async () => {
  // The library is in the page compressed; the page's policy names the hash of what comes out.
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const library = document.createElement("script");
  library.textContent = await new Response(unpacked).text();
  document.head.append(library);

  // The colours of text, ground and grid are the style sheet's.
  const themed = (template) => {
    const css = getComputedStyle(document.documentElement);
    const [text, soft, line, card] = ["text", "soft", "line", "card"].map((n) => css.getPropertyValue(`--${n}`).trim());
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line };
    const clear = "rgba(0,0,0,0)";
    return {
      ...template,
      layout: {
        font: { family: css.getPropertyValue("--letters"), color: text },
        paper_bgcolor: clear,
        plot_bgcolor: clear,
        xaxis: axis,
        yaxis: axis,
        hoverlabel: { bgcolor: card, bordercolor: soft, font: { color: text }, align: "left", namelength: -1 },
        modebar: { bgcolor: clear, color: soft, activecolor: text },
        colorway: ["#0072B2"],
      },
    };
  };
  // A finger that moves over a chart scrolls the page: there the buttons zoom.
  const touch = matchMedia("(pointer: coarse)").matches;
  const buttons = ["toImage", ...(touch ? [] : ["zoom2d", "pan2d"]), "zoomIn2d", "zoomOut2d", "resetScale2d"];
  const settings = { responsive: true, displaylogo: false, modeBarButtons: [buttons] };
  const dragmode = touch ? false : "zoom";
  const told = JSON.parse(document.getElementById("told").textContent);
  const charts = [...document.querySelectorAll("script[data-chart]")].map((source) => {
    const { data, layout } = JSON.parse(source.textContent);
    data.filter((trace) => trace.told).forEach((trace) => (trace.text = trace.told.map((number) => told[number])));
    const place = document.getElementById(source.dataset.chart);
    Plotly.newPlot(place, data, { ...layout, dragmode, template: themed(layout.template) }, settings);
    return { place, template: layout.template };
  });
  const paint = (size) =>
    charts.forEach(({ place, template }) => Plotly.relayout(place, { template: themed(template), ...size }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint({}));
  const paper = matchMedia("print");
  paper.addEventListener("change", () => paint(paper.matches ? { width: 640 } : { width: null, autosize: true }));

  const value = (text) => (Number.isNaN(parseFloat(text)) ? -Number.MAX_VALUE : parseFloat(text));
  Tablesort.extend("number", () => false, (a, b) => value(b) - value(a));
  document.querySelectorAll("table.sorts").forEach((table) => new Tablesort(table, { descending: true }));
  document.querySelector("nav details").open = innerWidth >= 480;
})();
