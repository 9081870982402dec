
"use strict";
(() => {
  const numbers = JSON.parse(document.getElementById("numbers").textContent);
  const drawn = new Map();
  const titles = ["y", "y'", "y''"];
  let over = "cpu_seconds";

  const style = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const shown = (value) =>
    value == null ? "-"
    : value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5) ? value.toExponential(2).replace("e+", "e")
    : String(Number(value.toPrecision(4)));
  const tick = (value) => {
    const short = String(Number(value.toPrecision(6)));
    return short.length < 8 ? short : value.toExponential(1).replace("e+", "e");
  };
  const positive = (values) => values.map((value) => (value > 0 ? value : null));

  // The data of each kind of chart, as [x, ...series], with labels and colors.

  const kinds = {
    curve: ({ of, order }) => {
      const exact = numbers.exact[order], curve = numbers.activations[of].curves[order];
      if (!curve && !exact) return null;
      const series = [];
      if (exact) series.push({ label: "exact", values: exact, color: "--soft", width: 4 });
      if (curve) series.push({ label: "network", values: curve, color: "--s1", width: 1.5 });
      return { x: "x", y: titles[order], data: [numbers.x, ...series.map((one) => one.values)], series };
    },
    // All curves in one chart; a name in the legend shows or hides its curve.
    together: ({ order, first }) => {
      const shownFirst = first.split(" ").map(Number), exact = numbers.exact[order];
      const series = numbers.activations
        .map((one, i) => ({
          label: one.name, values: one.curves[order], color: `--s${i % 6}`, width: 1.5,
          show: shownFirst.includes(i),
        }))
        .filter((one) => one.values);
      if (exact) series.unshift({ label: "exact", values: exact, color: "--soft", width: 4 });
      if (!series.length) return null;
      return { x: "x", y: titles[order], data: [numbers.x, ...series.map((one) => one.values)], series };
    },
    error: ({ of, order }) => {
      const values = numbers.activations[of].errors[order];
      const series = [{ label: "error", color: "--s1", width: 1.5 }];
      return values && { x: "x", y: `error of ${titles[order]}`, data: [numbers.x, values], series };
    },
    learning: ({ of, field }) => {
      const runs = of === "methods" ? numbers.methods : numbers.activations[of].learning;
      const known = runs.filter((run) => run[field] && run[field].some((value) => value > 0));
      if (!known.length) return null;
      return {
        y: { loss: "loss" }[field] || `MSE of ${titles[["y_mse", "dy_mse", "d2y_mse"].indexOf(field)]}`,
        x: over === "iteration" ? "iteration" : "CPU seconds",
        log: true,
        data: uPlot.join(known.map((run) => [run[over], positive(run[field])])),
        series: known.map((run, i) => ({
          label: run.label, color: `--s${runs.indexOf(run) % 6}`, width: 1.5,
        })),
      };
    },
  };

  // Each seed is measured at other times, so the nearest value of each is shown.
  const nearest = (chart, index, at) => {
    if (index === 0) return at;
    const values = chart.data[index];
    for (let off = 0; off < values.length; off++) {
      if (values[at - off] != null) return at - off;
      if (values[at + off] != null) return at + off;
    }
    return at;
  };

  const decades = (chart, splits) =>
    splits.filter((value) => Number.isInteger(Math.log10(value))).length < 2 ? splits
    : splits.map((value) => (Number.isInteger(Math.log10(value)) ? value : null));
  const axis = (label, size, values, filter) => {
    const line = { stroke: style("--line"), width: 1, ...(filter && { filter }) };
    return {
      stroke: style("--soft"), size, font: "11px system-ui, sans-serif",
      label, labelSize: 16, labelGap: 0, labelFont: "11px system-ui, sans-serif",
      grid: line, ticks: { ...line, size: 5 }, values,
    };
  };
  // There is room for about six labels at the lines of powers of ten.
  const power = (chart, values) => {
    const exponents = values.map((value) => {
      const log = Math.log10(value);
      return Math.abs(log - Math.round(log)) < 1e-9 ? Math.round(log) : null;
    });
    // In a range of about one decade there is no other power of ten.
    if (exponents.filter((exponent) => exponent !== null).length < 2) return plain(chart, values);
    const known = exponents.filter((exponent) => exponent !== null);
    const step = Math.ceil((known.length - 1) / 5) || 1;
    const labelled = new Set(known.reverse().filter((exponent, i) => i % step === 0));
    return exponents.map((exponent) => (labelled.has(exponent) ? `1e${exponent}` : ""));
  };
  const plain = (chart, values) => values.map((value) => (value == null ? "" : tick(value)));

  function draw(place) {
    const content = kinds[place.dataset.kind](place.dataset);
    if (drawn.has(place)) drawn.get(place).destroy();
    drawn.delete(place);
    place.replaceChildren();
    if (!content) {
      const word = place.appendChild(document.createElement("p"));
      word.className = "lost";
      word.textContent = "lost, or not known";
      return;
    }
    const legend = 18 * (1 + Math.ceil((content.series.length * 110) / place.clientWidth));
    const chart = new uPlot({
      width: place.clientWidth,
      height: place.dataset.kind === "together" ? 230 : Math.max(place.clientHeight - legend, 90),
      scales: { x: { time: false }, y: content.log ? { distr: 3 } : {} },
      cursor: { sync: { key: place.dataset.kind + place.dataset.of, scales: ["x", null] },
                drag: { x: false, y: false }, dataIdx: nearest },
      legend: { live: true },
      series: [
        { label: content.x, value: (chart, value) => shown(value) },
        ...content.series.map((one) => ({
          label: one.label, stroke: style(one.color), width: one.width, spanGaps: true,
          show: one.show !== false,
          pxAlign: 0,  // Otherwise points are moved to whole pixels, and curves become steps.
          points: { show: false }, value: (chart, value) => shown(value),
        })),
      ],
      axes: [
        axis(content.x, 30, plain),
        { ...(content.log ? axis(content.y, 44, power, decades) : axis(content.y, 56, plain)), space: 24 },
      ],
    }, content.data, place);
    drawn.set(place, chart);
    offer(place, chart);
  }

  // A picture of the chart, in the colors of the page.
  function offer(place, chart) {
    const caption = place.closest("figure").querySelector("figcaption");
    const button = caption.querySelector("button") || document.createElement("button");
    button.type = "button";
    button.className = "png";
    button.textContent = "PNG";
    button.setAttribute("aria-label", `Save as PNG: ${place.getAttribute("aria-label")}`);
    button.onclick = () => {
      const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
      Object.assign(canvas, { width: chart.ctx.canvas.width, height: chart.ctx.canvas.height });
      pen.fillStyle = style("--page");
      pen.fillRect(0, 0, canvas.width, canvas.height);
      pen.drawImage(chart.ctx.canvas, 0, 0);
      const link = document.createElement("a");
      link.download = `${place.getAttribute("aria-label").replace(/[^\w.-]+/g, "_")}.png`;
      link.href = canvas.toDataURL("image/png");
      link.click();
    };
    caption.append(" ", button);
  }

  // Only visible charts are drawn.
  const charts = [...document.querySelectorAll(".chart")];
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries)
      if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
  }, { rootMargin: "300px" });
  charts.forEach((place) => watcher.observe(place));
  const redraw = () => [...drawn.keys()].filter((place) => place.clientWidth).forEach(draw);

  for (const button of document.querySelectorAll("[data-over]"))
    button.addEventListener("click", () => {
      over = button.dataset.over;
      for (const other of document.querySelectorAll("[data-over]"))
        other.setAttribute("aria-pressed", String(other.dataset.over === over));
      redraw();
    });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;  // Only the height changes when a phone hides its address bar.
    width = innerWidth;
    redraw();
  });

  // A link to an activation opens its section.
  const opened = () => {
    const details = document.getElementById(location.hash.slice(1));
    if (details instanceof HTMLDetailsElement) details.open = true;
  };
  addEventListener("hashchange", opened);
  opened();

  // For printing, all sections are open and light, and all charts are drawn.
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("on-paper");
    document.querySelectorAll("details").forEach((details) => (details.open = true));
    charts.forEach(draw);
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("on-paper");
    redraw();
  });

  // Shows only the activations whose names contain the letters.
  const wanted = document.getElementById("filter");
  wanted.addEventListener("input", () => {
    for (const one of document.querySelectorAll("[data-name]"))
      one.hidden = !one.dataset.name.toLowerCase().includes(wanted.value.trim().toLowerCase());
  });

  // Sorting of tables.

  const key = (row, column) => {
    const text = row.cells[column].dataset.sort, number = Number(text);
    return text === "inf" ? Infinity : Number.isNaN(number) ? text : number;
  };
  const compared = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

  for (const table of document.querySelectorAll(".sortable")) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      const rows = [...body.rows];
      rows.sort((a, b) => direction * compared(key(a, column), key(b, column)));
      body.append(...rows);
    }));
  }
})();
