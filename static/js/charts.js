// Draws the server's charts again with uPlot: the same lines, plus a cursor that reads values. Phones keep the drawing
// until it is touched. Colours come from the custom properties, again when the theme changes.
(() => {
  "use strict";
  const source = document.currentScript?.dataset.uplot ?? document.querySelector("script[data-uplot]").dataset.uplot;
  const NBSP = "\u00a0";
  const plots = new Map();
  let library = null;

  const load = () =>
    (library ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = source;
      script.onload = done;
      script.onerror = failed;
      document.head.append(script);
    }));

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const three = (v) => (Math.abs(v) >= 100 ? v.toFixed(0) : Math.abs(v) >= 10 ? v.toFixed(1) : v.toFixed(2));
  const units = {
    seconds: (v) => `${v}${NBSP}s`,
    usd: (v) => (v >= 1000 ? `$${v / 1000}k` : `$${v}`),
    percent: (v) => `${v}${NBSP}%`,
    odds: (v) => `${v >= 1e6 ? `${v / 1e6}M` : v >= 1e3 ? `${v / 1e3}k` : v}${NBSP}:${NBSP}1`,
    plain: (v) => `${v}`,
  };
  const exact = {
    seconds: (v) => `${three(v)}${NBSP}s`,
    usd: (v) => `$${v.toFixed(Math.abs(v) < 0.1 ? 4 : 2)}`,
    percent: (v) => `${three(v)}${NBSP}%`,
    odds: (v) => `${v >= 10 ? v.toFixed(0) : v.toFixed(1)}${NBSP}:${NBSP}1`,
    plain: three,
  };
  const clock = (t) => new Date(t * 1000).toISOString().slice(11, 19);

  const day = (t) => new Date(t * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

  function alpha(hex, part) {
    const n = parseInt(hex.length === 4 ? [...hex.slice(1)].map((c) => c + c).join("") : hex.slice(1), 16);
    return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${part})`;
  }

  function words(u, text, x, y, { tone = "ink3", align = "left", weight = 400, halo = true } = {}) {
    const { ctx } = u;
    const ratio = devicePixelRatio || 1;
    ctx.save();
    ctx.font = `${weight} ${11 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    ctx.textAlign = align;
    ctx.textBaseline = "alphabetic";
    if (halo) {
      ctx.lineWidth = 3 * ratio;
      ctx.lineJoin = "round";
      ctx.strokeStyle = colour("surface");
      ctx.strokeText(text, x, y);
    }
    ctx.fillStyle = colour(tone);
    ctx.fillText(text, x, y);
    ctx.restore();
  }

  function level(u, x0, y0, x1, y1, tone, width, dash = []) {
    const { ctx } = u;
    const ratio = devicePixelRatio || 1;
    ctx.save();
    ctx.strokeStyle = colour(tone);
    ctx.lineWidth = width * ratio;
    ctx.setLineDash(dash.map((d) => d * ratio));
    ctx.beginPath();
    ctx.moveTo(x0, y0);
    ctx.lineTo(x1, y1);
    ctx.stroke();
    ctx.restore();
  }

  // Beneath the lines: gaps and harm.
  function ground(spec) {
    return (u) => {
      const { ctx, bbox } = u;
      const x = (t) => u.valToPos(Math.min(Math.max(t, spec.since), spec.until), "x", true);
      const ratio = devicePixelRatio || 1;
      for (const [from, to] of spec.gaps) {
        ctx.fillStyle = colour("sunken");
        ctx.fillRect(x(from), bbox.top, Math.max(x(to) - x(from), ratio), bbox.height);
        words(u, "no data", (x(from) + x(to)) / 2, bbox.top - 6 * ratio, { align: "center", halo: false });
      }
      if (spec.shade) {
        const [from, to, said] = spec.shade;
        ctx.fillStyle = colour("shade");
        ctx.fillRect(x(from), bbox.top, x(to) - x(from), bbox.height);
        const crowded = x(to) - x(from) < 130 * ratio;
        if (said) words(u, said, x(from) - 4 * ratio, bbox.top + (crowded ? 12 : -6) * ratio, { align: "right" });
      }
    };
  }

  // Above the lines: limits, marks, names at the ends.
  function marks(spec) {
    return (u) => {
      const { bbox } = u;
      const ratio = devicePixelRatio || 1;
      const right = bbox.left + bbox.width;
      const y = (v) => u.valToPos(v, "y", true);
      for (const limit of spec.limits) {
        const isLimit = limit.kind === "limit";
        if (isLimit) level(u, bbox.left, y(limit.value), right, y(limit.value), "danger", 1.25, [5, 3]);
        const below = isLimit && y(limit.value) < bbox.top + 14 * ratio;
        words(u, limit.words, bbox.left + 3 * ratio, y(limit.value) + (below ? 13 : -5) * ratio, {
          tone: isLimit ? "danger" : "ink3",
          weight: isLimit ? 500 : 400,
        });
      }
      const place = (mark) => u.valToPos(mark.at, "x", true);
      const acts = spec.marks.filter((mark) => mark.kind === "act").map(place);
      const taken = [...acts];
      for (const mark of spec.marks) {
        const x = place(mark);
        if (mark.kind !== "act") { // a stage only where its words run into nobody's
          if (taken.some((other) => Math.abs(x - other) < 34 * ratio)) continue;
          taken.push(x);
        }
        const isAct = mark.kind === "act";
        level(u, x, bbox.top - 8 * ratio, x, bbox.top + bbox.height, isAct ? "ink" : "ink3", 1);
        if (isAct && acts.some((other) => other > x && other - x < 34 * ratio)) continue; // the newest of a crowd is named
        if (isAct && mark.words) {
          const { ctx } = u;
          ctx.fillStyle = colour("ink");
          ctx.beginPath();
          ctx.moveTo(x, bbox.top - 5 * ratio);
          ctx.lineTo(x - 4 * ratio, bbox.top - 11 * ratio);
          ctx.lineTo(x + 4 * ratio, bbox.top - 11 * ratio);
          ctx.fill();
        }
        const left = isAct && x > bbox.left + bbox.width / 3;
        words(u, mark.words, x + (left ? -7 : 5) * ratio, bbox.top - 5 * ratio, {
          tone: isAct ? "ink" : "ink3",
          weight: isAct ? 500 : 400,
          align: left ? "right" : "left",
        });
      }
      const told = spec.series
        .map((one, index) => {
          let i = one.values.length - 1;
          while (i >= 0 && one.values[i] === null) i--;
          return i < 0 || one.steps ? null : { one, x: u.valToPos(spec.times[i], "x", true), y: y(one.values[i]), index };
        })
        .filter(Boolean)
        .sort((a, b) => a.y - b.y);
      const named = told.filter(({ one }) => one.told && spec.endRoom >= 40);
      let lowest = -Infinity;
      for (const each of named) lowest = each.place = Math.max(each.y, lowest + 30 * ratio);
      let limit = bbox.top + bbox.height - 16 * ratio;
      for (const each of [...named].reverse()) limit = (each.place = Math.min(each.place, limit)) - 30 * ratio;
      for (const { one, x, y: at, place } of told) {
        const { ctx } = u;
        if (!one.kind) {
          ctx.fillStyle = colour(one.arm);
          ctx.beginPath();
          ctx.arc(x, at, 3 * ratio, 0, 2 * Math.PI);
          ctx.fill();
        }
        if (place === undefined) continue;
        const tone = one.arm === "candidate" ? "candidate" : "ink2";
        words(u, one.name, right + 8 * ratio, place, { tone, weight: one.arm === "candidate" ? 600 : 400, halo: false });
        words(u, one.told, right + 8 * ratio, place + 14 * ratio, { tone: "ink2", halo: false });
      }
    };
  }

  function build(figure) {
    const spec = JSON.parse(document.getElementById(figure.dataset.plot).textContent);
    const drawn = figure.querySelector(".only-wide");
    const width = drawn.getBoundingClientRect().width || figure.getBoundingClientRect().width;
    const isLong = spec.until - spec.since > 3 * 86400;
    const when = (t) => (isLong ? `${day(t)} ${clock(t).slice(0, 5)}` : clock(t));
    const columns = [spec.times];
    const series = [{}];
    const bands = [];
    const band = Number(colour("band")) || 0.15;
    for (const one of spec.series) {
      const stroke = colour(one.arm);
      if (one.low) {
        columns.push(one.high, one.low);
        const at = series.length;
        series.push({ scale: "y", stroke: "transparent", width: 0, points: { show: false } });
        series.push({ scale: "y", stroke: "transparent", width: 0, points: { show: false } });
        bands.push({ series: [at, at + 1], fill: alpha(stroke, band) });
      }
      const widths = { baseline: 1.25, candidate: 2, ink: 1.5 };
      const line = { scale: "y", stroke, width: widths[one.arm], spanGaps: false, points: { show: false }, label: one.name };
      if (one.steps) line.paths = uPlot.paths.stepped({ align: 1 });
      if (one.kind === "forecast") line.dash = [5, 3];
      if (one.kind === "pace") Object.assign(line, { dash: [1, 3], stroke: colour("ink3") });
      if (one.area) line.fill = alpha(stroke, band);
      if (one.openLast) {
        const last = one.values.findLastIndex((v) => v !== null);
        columns.push(one.values.map((v, i) => (i === last ? null : v)));
        columns.push(one.values.map((v, i) => (i >= last - 1 && i <= last ? v : null)));
        series.push(line, { ...line, dash: [1.5, 3], label: "" });
      } else {
        columns.push(one.values);
        series.push(line);
      }
    }
    const grid = { stroke: () => colour("line"), width: 1 };
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: () => colour("ink3"), font, ticks: { show: false }, border: { show: false } };
    const place = document.createElement("div");
    place.className = "plot";
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", spec.says);
    const tip = document.createElement("div");
    tip.className = "plot-tip";
    tip.hidden = true;
    const plot = new uPlot(
      {
        width,
        height: spec.height + 18 + (spec.withTime ? 20 : 6),
        padding: [18, spec.endRoom, spec.withTime ? 0 : 6, 0],
        legend: { show: false },
        tzDate: (t) => uPlot.tzDate(new Date(t * 1000), "UTC"),
        scales: {
          x: { time: true, range: [spec.since, spec.until] },
          y: { range: [spec.log ? spec.low : 0, spec.high], distr: spec.log ? 3 : 1, log: 10 },
        },
        axes: [
          {
            ...axis,
            show: spec.withTime,
            size: spec.withTime ? 20 : 0,
            gap: 4,
            grid: { show: false },
            space: 70,
            values: (_, splits) => splits.map((t) => (isLong ? day(t) : clock(t).slice(0, 5))),
          },
          {
            ...axis,
            scale: "y",
            size: 44,
            gap: 8,
            grid,
            splits: () => spec.ticks,
            filter: (_, splits) => splits,
            values: (_, splits) => splits.map((v) => units[spec.unit](+v.toPrecision(6))),
          },
        ],
        series,
        bands,
        cursor: { y: false, drag: { x: false, y: false }, points: { show: false }, sync: { key: figure.dataset.sync ?? "all" } },
        hooks: {
          drawClear: [ground(spec)],
          draw: [marks(spec)],
          setCursor: [
            (u) => {
              const { idx, left } = u.cursor;
              tip.hidden = idx == null || left < 0;
              if (tip.hidden) return;
              tip.replaceChildren(document.createTextNode(when(spec.times[idx])));
              for (const one of spec.series) {
                const value = one.values[idx];
                const line = document.createElement("div");
                line.textContent = `${one.name} ${value === null ? "no data" : exact[spec.unit](value)}`;
                tip.append(line);
              }
              const x = left + u.bbox.left / devicePixelRatio;
              tip.style.left = `${x > width / 2 ? x - tip.offsetWidth - 10 : x + 10}px`;
              tip.style.top = "22px";
            },
          ],
        },
      },
      columns,
      place,
    );
    place.append(tip);
    drawn.replaceChildren(place);
    plots.set(figure, plot);
  }

  async function draw(root = document) {
    const figures = [...root.querySelectorAll("figure[data-plot]")].filter((one) => !plots.has(one));
    if (!figures.length || matchMedia("(max-width: 699.98px)").matches) return;
    await load();
    for (const figure of figures) if (figure.isConnected) build(figure);
  }

  function again() {
    for (const [figure, plot] of [...plots]) { // a copy: what is built again is put back while this runs
      plot.destroy();
      plots.delete(figure);
      if (figure.isConnected) build(figure);
    }
  }

  window.changeoverCharts = {
    forget(root) {
      for (const [figure, plot] of [...plots]) {
        if (!root.contains(figure)) continue;
        plot.destroy();
        plots.delete(figure);
      }
    },
  };

  let waiting = 0;
  window.addEventListener("resize", () => {
    window.clearTimeout(waiting);
    waiting = window.setTimeout(() => (matchMedia("(max-width: 699.98px)").matches ? null : plots.size ? again() : draw()), 150);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  document.addEventListener("part:fresh", (event) => draw(event.target));
  draw();
})();
