"use strict";
const secateur = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const style = getComputedStyle(document.documentElement);
  const marks = { circle: "●○", square: "■□", diamond: "◆◇", triangle: "▲△", star: "★☆", cross: "✕✕", "triangle-down": "▼▽", "": "▬┅" };
  const PRINTED = { width: 660, height: 340 };
  const places = new Map();
  let section = "";

  // Colours of the page's theme, or of a palette where one is given.
  function colour(token, palette) {
    const [role, alpha] = token.slice(1).split("/");
    const hex = palette ? palette[role] : style.getPropertyValue("--" + role).trim();
    if (!alpha) return hex;
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    return `rgba(${r},${g},${b},${alpha})`;
  }

  function themed(value, palette) {
    if (typeof value === "string") return /^@[a-z]/.test(value) ? colour(value, palette) : value;
    if (Array.isArray(value)) return value.map((v) => themed(v, palette));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, k === "text" && Array.isArray(v) ? v : themed(v, palette)]));
  }

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [k, v] of Object.entries(attributes)) made.setAttribute(k, v);
    made.append(...children);
    return made;
  }

  const named = (name) => [...document.getElementsByName(name)];
  const chosen = (name) => (named(name).find((e) => e.checked) || named(name).find((e) => e.type !== "radio"))?.value;
  const place = () => data.slider.places[+chosen("keep")];

  function specOf(figure) {
    const board = data.boards[figure.closest(".board").dataset.board];
    return data.plots[board.frames[figure.dataset.frame][board.controls.map(chosen).join("|")]];
  }

  // The traces that are shown: all, or those of one granularity and those of none.
  function shownOf(spec) {
    const group = chosen("show");
    const shown = (name) => !group || !name.group || name.group === group;
    return spec.data.filter((t) => shown(spec.names[t.meta]));
  }

  function pixels(axis, value, length, upwards) {
    const [from, to] = axis.range, v = axis.type === "log" ? Math.log10(value) : value;
    const part = (v - from) / (to - from);
    return length * (upwards ? 1 - part : part);
  }

  function labelsOf(spec, traces, layout, width, height) {
    const w = width - layout.margin.l - layout.margin.r, h = height - layout.margin.t - layout.margin.b;
    const curves = traces.filter((t) => t.name).map((t) => ({
      ...spec.names[t.meta], joined: t.mode !== "markers",
      points: t.x.map((x, i) => [pixels(layout.xaxis, x, w), pixels(layout.yaxis, t.y[i], h, true)])
        .filter((p) => p.every(Number.isFinite)),
    })).filter((c) => c.points.length);
    const guides = spec.guides.map((g) => ({ name: g.name, joined: true, quiet: true,
      points: [0, w].map((x) => [x, pixels(layout.yaxis, g.y, h, true)]) }));
    const all = [...curves, ...guides];
    // The slider moves no label.
    const key = [data.plots.indexOf(spec), w, h, layout.yaxis.range, chosen("show")].join("|");
    if (!places.has(key)) places.set(key, placeLabels(all, w, h));
    return places.get(key).map((box, i) => box && {
      xref: "paper", yref: "paper", x: box[0] / w, y: 1 - box[1] / h, xanchor: "left", yanchor: "top", showarrow: false,
      align: "left", borderpad: 0, bgcolor: "@paper/0.7", font: { size: 12, color: all[i].quiet ? "@soft" : "@ink" },
      text: all[i].quiet ? escaped(all[i].name) : `<span style="color:@${all[i].role}">${markOf(all[i])}</span> ${escaped(all[i].name)}`,
    }).filter(Boolean);
  }

  const markOf = (c) => marks[c.symbol][+(c.dash !== "solid" || !c.joined)];
  const escaped = (text) => text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);

  // Where a share is cut, between the edges of a histogram; the end where more lies beyond.
  function edge(trace, sparsity) {
    const i = trace.at.findIndex((below) => below >= sparsity);
    if (i < 1) return trace.x[i === 0 ? 0 : trace.x.length - 1];
    const part = (sparsity - trace.at[i - 1]) / (trace.at[i] - trace.at[i - 1]);
    return trace.x[i - 1] + part * (trace.x[i] - trace.x[i - 1]);
  }

  // What marks the slider's place: a line across the plot, and a ring around each point that was measured there.
  function markerOf(spec, traces) {
    const { sparsity } = place(), rings = { x: [], y: [] }, lines = [];
    const across = (x, role) => lines.push({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, name: "marker",
      line: { color: `@${role}`, width: 1.5, dash: "dot" } });
    if (spec.kept) across(1 - sparsity, "ink");
    traces.filter((t) => t.at).forEach((t) => {
      if (spec.names[t.meta].shape === "area") return across(edge(t, sparsity), spec.names[t.meta].role);
      t.at.forEach((s, i) => Math.abs(s - sparsity) < 1e-9 && (rings.x.push(t.x[i]), rings.y.push(t.y[i])));
    });
    return { lines, rings: { type: "scatter", mode: "markers", ...rings, hoverinfo: "skip", showlegend: false, cliponaxis: true,
      marker: { symbol: "circle-open", size: 17, color: "@ink", line: { width: 2 } } } };
  }

  function drawingOf(figure, width, height, palette) {
    const spec = specOf(figure), traces = shownOf(spec), marker = markerOf(spec, traces);
    const layout = structuredClone(spec.layout);
    if (spec.near && chosen("near") !== "whole") layout.yaxis.range = [...spec.near];
    if (width < 420) Object.assign(layout.margin, { l: 50, r: 8 }), layout.yaxis.title.text = "";
    layout.shapes.push(...marker.lines);
    layout.annotations = labelsOf(spec, traces, layout, width, height);
    layout.dragmode = matchMedia("(pointer: fine)").matches ? "zoom" : false;
    const shown = traces.map((t) => (t.text ? { ...t, text: t.text.map((i) => data.texts[i]) } : t));
    layout.annotations.forEach((a) => { a.text = a.text.replace(/@[a-z][\w-]*/g, (role) => colour(role, palette)); });
    return { data: themed([...shown, marker.rings], palette), layout: themed(layout, palette), spec };
  }

  function draw(figure, palette, size) {
    const canvas = figure.querySelector(".canvas");
    const { width, height } = size || { width: canvas.clientWidth, height: canvas.clientHeight };
    const { data: traces, layout, spec } = drawingOf(figure, width, height, palette);
    figure.querySelector("figcaption").textContent = spec.title;
    canvas.setAttribute("aria-label", spec.title);
    Plotly.react(canvas, traces, { ...layout, ...(size || { width: undefined, height: undefined }) }, { displayModeBar: false, responsive: true });
    if (figure.querySelector(".numbers").open) drawNumbers(figure);
  }

  function numbersOf(figure) {
    const spec = specOf(figure), round = (v) => (v === null ? "–" : String(+v.toPrecision(5)));
    const y = (v) => spec.layout.yaxis.ticktext && spec.layout.yaxis.type !== "log" ? spec.layout.yaxis.ticktext[v] : round(v);
    return [["series", ...spec.units], ...shownOf(spec).filter((t) => t.line.width !== 0)
      .flatMap((t) => t.x.map((x, i) => [spec.names[t.meta].name, round(x), y(t.y[i])]))];
  }

  function drawNumbers(figure) {
    const [head, ...rows] = numbersOf(figure);
    figure.querySelector(".numbers .scroll").replaceChildren(tableOf(head, rows));
  }

  function row(cells) {
    return element("tr", {}, ...cells.map((c, i) => i ? element("td", { class: "number" }, c) : element("th", { scope: "row" }, c)));
  }

  function tableOf(head, rows) {
    const top = element("tr", {}, ...head.map((h, i) => element("th", { scope: "col", ...(i && { class: "number" }) }, h)));
    return element("table", {}, element("thead", {}, top), element("tbody", {}, ...rows.map(row)));
  }

  function save(name, type, text) {
    const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    document.body.append(link);
    link.click();
    link.remove();
  }

  const fileName = (text) => `secateur-${text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "")}`;
  const csv = (rows) => rows.map((r) => r.map((c) => (/[",\n]/.test(c) ? `"${c.replace(/"/g, '""')}"` : c)).join(",")).join("\n") + "\n";

  async function saveSvg(figure) {
    const { clientWidth: width, clientHeight: height } = figure.querySelector(".canvas");
    const { data: traces, layout, spec } = drawingOf(figure, width, height, data.light);
    const paper = { ...layout, paper_bgcolor: data.light.paper, width, height };
    save(fileName(spec.title) + ".svg", "image/svg+xml", await Plotly.toImage({ data: traces, layout: paper }, { format: "svg", width, height, imageDataOnly: true }));
  }

  const saved = {
    csv: (button) => { const figure = button.closest("figure"); save(fileName(specOf(figure).title) + ".csv", "text/csv", csv(numbersOf(figure))); },
    svg: (button) => saveSvg(button.closest("figure")),
    table: (button) => {
      const table = button.closest(".table");
      const rows = [...table.querySelectorAll("tr")].map((r) => [...r.cells].map((c) => c.textContent));
      save(fileName(table.dataset.title) + ".csv", "text/csv", csv(rows));
    },
    pdf: () => window.print(),
  };

  function drawPlace() {
    const { kept, sentences } = place();
    document.querySelectorAll("output.kept").forEach((o) => { o.textContent = kept; });
    document.querySelector(".says").textContent = sentences[chosen("batch") ?? ""];
    document.querySelectorAll("[data-batch]").forEach((e) => { e.hidden = e.dataset.batch !== chosen("batch"); });
    named("keep").forEach((s) => s.setAttribute("aria-valuetext", `${kept} kept`));
  }

  function drawLayers() {
    const found = data.layers[+chosen("layers")], at = found.sparsities[+chosen("keep")];
    const none = element("p", { class: "note" }, "Not measured at this fraction.");
    document.querySelector(".layers").replaceChildren(at ? tableOf([`layer (${found.method})`, found.noun, "removed", "kept", "reached"], at.rows) : none);
    document.querySelector("#layers .note").textContent = at ? at.notes.join("; ") : "";
  }

  function drawClasses() {
    const at = +chosen("keep");
    document.querySelectorAll("[data-classes]").forEach((part) => {
      const found = data.classes[+part.dataset.classes].sparsities[at];
      part.querySelector(".verdict").textContent = found ? found.sentence : "Not measured at this fraction.";
      const head = ["class", "test samples", "before", "after", "points lost", "95% interval", "beyond chance"];
      part.querySelector(".scroll").replaceChildren(...(found ? [tableOf(head, found.rows)] : []));
    });
  }

  function told(name, guess, label, role) {
    const wrong = guess !== undefined && guess !== null && guess !== label;
    const said = guess === undefined || guess === null ? "–" : `${guess} ${wrong ? "✗" : "✓"}`;
    return element("span", { class: `${role} ${wrong ? "wrong" : ""}` }, element("span", {}, name), element("span", {}, said));
  }

  function drawSamples() {
    const s = data.samples, at = +chosen("keep");
    const list = element("ul", { class: s.methods.length > 2 ? "pictures wide" : "pictures" });
    list.append(...s.images.map((src, i) => element("li", {},
      element("img", { src, alt: `sample ${i + 1}, class ${s.labels[i]}`, width: 72, height: 72 }),
      element("span", {}, element("span", {}, "class"), element("span", {}, String(s.labels[i]))),
      told("before", s.before?.[i], s.labels[i], ""),
      ...s.methods.map((m) => told(m.name, m.predictions[at]?.[i], s.labels[i], m.role)))));
    document.querySelector(".samples").replaceChildren(list);
  }

  const figures = () => [...document.querySelectorAll(".board figure")];

  // What is in sight first; the others follow, a few at a time, so that the slider stays quick.
  let waiting = [];
  function redraw() {
    drawPlace();
    const middle = innerHeight / 2, away = (f) => { const r = f.getBoundingClientRect(); return Math.abs((r.top + r.bottom) / 2 - middle); };
    if (!waiting.length) requestAnimationFrame(drawNext);
    waiting = figures().sort((a, b) => away(a) - away(b));
    waiting.push(...[drawLayers, drawClasses, ...(data.samples ? [drawSamples] : [])]);
    delete document.documentElement.dataset.drawn;
  }

  function drawNext() {
    const end = performance.now() + 30;
    while (waiting.length && performance.now() < end) {
      const next = waiting.shift();
      next instanceof Element ? draw(next) : next();
    }
    if (waiting.length) requestAnimationFrame(drawNext);
    else document.documentElement.dataset.drawn = "yes";
  }

  const names = [...new Set([...document.querySelectorAll("[name]:not(meta)")].map((e) => e.name))];
  const defaults = Object.fromEntries(names.map((n) => [n, chosen(n)]));
  const percent = (i) => String(+(100 * (1 - data.slider.places[i].sparsity)).toFixed(4));

  // The state in the address: every choice that is not the first, "keep" in percent.
  function writeAddress() {
    const changed = names.filter((n) => chosen(n) !== defaults[n])
      .map((n) => `${n}=${encodeURIComponent(n === "keep" ? percent(+chosen(n)) : chosen(n))}`);
    const hash = [section, ...changed].filter(Boolean).join("&");
    history.replaceState(null, "", hash ? `#${hash}` : location.href.replace(/#.*/, ""));
  }

  function choose(name, value) {
    const found = named(name);
    if (name === "keep") value = String(data.slider.places.findIndex((_, i) => percent(i) === value));
    found.filter((e) => e.type === "radio").forEach((e) => { if (e.value === value) e.checked = true; });
    found.filter((e) => e.type === "range" && +value >= 0).forEach((e) => { e.value = value; });
    found.filter((e) => e.tagName === "SELECT" && [...e.options].some((o) => o.value === value)).forEach((e) => { e.value = value; });
  }

  function readAddress() {
    const parts = location.hash.slice(1).split("&").filter(Boolean);
    const asked = new Map(parts.filter((p) => p.includes("=")).map((p) => [p.slice(0, p.indexOf("=")), p.slice(p.indexOf("=") + 1)]));
    section = parts.find((p) => !p.includes("=")) || section;
    asked.forEach((value, name) => { try { names.includes(name) && choose(name, decodeURIComponent(value)); } catch { /* no value of ours */ } });
    if (asked.size && section) document.getElementById(section)?.scrollIntoView();
    writeAddress();
  }

  function changed() {
    writeAddress();
    redraw();
  }

  function print(start) {
    document.querySelectorAll("details").forEach((d) => {
      if (start && !d.open) d.dataset.closed = "yes";
      if (start || d.dataset.closed) d.open = start;
      if (!start) delete d.dataset.closed;
    });
    figures().forEach((f) => (start ? draw(f, data.light, PRINTED) : draw(f)));
  }

  document.addEventListener("input", (e) => e.target.name && changed());
  document.addEventListener("click", (e) => { const b = e.target.closest("[data-save]"); if (b) saved[b.dataset.save](b); });
  document.querySelectorAll(".numbers").forEach((d) => d.addEventListener("toggle", () => d.open && drawNumbers(d.closest("figure"))));
  addEventListener("hashchange", () => { readAddress(); redraw(); });
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
  readAddress();
  drawPlace();
  return { drawAll: redraw };
})();
