"use strict";
// Where the labels of curves fit: beside their curve, clear of other curves and labels. All in pixels.
const placeLabels = (() => {
  const STEP = 8, HEIGHT = 15, LETTER = 6.6, MOST = 2000, TAKEN = 1e4;

  // Points along a curve that lie inside the plot, close together.
  function samples({ points, joined }, width, height) {
    const found = [];
    points.forEach(([x, y], i) => {
      const [a, b] = joined && i ? points[i - 1] : [x, y];
      const n = Math.min(MOST, Math.max(1, Math.ceil(Math.hypot(x - a, y - b) / STEP)));
      for (let k = 1; k <= n; k++) found.push([a + ((x - a) * k) / n, b + ((y - b) * k) / n]);
    });
    return found.filter(([x, y]) => x >= 0 && x <= width && y >= 0 && y <= height);
  }

  function boxesAround([x, y], w) {
    const rows = [y - HEIGHT - 5, y - HEIGHT / 2, y + 5, y - 2 * HEIGHT - 5, y + HEIGHT + 5];
    const places = [x + 8, x - 8 - w].flatMap((left) => rows.map((top) => [left, top]));
    const centred = rows.filter((_, i) => i !== 1).map((top) => [x - w / 2, top]);
    return [...places, ...centred].map(([left, top]) => [left, top, left + w, top + HEIGHT]);
  }

  const holds = ([l, t, r, b], [x, y]) => x > l - 2 && x < r + 2 && y > t - 1 && y < b + 1;
  const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

  // Curves are {name, points, joined, quiet}, quiet ones being guides, which a label may cross; the answer has a box [left, top, right, bottom] each, or null where none fits.
  return (curves, width, height) => {
    const all = curves.map((c) => samples(c, width, height));
    const measured = curves.flatMap((c, i) => (c.quiet ? [] : c.points.map((p) => [i, p])));
    const placed = [], boxes = curves.map(() => null);
    // The shortest first: they have the fewest places.
    [...curves.keys()].filter((i) => all[i].length).sort((a, b) => all[a].length - all[b].length).forEach((i) => {
      const curve = curves[i], w = curve.name.length * LETTER + 18, own = all[i], last = own[own.length - 1];
      const samplesOf = (quiet) => all.flatMap((s, k) => (k === i || !curves[k].quiet === quiet ? [] : s));
      const [others, guides] = [samplesOf(false), samplesOf(true)];
      const hits = (points, box) => points.reduce((n, p) => n + holds(box, p), 0);
      let best = null, least = TAKEN;
      own.forEach((p, n) => n % 2 === 0 && boxesAround(p, w).forEach((box) => {
        const [l, t, r, b] = box;
        if (l < 0 || t < 0 || r > width || b > height) return;
        const away = Math.max(0, t - p[1], p[1] - b);
        let cost = 0.02 * Math.hypot(p[0] - last[0], p[1] - last[1]) + 0.3 * away;
        cost += TAKEN * placed.filter((o) => meets(o, box)).length;
        if (cost >= least) return;
        cost += 10 * hits(others, box) + 4 * hits(own, box) + hits(guides, box);
        cost += 25 * measured.filter(([k, o]) => k !== i && holds([l - 4, t - 4, r + 4, b + 4], o)).length;
        if (cost < least) [best, least] = [box, cost];
      }));
      if (best) placed.push(best);
      boxes[i] = best;
    });
    return boxes;
  };
})();
