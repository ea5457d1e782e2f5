"use strict";
// Draws charts on <canvas data-chart=ID data-kind=spark|live|heat>. The server sends only what is new
// (pages/live.py); here it is kept for as long as it is shown, and drawn when something came.
(() => {
  const WINDOW_S = { spark: 90, live: 120, heat: 1800 };
  const GAP_S = 3.5; // a longer silence is shown as one, not bridged by a line
  const series = new Map();
  const hovered = new WeakMap();

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const text = (v) => {
    const size = Math.abs(v);
    return v.toFixed(size < 0.1 ? 4 : size < 1 ? 3 : size < 10 ? 2 : size < 100 ? 1 : 0);
  };

  function feed(message) {
    for (const news of message.charts) {
      const known = series.get(news.id);
      const s = known && !news.reset ? known : { points: [] };
      s.points.push(...news.points);
      s.now_s = message.now_s;
      if (news.limit !== undefined) s.limit = news.limit;
      series.set(news.id, s);
    }
    for (const s of series.values()) {
      s.now_s = message.now_s;
      const oldest = message.now_s - WINDOW_S.heat;
      let drop = 0;
      while (drop < s.points.length && s.points[drop][0] < oldest) drop++;
      if (drop) s.points.splice(0, drop);
    }
    if (!document.hidden) drawAll();
  }

  function propose(id, limit) {
    const s = series.get(id);
    if (s) s.proposed = limit;
    drawAll();
  }

  function drawAll() {
    document.querySelectorAll("canvas[data-chart]").forEach((canvas) => {
      const s = series.get(canvas.dataset.chart);
      if (s) draw(canvas, s);
    });
  }

  // Returns the function from a value to its height in pixels.
  function scale(kind, s, points, plot) {
    const values = points.map((p) => p[1]).sort((a, b) => a - b);
    const low = values.length ? values[Math.floor(values.length * 0.02)] : 0;
    const top = values.length ? values[values.length - 1] : 1;
    const linear = (lo, hi) => (v) => plot.y + (1 - (Math.min(Math.max(v, lo), hi) - lo) / (hi - lo)) * plot.h;
    if (kind === "heat") return linear(Math.min(30, low) - 2, Math.max(88, top));
    if (s.limit == null) return linear(low - ((top - low) * 0.15 || 0.5), top + ((top - low) * 0.15 || 0.5));
    // Heads differ in where good parts score: near 0, or all within a few percent of the threshold. So the
    // threshold always stands at the same height and the lowest good scores near the foot. Above it the scale
    // closes up towards the top: the faintest anomaly is seen, and the worst still fits.
    const measured = low < s.limit ? s.limit - low : Math.abs(s.limit) || 1;
    s.below = s.below ? s.below + 0.1 * (measured - s.below) : measured; // eased, so that the axis is calm
    const over = plot.h * 0.45;
    const limitY = plot.y + over;
    return (v) =>
      v > s.limit
        ? limitY - over * (1 - 1 / (1 + (v - s.limit) / s.below))
        : limitY + Math.min(1, (s.limit - v) / (1.3 * s.below)) * (plot.h - over);
  }

  function draw(canvas, s) {
    const kind = canvas.dataset.kind;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);

    const span = WINDOW_S[kind];
    const from = s.now_s - span;
    const points = s.points.filter((p) => p[0] >= from);
    const foot = kind === "spark" ? 0 : 20;
    const plot = { x: 0, y: 2, w: width - (kind === "spark" ? 5 : 8), h: height - foot - 4 };
    const x = (t) => plot.x + ((t - from) / span) * plot.w;
    const y = scale(kind, s, points, plot);
    const limitY = s.limit == null ? null : y(s.limit);

    g.font = "500 12px Roboto, system-ui, sans-serif";
    g.fillStyle = style("--sunk");
    g.fillRect(plot.x, plot.y, width, plot.h);
    if (limitY !== null) {
      g.fillStyle = style("--chart-over");
      g.fillRect(plot.x, plot.y, width, limitY - plot.y);
    }
    if (foot) timeAxis(g, span, x, s.now_s, plot, height);
    if (kind === "live" && limitY !== null) levels(g, s, y, width);
    const band = (top, bottom, color) => {
      g.save();
      g.beginPath();
      g.rect(0, top, width, bottom - top);
      g.clip();
      line(g, points, x, y, color, kind === "spark" ? 1.5 : 1.75, kind === "heat" ? 60 : GAP_S);
      g.restore();
    };
    if (limitY === null) band(0, height, style("--chart"));
    else {
      band(limitY, height, style("--chart"));
      band(0, limitY, style("--alarm"));
      dots(g, points.filter((p) => p[1] > s.limit), x, y, kind === "live" ? 3.2 : 2.4);
      rule(g, limitY, width, style("--ink-2"), []);
      if (kind !== "spark") label(g, `${kind === "heat" ? "slows at " : "threshold "}${unit(kind, s.limit)}`, limitY, width);
    }
    if (s.proposed != null && kind === "live") {
      rule(g, y(s.proposed), width, style("--accent"), [6, 4]);
      label(g, `new ${text(s.proposed)}`, y(s.proposed), width, style("--accent"), true);
    }
    const last = points[points.length - 1];
    if (last) {
      g.fillStyle = s.limit != null && last[1] > s.limit ? style("--alarm") : style("--chart");
      disc(g, x(last[0]), y(last[1]), kind === "spark" ? 3 : 4);
    }
    const pointer = hovered.get(canvas);
    if (pointer !== undefined && kind !== "spark") crosshair(g, points, pointer, { x, y, plot, kind, now: s.now_s });
  }

  function line(g, points, x, y, color, width, gap) {
    g.strokeStyle = color;
    g.lineWidth = width;
    g.lineJoin = "round";
    g.beginPath();
    let before = -Infinity;
    for (const [t, v] of points) {
      if (t - before > gap) g.moveTo(x(t), y(v));
      else g.lineTo(x(t), y(v));
      before = t;
    }
    g.stroke();
  }

  function dots(g, points, x, y, radius) {
    g.fillStyle = style("--alarm");
    for (const [t, v] of points) disc(g, x(t), y(v), radius);
  }

  function disc(g, x, y, radius) {
    g.beginPath();
    g.arc(x, y, radius, 0, 2 * Math.PI);
    g.fill();
  }

  function rule(g, y, width, color, dash) {
    g.strokeStyle = color;
    g.lineWidth = 1.25;
    g.setLineDash(dash);
    g.beginPath();
    g.moveTo(0, y);
    g.lineTo(width, y);
    g.stroke();
    g.setLineDash([]);
  }

  function label(g, words, y, width, color, right) {
    const w = g.measureText(words).width + 10;
    const left = right ? width - w - 10 : 0;
    const above = y > 26 ? -19 : 3;
    g.fillStyle = style("--card");
    g.globalAlpha = 0.85;
    g.fillRect(left, y + above, w, 17);
    g.globalAlpha = 1;
    g.fillStyle = color || style("--ink-2");
    g.textBaseline = "middle";
    g.fillText(words, left + 5, y + above + 9);
  }

  // The scale above the threshold is not even, so it says where it is.
  function levels(g, s, y, width) {
    g.fillStyle = style("--ink-3");
    g.strokeStyle = style("--rule");
    g.textBaseline = "middle";
    for (const times of [1, 4]) {
      const v = Number((s.limit + times * s.below).toPrecision(2));
      const words = text(v);
      const w = g.measureText(words).width;
      g.beginPath();
      g.moveTo(0, y(v));
      g.lineTo(width - w - 12, y(v));
      g.stroke();
      g.fillText(words, width - w - 6, y(v));
    }
  }

  const unit = (kind, v) => (kind === "heat" ? `${v.toFixed(0)} °C` : text(v));

  function timeAxis(g, span, x, now, plot, height) {
    const steps = span > 300 ? [-1800, -1200, -600, 0] : [-120, -90, -60, -30, 0];
    g.fillStyle = style("--ink-3");
    g.strokeStyle = style("--rule");
    g.lineWidth = 1;
    g.textBaseline = "alphabetic";
    for (const step of steps) {
      const words = step === 0 ? "now" : span > 300 ? `${-step / 60} min` : `${-step} s`;
      const at = x(now + step);
      const w = g.measureText(words).width;
      g.beginPath();
      g.moveTo(at, plot.y);
      g.lineTo(at, plot.y + plot.h);
      g.stroke();
      g.fillText(words, Math.min(Math.max(at - w / 2, 0), plot.w + 8 - w), height - 4);
    }
  }

  function crosshair(g, points, pointer, { x, y, plot, kind, now }) {
    let near = null;
    for (const p of points) if (!near || Math.abs(x(p[0]) - pointer) < Math.abs(x(near[0]) - pointer)) near = p;
    if (!near) return;
    const at = x(near[0]);
    g.strokeStyle = style("--ink-3");
    g.beginPath();
    g.moveTo(at, plot.y);
    g.lineTo(at, plot.y + plot.h);
    g.stroke();
    const words = `${unit(kind, near[1])}   ${Math.max(0, now - near[0]).toFixed(0)} s ago`;
    const w = g.measureText(words).width + 16;
    const left = Math.min(Math.max(at - w / 2, 0), plot.w - w);
    g.fillStyle = style("--ink");
    g.fillRect(left, plot.y + 2, w, 22);
    g.fillStyle = style("--card");
    g.textBaseline = "middle";
    g.fillText(words, left + 8, plot.y + 13.5);
    disc(g, at, y(near[1]), 4);
  }

  document.addEventListener("pointermove", (event) => {
    const canvas = event.target.closest?.("canvas[data-chart]");
    if (!canvas) return;
    if (!hovered.has(canvas)) canvas.addEventListener("pointerleave", () => (hovered.delete(canvas), drawAll()));
    hovered.set(canvas, event.offsetX);
    drawAll();
  });
  document.addEventListener("visibilitychange", drawAll);
  window.addEventListener("resize", drawAll);
  window.kenpin = { feed, propose };
})();
