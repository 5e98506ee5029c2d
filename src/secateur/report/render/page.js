"use strict";
const secateur = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const style = getComputedStyle(document.documentElement);
  const dashes = { solid: "", dash: "6 4", dot: "2 3" };
  const hidden = {};

  function colour(token) {
    const [role, alpha] = token.slice(1).split("/");
    const hex = style.getPropertyValue("--" + role).trim();
    if (!alpha) return hex;
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    return `rgba(${r},${g},${b},${alpha})`;
  }

  function themed(value) {
    if (typeof value === "string") return /^@[a-z]/.test(value) ? colour(value) : value;
    if (Array.isArray(value)) return value.map(themed);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, k === "text" ? v : themed(v)]));
  }

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [k, v] of Object.entries(attributes)) made.setAttribute(k, v);
    made.append(...children);
    return made;
  }

  function chosen(name) {
    const radio = document.querySelector(`input[name="${name}"]:checked`);
    return (radio || document.querySelector(`[name="${name}"]`)).value;
  }

  function current(figure) {
    const key = figure.closest(".board").dataset.board;
    const board = data.boards[key];
    const choice = board.controls.map((c) => chosen(`${key}-${c}`)).join("|");
    return { key, spec: board.frames[figure.dataset.frame][choice] };
  }

  function swatch(s) {
    const stroke = `var(--${s.role})`;
    const marks = {
      circle: '<circle cx="15" cy="6" r="3.6"/>', square: '<rect x="11.4" y="2.4" width="7.2" height="7.2"/>',
      diamond: '<path d="M15 1.4 19.6 6 15 10.6 10.4 6Z"/>', triangle: '<path d="M15 1.6 19.6 9.8H10.4Z"/>',
      star: '<path d="M15 .6 16.4 4.4 20.4 4.5 17.2 7 18.3 10.9 15 8.6 11.7 10.9 12.8 7 9.6 4.5 13.6 4.4Z"/>',
      cross: '<path d="M11.5 2.5 18.5 9.5M18.5 2.5 11.5 9.5"/>',
    };
    const line = s.shape === "points" ? "" : s.shape === "area"
      ? `<rect x="3" y="2" width="24" height="9" fill="${stroke}" fill-opacity=".22"/>`
      : `<path d="M1 6H29" stroke-dasharray="${dashes[s.dash]}"/>`;
    const fill = s.dash !== "solid" || s.shape === "points" ? "var(--paper)" : stroke;
    return `<svg viewBox="0 0 30 12" aria-hidden="true" stroke="${stroke}" stroke-width="2" fill="${fill}">${line}${marks[s.symbol] || ""}</svg>`;
  }

  function drawKey(figure, key, spec) {
    const off = (hidden[key] ||= new Set());
    figure.querySelector(".key").replaceChildren(...spec.names.map((s) => {
      const button = element("button", { type: "button", "aria-pressed": String(!off.has(s.name)), title: "show or hide" });
      button.innerHTML = swatch(s);
      button.append(s.name);
      button.addEventListener("click", () => {
        off.has(s.name) ? off.delete(s.name) : off.add(s.name);
        figure.closest(".board").querySelectorAll("figure").forEach(draw);
        [...figure.querySelectorAll(".key button")].find((b) => b.textContent === s.name)?.focus();
      });
      return button;
    }));
  }

  function prepare(figure) {
    const { key, spec } = current(figure);
    figure.querySelector("figcaption").textContent = spec.title;
    drawKey(figure, key, spec);
    return { key, spec };
  }

  function draw(figure) {
    const { key, spec } = prepare(figure);
    const canvas = figure.querySelector(".canvas");
    canvas.setAttribute("aria-label", spec.title);
    const shown = spec.data.filter((t) => !hidden[key].has(spec.names[t.meta].name))
      .map((t) => (t.text ? { ...t, text: t.text.map((i) => data.texts[i]) } : t));
    const layout = themed(spec.layout);
    if (spec.near && chosen(`${key}-near`)) layout.yaxis.range = spec.near;
    layout.dragmode = matchMedia("(pointer: fine)").matches ? "zoom" : false;
    if (canvas.clientWidth < 420) layout.margin = { ...layout.margin, l: 50, r: 8 };
    Plotly.react(canvas, themed(shown), layout, { displayModeBar: false, responsive: true });
    if (figure.querySelector(".numbers").open) drawNumbers(figure);
  }

  function drawNumbers(figure) {
    const { spec } = current(figure);
    const round = (v) => (v === null ? "–" : String(+v.toPrecision(5)));
    const rows = spec.data.filter((t) => t.line.width !== 0).flatMap((t) =>
      t.x.map((x, i) => row([spec.names[t.meta].name, round(x), round(t.y[i])])));
    figure.querySelector(".numbers .scroll").replaceChildren(tableOf(["series", ...spec.units], rows));
  }

  function row(cells) {
    return element("tr", {}, ...cells.map((c, i) => i ? element("td", { class: "number" }, c) : element("th", { scope: "row" }, c)));
  }

  function tableOf(head, rows) {
    const top = element("tr", {}, ...head.map((h, i) => element("th", { scope: "col", ...(i && { class: "number" }) }, h)));
    return element("table", {}, element("thead", {}, top), element("tbody", {}, ...rows));
  }

  function select(label, options, start) {
    const made = element("select", {}, ...options.map((o, i) => element("option", { value: i }, o)));
    made.value = start;
    return { made, wrapped: element("label", { class: "control" }, element("span", {}, label), made) };
  }

  function layers(place) {
    const method = select("cut", data.layers.map((m) => m.method), 0);
    const sparsity = select("sparsity", [], 0);
    const body = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "layers" });
    const notes = element("p", { class: "note" });
    const show = () => {
      const chosen = data.layers[method.made.value];
      const at = chosen.sparsities[sparsity.made.value];
      body.replaceChildren(tableOf(["layer", chosen.noun, "removed", "kept", "reached"], at.rows.map(row)));
      notes.textContent = at.notes.join("; ");
    };
    const refill = () => {
      const { sparsities } = data.layers[method.made.value];
      const kept = Math.min(sparsity.made.value === "" ? Math.floor(sparsities.length / 2) : +sparsity.made.value, sparsities.length - 1);
      sparsity.made.replaceChildren(...sparsities.map((s, i) => element("option", { value: i }, s.sparsity)));
      sparsity.made.value = kept;
      show();
    };
    method.made.addEventListener("change", refill);
    sparsity.made.addEventListener("change", show);
    place.append(element("div", { class: "controls" }, method.wrapped, sparsity.wrapped), body, notes);
    refill();
  }

  function verdict(name, guess, label, role) {
    const wrong = guess !== undefined && guess !== label;
    const said = guess === undefined ? "–" : `${guess} ${wrong ? "✗" : "✓"}`;
    return element("span", { class: `${role} ${wrong ? "wrong" : ""}` }, element("span", {}, name), element("span", {}, said));
  }

  function samples(place) {
    const s = data.samples;
    const slider = element("input", { type: "range", min: 0, max: s.sparsities.length - 1, step: 1, "aria-label": "fraction cut" });
    slider.value = s.start;
    const shown = element("output");
    const list = element("ul", { class: s.methods.length > 2 ? "pictures wide" : "pictures" });
    const show = () => {
      const at = +slider.value;
      shown.textContent = s.sparsities[at];
      slider.setAttribute("aria-valuetext", s.sparsities[at]);
      list.replaceChildren(...s.images.map((src, i) => element("li", {},
        element("img", { src, alt: `sample ${i + 1}, class ${s.labels[i]}`, width: 72, height: 72 }),
        element("span", {}, element("span", {}, "class"), element("span", {}, String(s.labels[i]))),
        verdict("before", s.before ? s.before[i] : undefined, s.labels[i], ""),
        ...s.methods.map((m) => verdict(m.name, m.predictions[at] ? m.predictions[at][i] : undefined, s.labels[i], m.role)))));
    };
    slider.addEventListener("input", show);
    place.append(element("p", {}, `The network of seed ${s.seed}, with this fraction cut: `, shown), slider, list);
    show();
  }

  const figures = () => document.querySelectorAll(".board figure");
  const drawAll = () => {
    figures().forEach(draw);
    document.documentElement.dataset.drawn = "yes";
  };
  figures().forEach(prepare);
  document.querySelectorAll(".board").forEach((board) => board.querySelector(".controls").addEventListener("change", () =>
    board.querySelectorAll("figure").forEach(draw)));
  document.querySelectorAll(".numbers").forEach((d) => d.addEventListener("toggle", () => d.open && drawNumbers(d.closest("figure"))));
  document.querySelectorAll(".layers").forEach(layers);
  document.querySelectorAll(".samples").forEach(samples);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  return { drawAll };
})();
