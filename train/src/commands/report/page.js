"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const runs = data.runs.map((run, index) => ({
    ...run,
    color: `var(--run-${(index % 8) + 1})`,
    shown: true,
  }));
  const state = { axis: "step", smoothing: 0.6, instrument: null, order: "block", keys: "differing", at: null };
  const $ = (id) => document.getElementById(id);

  // Elements

  /** An element with attributes and children; text is never read as markup. */
  function make(name, attributes = {}, ...children) {
    const svg = ["svg", "g", "path", "line", "text", "circle", "rect", "clipPath", "defs"];
    const element = svg.includes(name)
      ? document.createElementNS("http://www.w3.org/2000/svg", name)
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  const swatch = (run) => make("span", { class: "swatch", style: `--c: ${run.color}` });

  /** Buttons of which one is pressed. */
  function choice(box, options, current, pick) {
    const buttons = options.map(([value, label]) =>
      make("button", { type: "button", "aria-pressed": value === current,
        onclick: () => {
          for (const [other] of options.entries()) {
            buttons[other].setAttribute("aria-pressed", options[other][0] === value);
          }
          pick(value);
        } }, label));
    box.replaceChildren(...buttons);
  }

  /** Calls back now, and when the width of an element has changed. */
  function onWidth(element, draw) {
    let width = -1;
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width === width) return;
      width = contentRect.width;
      draw();
    }).observe(element);
  }

  // Numbers

  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

  /** Four significant digits, without trailing noise. */
  function significant(value, digits = 4) {
    if (!isNumber(value)) return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e7)) {
      return value.toExponential(Math.min(2, digits - 1)).replace("e+", "e");
    }
    const decimals = size === 0 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
    return value.toLocaleString("en-US", { minimumFractionDigits: 0, maximumFractionDigits: decimals });
  }

  function short(value) {
    if (!isNumber(value)) return "–";
    for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      if (Math.abs(value) >= size) return `${significant(value / size, 3)}${unit}`;
    }
    return significant(value, 3);
  }

  function duration(seconds) {
    if (!isNumber(seconds)) return "–";
    const whole = Math.round(seconds);
    const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    const two = (value) => String(value).padStart(2, "0");
    if (hours > 0) return `${hours} h ${two(minutes)} min`;
    return minutes > 0 ? `${minutes} min ${two(rest)} s` : `${significant(seconds, 3)} s`;
  }

  const loss = (value) => (isNumber(value) ? value.toFixed(3) : "–");
  const percent = (value) => (isNumber(value) ? `${significant(100 * value, 3)} %` : "–");
  const mebibytes = (value) => (isNumber(value) ? `${significant(value)} MiB` : "–");
  const whole = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en-US") : "–");

  const AXES = {
    step: { label: "Steps", format: (value) => `step ${whole(value)}`, tick: short, base: 10 },
    tokens: { label: "Tokens", format: (value) => `${short(value)} tokens`, tick: short, base: 10 },
    seconds: { label: "Time", format: duration, tick: clock, base: 60 },
  };

  function clock(seconds) {
    if (seconds >= 3600) return `${significant(seconds / 3600, 3)} h`;
    return seconds >= 60 ? `${significant(seconds / 60, 3)} min` : `${significant(seconds, 3)} s`;
  }

  /** Round numbers within a range, at most about `count` of them. */
  function ticks(low, high, count, base = 10) {
    const span = high - low;
    if (!(span > 0)) return [low];
    const rough = span / count;
    let step;
    if (base === 60 && rough > 1) {
      const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];
      step = steps.find((size) => size >= rough) ?? 86400 * Math.ceil(rough / 86400);
    } else {
      const power = 10 ** Math.floor(Math.log10(rough));
      step = power * [1, 2, 5, 10].find((size) => size * power >= rough * 0.999);
    }
    const first = Math.ceil(low / step - 1e-9);
    const last = Math.floor(high / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
  }

  /** Exponential mean to both sides, which does not lag behind as one to the left does. */
  function smoothed(values, weight) {
    const mean = (numbers) => {
      let sum = 0, total = 0;
      return numbers.map((value) => {
        sum = weight * sum + (1 - weight) * value;
        total = weight * total + (1 - weight);
        return sum / total;
      });
    };
    const before = mean(values);
    const after = mean([...values].reverse()).reverse();
    return values.map((_, index) => (before[index] + after[index]) / 2);
  }

  // Head and summary

  function describe() {
    const names = runs.map((run) => run.name);
    $("title").textContent = names.length <= 3 ? names.join(" · ") : `${names.length} runs`;
    const best = bestOf((run) => run.result?.validation_bits_per_byte);
    const parts = [];
    if (best && runs.length > 1) {
      parts.push(`${best.name} ends lowest, at ${loss(best.result.validation_bits_per_byte)} bits per byte.`);
    }
    const unfinished = runs.filter((run) => !run.result).map((run) => run.name);
    if (unfinished.length > 0) parts.push(`Not ended: ${unfinished.join(", ")}.`);
    const date = new Date(1000 * data.written).toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" });
    parts.push(`Written on ${date}.`);
    $("lead").textContent = parts.join(" ");
  }

  function bestOf(value) {
    const having = runs.filter((run) => isNumber(value(run)));
    return having.sort((a, b) => value(a) - value(b))[0];
  }

  /** The lowest of some numbers, if there are any. */
  const bestNumber = (values) => (values ?? []).filter(isNumber).sort((a, b) => a - b)[0];
  const last = (values) => values?.findLast(isNumber);

  function median(values) {
    const sorted = (values ?? []).filter(isNumber).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  }

  const ENDS = { steps: "all steps done", minutes: "time was up", patience: "no longer improved", open: "running or stopped" };

  function summary() {
    const lowest = (run) => bestNumber(run.validation.validation_bits_per_byte);
    const columns = [
      ["bits/byte", (run) => run.result?.validation_bits_per_byte, loss, "lead-value"],
      ["nats/token", (run) => run.result?.validation_loss, loss],
      ["lowest validation", (run) => lowest(run), loss],
      ["parameters", (run) => run.result?.parameters, short],
      ["weights", (run) => run.config["model.quant"]?.replaceAll('"', ""), (value) => value ?? "–"],
      ["steps", (run) => last(run.training.step) ?? last(run.validation.step), whole],
      ["tokens", (run) => last(run.training.tokens), short],
      ["time", (run) => run.result?.seconds ?? last(run.training.seconds), duration],
      ["tokens/s", (run) => run.result?.tokens_per_second ?? median(run.training.tokens_per_second), whole],
      ["of the matmul peak", (run) => run.result?.model_flops_utilization, percent],
      ["end", (run) => run.result?.end ?? "open", (value) => ENDS[value] ?? value],
    ].filter(([, value]) => runs.some((run) => value(run) !== undefined && value(run) !== null));
    const best = bestOf((run) => run.result?.validation_bits_per_byte);
    const row = (run) => {
      const cells = columns.map(([name, value, format, style], index) => {
        const cell = make("td", { class: [style, index === 0 && run === best && runs.length > 1 ? "best" : null].filter(Boolean).join(" ") || null }, format(value(run)));
        const own = value(run);
        if (index === 0 && best && run !== best && isNumber(own)) {
          cell.append(make("span", { class: "delta" }, `+${loss(own - value(best))}`));
        }
        return cell;
      });
      return make("tr", {}, make("th", { scope: "row" }, swatch(run), run.name), ...cells);
    };
    const head = make("tr", {}, make("th", {}, "run"), ...columns.map(([name]) => make("th", { scope: "col" }, name)));
    $("summary").replaceChildren(make("div", { class: "scroll" },
      make("table", {}, make("thead", {}, head), make("tbody", {}, ...runs.map(row)))));
  }

  // Curves

  const SECTIONS = [
    ["Learning", "large", [
      { key: "train_loss", title: "Training loss", unit: "nats per token", smooth: true, robust: true, format: loss },
      { key: "validation_bits_per_byte", of: "validation", title: "Validation", unit: "bits per byte", dots: true, format: loss },
    ]],
    ["Optimisation", "", [
      { key: "learning_rate", title: "Learning rate", unit: "", zero: true },
      { key: "gradient_norm", title: "Gradient norm", unit: "before clipping", smooth: true, robust: true, zero: true },
      { key: "weight_decay", title: "Weight decay", unit: "", zero: true },
    ]],
    ["Quantisation", "", [
      { key: "zeros", title: "Zeros", unit: "share of the weights", format: percent },
      { key: "flip_rate", title: "Flips", unit: "share of the weights a step", format: percent, zero: true, robust: true },
      { key: "scale", title: "Scale γ", unit: "mean |w|" },
      { key: "near_threshold", title: "Near a threshold", unit: "within 0.05 γ", format: percent },
      { key: "saturated", title: "Saturated inputs", unit: "codes at ±127", format: percent },
    ]],
    ["Speed", "", [
      { key: "tokens_per_second", title: "Speed", unit: "tokens per second", smooth: true, zero: true, format: whole },
      { key: "model_flops_utilization", title: "Utilisation", unit: "of the matmul peak", smooth: true, zero: true, format: percent },
      { key: "resident_bytes", title: "Memory", unit: "resident", zero: true, format: mebibytes, factor: 2 ** -20 },
    ]],
  ];
  const charts = [];

  function buildCurves() {
    const has = (chart) => runs.some((run) => run[chart.of ?? "training"][chart.key]?.some(isNumber));
    for (const [title, style, all] of SECTIONS) {
      const present = all.filter(has);
      if (present.length === 0) continue;
      const boxes = present.map((chart) => {
        const read = make("div", { class: "read" });
        const at = make("span", { class: "at" });
        const svg = make("svg", { role: "img", "aria-label": `${chart.title}, ${chart.unit}` });
        const box = make("article", { class: "chart" },
          make("h3", {}, chart.title, make("small", {}, chart.unit), at), read, svg);
        const drawn = { ...chart, read, at, svg, box, large: style === "large", series: [] };
        charts.push(drawn);
        svg.addEventListener("pointermove", (event) => hover(drawn, event));
        svg.addEventListener("pointerleave", () => hover(null));
        return box;
      });
      $("curves").append(make("section", {}, make("h2", {}, title),
        make("div", { class: `charts ${style}` }, ...boxes)));
    }
    onWidth($("curves"), drawCurves);
  }

  /** The points of a run in a chart; smoothing is of the values as they are. */
  function seriesOf(chart, run) {
    const table = run[chart.of ?? "training"];
    const ys = table[chart.key] ?? [];
    const xs = table[state.axis] ?? [];
    const kept = ys.map((y, index) => index).filter((index) => isNumber(ys[index]) && isNumber(xs[index]));
    const raw = kept.map((index) => ys[index] * (chart.factor ?? 1));
    return {
      run,
      xs: kept.map((index) => xs[index]),
      raw,
      ys: chart.smooth && state.smoothing > 0 ? smoothed(raw, state.smoothing) : raw,
    };
  }

  function rangeOf(chart) {
    const values = chart.series.flatMap((series) => (chart.smooth && state.smoothing > 0 ? series.ys : series.raw));
    if (values.length === 0) return [0, 1];
    const sorted = [...values].sort((a, b) => a - b);
    let [low, high] = [sorted[0], sorted[sorted.length - 1]];
    // The steep start would leave no room for the rest.
    const most = sorted[Math.floor(0.96 * (sorted.length - 1))];
    if (chart.robust && high - low > 1.6 * (most - low)) high = most + 0.25 * (most - low);
    if (chart.zero) low = Math.min(0, low);
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    return [chart.zero && low === 0 ? 0 : low - room, high + room];
  }

  function drawCurves() {
    for (const chart of charts) {
      chart.series = runs.filter((run) => run.shown).map((run) => seriesOf(chart, run));
      draw(chart);
    }
  }

  function draw(chart) {
    const width = Math.max(240, chart.svg.clientWidth || chart.box.clientWidth - 32);
    const height = chart.large ? 280 : 170;
    const edge = { left: 50, right: 10, top: 8, bottom: 22 };
    const axis = AXES[state.axis];
    const [low, high] = rangeOf(chart);
    const end = Math.max(...charts.flatMap((other) => other.series.map((series) => last(series.xs) ?? 0)), 1e-9);
    const x = (value) => edge.left + (value / end) * (width - edge.left - edge.right);
    const y = (value) => edge.top + ((high - value) / (high - low)) * (height - edge.top - edge.bottom);
    const format = chart.format ?? significant;
    const clip = `clip-${chart.key}`;
    const parts = [make("defs", {}, make("clipPath", { id: clip },
      make("rect", { x: edge.left - 3, y: edge.top - 4, width: width - edge.left - edge.right + 8, height: height - edge.top - edge.bottom + 5 })))];
    for (const tick of ticks(low, high, chart.large ? 6 : 4)) {
      parts.push(make("line", { class: "grid", x1: edge.left, x2: width - edge.right, y1: y(tick), y2: y(tick) }));
      parts.push(make("text", { x: edge.left - 8, y: y(tick) + 4, "text-anchor": "end" }, tickLabel(tick, format)));
    }
    parts.push(make("line", { class: "base", x1: edge.left, x2: width - edge.right, y1: height - edge.bottom, y2: height - edge.bottom }));
    for (const tick of ticks(0, end, Math.max(2, Math.floor(width / 110)), axis.base)) {
      const anchor = x(tick) > width - edge.right - 24 ? "end" : "middle";
      parts.push(make("text", { x: x(tick), y: height - 5, "text-anchor": anchor }, tick === 0 ? "0" : axis.tick(tick)));
    }
    const lines = make("g", { "clip-path": `url(#${clip})` });
    const path = (xs, ys) => ys.map((value, index) => `${index ? "L" : "M"}${x(xs[index]).toFixed(1)},${y(value).toFixed(1)}`).join("");
    if (chart.smooth && state.smoothing > 0) {
      for (const { run, xs, raw } of chart.series) lines.append(make("path", { class: "raw", d: path(xs, raw), style: `stroke: ${run.color}` }));
    }
    for (const { run, xs, ys } of chart.series) {
      lines.append(make("path", { class: "curve", d: path(xs, ys), style: `stroke: ${run.color}` }));
      if ((chart.dots && xs.length < 60) || xs.length === 1) {
        for (const [index, value] of ys.entries()) {
          lines.append(make("circle", { class: "dot", cx: x(xs[index]), cy: y(value), r: 3.2, style: `fill: ${run.color}` }));
        }
      }
    }
    chart.overlay = make("g", {});
    chart.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    chart.svg.setAttribute("height", height);
    chart.svg.replaceChildren(...parts, lines, chart.overlay);
    chart.scale = { x, y, end, width, height, edge };
    readOut(chart, state.at);
  }

  const tickLabel = (value, format) => {
    if (format === percent) return `${significant(100 * value, 3)}%`;
    return format === whole ? short(value) : significant(value, 3);
  };

  /** The values under the pointer, or the last ones. */
  function readOut(chart, at) {
    const format = chart.format ?? significant;
    const parts = [];
    chart.overlay.replaceChildren();
    let where = null;
    for (const { run, xs, ys } of chart.series) {
      if (xs.length === 0) continue;
      const index = at === null ? xs.length - 1 : nearest(xs, at);
      if (at !== null && at > xs[xs.length - 1] * 1.02) continue;
      where ??= xs[index];
      parts.push(make("span", {}, swatch(run), make("b", {}, format(ys[index]))));
      if (at !== null) {
        const { x, y, edge } = chart.scale;
        const top = Math.max(edge.top, y(ys[index]));
        chart.overlay.append(make("circle", { class: "dot", cx: x(xs[index]), cy: top, r: 4, style: `fill: ${run.color}` }));
      }
    }
    if (at !== null) {
      const { x, edge, height } = chart.scale;
      chart.overlay.prepend(make("line", { class: "cross", x1: x(at), x2: x(at), y1: edge.top, y2: height - edge.bottom }));
    }
    chart.at.textContent = at === null ? "" : AXES[state.axis].format(where ?? at);
    chart.read.replaceChildren(...parts);
  }

  function nearest(xs, at) {
    let [low, high] = [0, xs.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (xs[middle] < at) low = middle; else high = middle;
    }
    return at - xs[low] <= xs[high] - at ? low : high;
  }

  function hover(chart, event) {
    let at = null;
    if (chart) {
      const { edge, width, end } = chart.scale;
      const box = chart.svg.getBoundingClientRect();
      const inside = ((event.clientX - box.left) / box.width) * width;
      at = Math.min(end, Math.max(0, ((inside - edge.left) / (width - edge.left - edge.right)) * end));
    }
    state.at = at;
    for (const other of charts) readOut(other, at);
  }

  // Heat maps

  const INSTRUMENTS = {
    zeros: ["Zeros", percent, "Share of a layer's weights that round to 0. Normally distributed weights have 31 %."],
    flip_rate: ["Flips", percent, "Share of the weights whose code changed, for each step since the log line before. It falls as a run settles."],
    scale: ["Scale γ", significant, "What the codes −1, 0, 1 are multiplied by: the mean magnitude of the latent weights."],
    near_threshold: ["Near a threshold", percent, "Share of the latent weights within 0.05 γ of where they change their code. 5.9 % if they are normally distributed."],
    saturated: ["Saturated", percent, "Share of the 8-bit codes of a layer's input at ±127, the end of the range."],
    activation_zeros: ["Input zeros", percent, "Share of the 8-bit codes of a layer's input that are 0."],
    activation_crest: ["Crest", significant, "Largest input of a token over their root mean square: the higher, the fewer of the 255 levels most values have."],
  };

  function heat() {
    const having = runs.filter((run) => run.instruments);
    $("maps").hidden = having.length === 0;
    if (having.length === 0) return;
    const present = Object.keys(INSTRUMENTS).filter((key) => having.some((run) => run.instruments.values[key]?.some((row) => row.some(isNumber))));
    state.instrument ??= present[0];
    choice($("instrument"), present.map((key) => [key, INSTRUMENTS[key][0]]), state.instrument, (key) => { state.instrument = key; drawMaps(); });
    choice($("order"), [["block", "by block"], ["kind", "by kind"]], state.order, (order) => { state.order = order; drawMaps(); });
    onWidth($("map-list"), drawMaps);
  }

  /** Block, kind and place of a layer by its name. */
  function parse(name, index) {
    const [, block, kind] = name.match(/layers\.(\d+)\.(?:\w+\.)*(\w+?)(?:_proj)?$/) ?? [null, "0", name];
    return { index, name, block: Number(block), kind };
  }

  function ramp() {
    const style = getComputedStyle(document.documentElement);
    const stops = [0, 1, 2, 3, 4, 5].map((index) => {
      const hex = style.getPropertyValue(`--heat-${index}`).trim().slice(1);
      return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
    });
    return (share) => {
      const place = Math.min(1, Math.max(0, share)) * (stops.length - 1);
      const low = Math.min(stops.length - 2, Math.floor(place));
      return stops[low].map((value, index) => value + (place - low) * (stops[low + 1][index] - value));
    };
  }

  function drawMaps() {
    const [title, format, note] = INSTRUMENTS[state.instrument];
    const having = runs.filter((run) => run.shown && run.instruments?.values[state.instrument]);
    const all = having.flatMap((run) => run.instruments.values[state.instrument].flat()).filter(isNumber).sort((a, b) => a - b);
    if (all.length === 0) { $("map-list").replaceChildren(); return; }
    // One in a hundred at either end does not stretch the colours.
    const [low, high] = [0.01, 0.99].map((share) => all[Math.floor(share * (all.length - 1))]);
    $("instrument-note").replaceChildren(note);
    const color = ramp();
    $("ramp").replaceChildren(format(low), make("i", {}), format(high));
    $("map-list").replaceChildren(...having.map((run) => map(run, title, format, color, low, high)));
  }

  function map(run, title, format, color, low, high) {
    const { layers, steps } = run.instruments;
    const values = run.instruments.values[state.instrument];
    const kinds = [...new Set(layers.map((name, index) => parse(name, index).kind))];
    const rows = layers.map(parse);
    if (state.order === "kind") rows.sort((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind) || a.block - b.block);
    const size = Math.max(4, Math.min(14, Math.floor(560 / rows.length)));
    const canvas = make("canvas", { width: steps.length, height: rows.length, role: "img", "aria-label": `${title} of ${run.name}, layers by steps` });
    canvas.style.height = `${size * rows.length}px`;
    const context = canvas.getContext("2d");
    const image = context.createImageData(steps.length, rows.length);
    for (const [down, row] of rows.entries()) {
      for (let across = 0; across < steps.length; across += 1) {
        const value = values[row.index][across];
        const at = 4 * (down * steps.length + across);
        if (!isNumber(value)) continue;
        const [red, green, blue] = color(high > low ? (value - low) / (high - low) : 0.5);
        image.data.set([red, green, blue, 255], at);
      }
    }
    context.putImageData(image, 0, 0);
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const down = Math.min(rows.length - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * rows.length)));
      const across = Math.min(steps.length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * steps.length)));
      const row = rows[down];
      tip(event, make("b", {}, format(values[row.index][across])), ` ${row.name}`, make("br"), `step ${whole(steps[across])}`);
    });
    canvas.addEventListener("pointerleave", () => { $("tip").hidden = true; });
    const labels = make("div", { class: "labels" });
    let before = null;
    for (const [down, row] of rows.entries()) {
      const group = state.order === "kind" ? row.kind : `layer ${row.block}`;
      const own = state.order === "kind" ? String(row.block) : row.kind;
      const place = (at) => `top: ${size * (at + 0.5)}px`;
      if (group !== before && size * kinds.length >= 10) labels.append(make("span", { class: "block", style: place(down) }, group));
      if (size >= 10) labels.append(make("span", { style: place(down) }, own));
      before = group;
    }
    return make("article", { class: "chart map" }, make("h3", {}, swatch(run), run.name), labels, canvas,
      make("div", { class: "ticks" }, make("span", {}, `step ${whole(steps[0])}`), make("span", {}, whole(steps[steps.length - 1]))));
  }

  function tip(event, ...content) {
    const box = $("tip");
    box.replaceChildren(...content);
    box.hidden = false;
    const left = Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8);
    const top = event.clientY + box.offsetHeight + 24 > innerHeight ? event.clientY - box.offsetHeight - 12 : event.clientY + 16;
    box.style.left = `${left}px`;
    box.style.top = `${top}px`;
  }

  // Samples

  function samples() {
    const steps = [...new Set(runs.flatMap((run) => run.samples.map((sample) => sample.step)))].sort((a, b) => a - b);
    $("samples").hidden = steps.length === 0;
    if (steps.length === 0) return;
    const slider = $("sample-step");
    slider.max = steps.length - 1;
    slider.value = steps.length - 1;
    const show = () => {
      const step = steps[Number(slider.value)];
      $("sample-value").textContent = whole(step);
      $("sample-list").replaceChildren(...runs.filter((run) => run.shown).map((run) => card(run, step)));
    };
    slider.addEventListener("input", show);
    samples.show = show;
    show();
  }

  function card(run, step) {
    const sample = run.samples.findLast((other) => other.step <= step);
    const text = make("p", {});
    const head = make("h3", {}, make("span", {}, run.name), make("small", {}, sample ? `step ${whole(sample.step)}` : ""));
    if (sample) {
      const prompt = sample.text.startsWith(run.prompt) ? run.prompt : "";
      const rest = sample.text.slice(prompt.length);
      // Line breaks at the start would be an empty space at the top.
      text.append(make("mark", {}, prompt.trimStart()), prompt.trim() === "" ? rest.trimStart() : rest);
    } else {
      text.append(make("mark", {}, "No sample yet."));
    }
    return make("article", { class: "card", style: `--c: ${run.color}` }, head, text);
  }

  // Configurations

  function configs() {
    const keys = [...new Set(runs.flatMap((run) => Object.keys(run.config)))];
    const differs = (key) => new Set(runs.map((run) => run.config[key])).size > 1;
    const differing = keys.filter(differs);
    if (differing.length === 0) state.keys = "all";
    const show = () => {
      const rows = [];
      let section = null;
      for (const key of keys.filter((key) => state.keys === "all" || differs(key))) {
        const [own, name] = key.includes(".") ? key.split(/\.(.*)/s) : ["", key];
        if (own !== section && state.keys === "all" && own !== "") {
          rows.push(make("tr", { class: "section" }, make("th", { colspan: runs.length + 1 }, own)));
        }
        section = own;
        const cells = runs.map((run) => make("td", { class: run.config[key] === undefined ? "unset" : null }, run.config[key] ?? "–"));
        const label = state.keys === "all" ? name : key;
        rows.push(make("tr", { class: differs(key) ? "differs" : null }, make("th", { scope: "row", title: key }, label), ...cells));
      }
      const head = make("tr", {}, make("th", {}, "key"), ...runs.map((run) => make("th", { scope: "col" }, swatch(run), run.name)));
      $("config-table").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
    };
    $("keys").hidden = runs.length === 1;
    choice($("keys"), [["differing", `what differs (${differing.length})`], ["all", `all ${keys.length}`]], state.keys, (value) => { state.keys = value; show(); });
    show();
  }

  // Controls

  function redraw() {
    drawCurves();
    if (state.instrument) drawMaps();
    samples.show?.();
  }

  function controls() {
    $("chips").replaceChildren(...runs.map((run) => make("button", { type: "button", class: "chip", "aria-pressed": "true",
      onclick: (event) => {
        run.shown = !run.shown;
        event.currentTarget.setAttribute("aria-pressed", run.shown);
        redraw();
      } }, swatch(run), run.name)));
    $("chips").hidden = runs.length === 1;
    choice($("axis"), Object.entries(AXES).map(([key, { label }]) => [key, label]), state.axis, (axis) => { state.axis = axis; state.at = null; drawCurves(); });
    const slider = $("smoothing");
    slider.value = state.smoothing;
    const show = () => { $("smoothing-value").textContent = state.smoothing.toFixed(2); };
    slider.addEventListener("input", () => { state.smoothing = Number(slider.value); show(); drawCurves(); });
    show();
    $("theme").addEventListener("click", () => {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      if (state.instrument) drawMaps();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (state.instrument) drawMaps(); });
  }

  describe();
  summary();
  controls();
  buildCurves();
  heat();
  samples();
  configs();
})();
