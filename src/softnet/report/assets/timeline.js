/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The timeline: every context of every CPU, all arms on one time axis. Times are ns since the start of the window. */
(async () => {
  "use strict";
  const HARDIRQ = 2, TASK = 0, GOES_BACK = 1, GOES_ON = 2;
  const LANES = [[HARDIRQ, 13], [1, 13], [TASK, 19]], EVENT_LANE = 15, CPU_GAP = 8, ARM_HEAD = 22, AXIS = 24;
  const ARROWS_MAX = 600, CHAR = 6.1;
  const SHOWN_AS_SLICES = new Set(["irq_handler_entry", "irq_handler_exit", "softirq_entry", "softirq_exit", "sched_switch"]);
  const CLASS_COLOUR = { idle: "", hardirq: "--hardirq", softirq: "--softirq", ksoftirqd: "--ksoftirqd",
    backlog_napi: "--backlog_napi", irq_thread: "--irq_thread", napi_thread: "--napi_thread", task: "--task" };

  const canvas = document.getElementById("timeline-canvas");
  if (!canvas) return;
  const tip = document.getElementById("tip"), said = document.getElementById("said");
  const chosen = document.getElementById("event-kind");
  const ctx = canvas.getContext("2d");
  let data;
  try {
    data = await unpack(document.getElementById("timeline-data").textContent.trim());
  } catch (error) {
    said.textContent = "This browser cannot unpack the timeline (it lacks DecompressionStream); the rest of the page works.";
    return;
  }
  const span = Math.max(data.end - data.start, 1);
  /* Of a real kernel's trace that was recorded by order there are places and no times. */
  const ordered = data.clock === "counter", spanMin = ordered ? 10 : 100, spanHome = ordered ? 240 : 90000;
  const arms = data.arms.map(prepare);
  const rows = [];
  let view = { start: 0, end: span }, selected = null, drag = null, colours = {}, width = 0, height = 0, left = 116;
  const shown = new Set();

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  function prepare(arm) {
    const lanes = Array.from({ length: arm.cpus * 3 }, () => []);
    const [lane = [], start = [], duration = [], number = [], extra = [], cut = []] = arm.slices;
    for (let i = 0; i < lane.length; i++)
      lanes[lane[i]].push({ start: start[i], end: start[i] + duration[i], number: number[i], data: extra[i], cut: cut[i] });
    const [ipi = [], what = [], from = [], fromLane = [], to = [], toLane = []] = arm.arrows;
    const arrows = ipi.map((kind, i) => ({ kind, number: what[i], from: from[i], fromLane: fromLane[i], to: to[i], toLane: toLane[i] }));
    const [delta = [], recordLane = [], event = [], a = [], b = [], c = []] = arm.records;
    const events = Array.from({ length: arm.cpus }, () => []), all = [];
    let time = 0;
    for (let i = 0; i < delta.length; i++) {
      time += delta[i];
      const record = { time, lane: recordLane[i], event: event[i], args: [a[i], b[i], c[i]] };
      if (SHOWN_AS_SLICES.has(data.events[event[i]][0])) continue;
      all.push(record);
      events[Math.floor(recordLane[i] / 3)].push(record);
    }
    return { name: arm.name, cpus: arm.cpus, tasks: arm.tasks, lanes, arrows, events, all, sliced: lane.length > 0 };
  }

  /* ---- names ---- */
  function sliceName(arm, track, s) {
    if (track === TASK) return (arm.tasks[s.number] || ["pid " + s.number])[0];
    if (track === 1) return data.names.vec[s.number] || "softirq " + s.number;
    if (s.number === data.deviceVector) return "DEVICE queue " + s.data;
    return data.vectors[s.number] || "vector " + s.number;
  }
  function sliceClass(arm, track, s) {
    if (track === HARDIRQ) return "hardirq";
    if (track === 1) return "softirq";
    return data.classes[(arm.tasks[s.number] || ["", 7])[1]];
  }
  function argument(arm, event, name, value) {
    if (name === "pid" || name === "prev" || name === "next") return `${name}=${value} (${(arm.tasks[value] || ["?"])[0]})`;
    if (name.endsWith("_ns")) return `${name}=${duration(value)}`;
    const known = data.names[event + "." + name] || data.names[name];
    return known && known[value] !== undefined ? `${name}=${value} (${known[value]})` : `${name}=${value}`;
  }
  const lasting = (length) => ordered ? `${length} record${length === 1 ? "" : "s"}` : duration(length);
  function duration(ns) {
    if (ns < 1000) return `${ns} ns`;
    if (ns < 1e6) return `${+(ns / 1e3).toFixed(3)} µs`;
    return `${+(ns / 1e6).toFixed(6)} ms`;
  }
  const at = (time) => ordered ? `record ${data.start + time}` : `${((data.start + time) / 1e6).toFixed(6)} ms`;
  const place = (lane) => `CPU ${Math.floor(lane / 3)} ${data.tracks[lane % 3]}`;
  function describeRecord(arm, r) {
    const [name, args, source] = data.events[r.event];
    const values = args.map((arg, i) => argument(arm, name, arg, r.args[i])).join(", ");
    return `${name}${values ? "  " + values : ""}\n${arm.name}, ${place(r.lane)}, at ${at(r.time)}\n${source}`;
  }
  function describeSlice(arm, lane, s) {
    const cut = (s.cut & GOES_BACK ? "\nthe rest of what began before" : "") + (s.cut & GOES_ON ? "\ninterrupted here, goes on later" : "");
    return `${sliceName(arm, lane % 3, s)}  ${lasting(s.end - s.start)}\n${arm.name}, ${place(lane)}, from ${at(s.start)}${cut}`;
  }

  /* ---- layout ---- */
  function layOut() {
    rows.length = 0;
    let y = AXIS;
    arms.forEach((arm, index) => {
      rows.push({ kind: "head", arm, index, y, h: ARM_HEAD });
      y += ARM_HEAD;
      for (let cpu = 0; cpu < arm.cpus; cpu++) {
        rows.push({ kind: "cpu", arm, cpu, y, h: (arm.sliced ? 45 : 0) + EVENT_LANE });
        if (arm.sliced) for (const [track, h] of LANES) {
          rows.push({ kind: "lane", arm, lane: cpu * 3 + track, y, h });
          y += h;
        }
        rows.push({ kind: "events", arm, cpu, y, h: EVENT_LANE });
        y += EVENT_LANE + CPU_GAP;
      }
    });
    height = y + 4;
  }
  function resize() {
    width = canvas.parentElement.clientWidth;
    left = width < 560 ? 70 : 116;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = height + "px";
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    draw();
  }
  const x = (time) => left + ((time - view.start) / (view.end - view.start)) * (width - left - 8);
  const timeAt = (px) => view.start + ((px - left) / (width - left - 8)) * (view.end - view.start);
  const laneRow = (arm, lane) => rows.find((r) => r.arm === arm && (arm.sliced ? r.lane === lane : r.kind === "events" && r.cpu === Math.floor(lane / 3)));
  function firstAfter(list, time, key) {
    let low = 0, high = list.length;
    while (low < high) { const mid = (low + high) >> 1; if (list[mid][key] > time) high = mid; else low = mid + 1; }
    return low;
  }

  /* ---- drawing ---- */
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["--bg", "--panel", "--text", "--soft", "--line", "--ipi", "--wakeup", "--mark", "--focus", ...Object.values(CLASS_COLOUR)])
      if (name) colours[name] = style.getPropertyValue(name).trim();
    for (let i = 0; i < 6; i++) colours["--a" + i] = style.getPropertyValue("--a" + i).trim();
  }
  function draw() {
    if (!width) return;
    readColours();
    ctx.fillStyle = colours["--bg"];
    ctx.fillRect(0, 0, width, height);
    drawAxis();
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, AXIS, width - left, height - AXIS);
    ctx.clip();
    shown.clear();
    for (const row of rows) {
      if (row.kind === "lane") drawLane(row);
      else if (row.kind === "events") drawEvents(row);
    }
    for (const arm of arms) drawArrows(arm);
    if (selected) {
      ctx.strokeStyle = colours["--focus"];
      ctx.setLineDash([3, 3]);
      line(x(selected.record.time), AXIS, x(selected.record.time), height);
      ctx.setLineDash([]);
    }
    ctx.restore();
    drawGutter();
    canvas.dataset.start = Math.round(data.start + view.start);
    canvas.dataset.end = Math.round(data.start + view.end);
    canvas.dataset.shown = [...shown].sort().join(" ");
  }
  function line(x0, y0, x1, y1) { ctx.beginPath(); ctx.moveTo(x0, y0); ctx.lineTo(x1, y1); ctx.stroke(); }
  function drawAxis() {
    const wanted = Math.max((width - left) / 130, 2), raw = (view.end - view.start) / wanted;
    const magnitude = 10 ** Math.floor(Math.log10(raw));
    const step = Math.max([1, 2, 5, 10].find((m) => m * magnitude >= raw) * magnitude, 1);
    const decimals = Math.min(Math.max(6 - Math.floor(Math.log10(step)), 0), 6);
    ctx.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    for (let t = Math.ceil((data.start + view.start) / step) * step; t <= data.start + view.end; t += step) {
      const px = x(t - data.start);
      ctx.strokeStyle = colours["--line"];
      line(px, AXIS - 4, px, height);
      ctx.fillStyle = colours["--soft"];
      if (px > left + 34 && px < width - 34) ctx.fillText(ordered ? "record " + t : (t / 1e6).toFixed(decimals) + " ms", px, AXIS / 2);
    }
  }
  function drawGutter() {
    ctx.fillStyle = colours["--bg"];
    ctx.fillRect(0, AXIS, left - 1, height - AXIS);
    ctx.textBaseline = "middle";
    for (const row of rows) {
      ctx.textAlign = "left";
      if (row.kind === "head") {
        ctx.fillStyle = colours["--panel"];
        ctx.fillRect(0, row.y, width, row.h - 3);
        ctx.fillStyle = colours["--a" + (row.index % 6)];
        ctx.fillRect(0, row.y, 5, row.h - 3);
        ctx.fillStyle = colours["--text"];
        ctx.font = "600 13px system-ui, 'DejaVu Sans', sans-serif";
        ctx.fillText(row.arm.name, 12, row.y + (row.h - 3) / 2);
      } else if (row.kind === "cpu") {
        ctx.fillStyle = colours["--text"];
        ctx.font = "13px system-ui, 'DejaVu Sans', sans-serif";
        ctx.fillText("CPU " + row.cpu, 12, row.y + row.h / 2 - 2);
        ctx.strokeStyle = colours["--line"];
        line(0, row.y + row.h + CPU_GAP / 2, width, row.y + row.h + CPU_GAP / 2);
      } else if (width >= 560) {
        ctx.textAlign = "right";
        ctx.fillStyle = colours["--soft"];
        ctx.font = "10.5px system-ui, 'DejaVu Sans', sans-serif";
        ctx.fillText(row.kind === "events" ? "events" : data.tracks[row.lane % 3], left - 8, row.y + row.h / 2);
      }
    }
  }
  function drawLane(row) {
    const { arm, lane } = row, list = arm.lanes[lane], track = lane % 3;
    let last = -Infinity;
    ctx.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    for (let i = firstAfter(list, view.start, "end"); i < list.length && list[i].start < view.end; i++) {
      const s = list[i], colour = colours[CLASS_COLOUR[sliceClass(arm, track, s)]];
      if (!colour) continue;
      const from = Math.max(x(s.start), left - 2), to = Math.min(x(s.end), width + 2);
      if (to - from < 1 && Math.floor(from) === last) continue;
      last = Math.floor(from);
      shown.add(sliceClass(arm, track, s));
      ctx.fillStyle = colour;
      ctx.fillRect(from, row.y + 1, Math.max(to - from, 1), row.h - 2);
      if (to - from > 3) {
        ctx.strokeStyle = colours["--bg"];
        ctx.lineWidth = 1;
        ctx.strokeRect(from, row.y + 1, to - from, row.h - 2);
      }
      const room = Math.floor((to - from - 6) / CHAR);
      if (room >= 3) {
        const name = sliceName(arm, track, s);
        ctx.fillStyle = "#101418";
        ctx.fillText(name.length > room ? name.slice(0, room - 1) + "…" : name, from + 4, row.y + row.h / 2 + 0.5);
      }
    }
  }
  function drawEvents(row) {
    const list = row.arm.events[row.cpu], kind = chosen.value;
    let last = -1, free = left;
    const begin = firstAfter(list, view.start - 1, "time");
    let wantedHere = 0;
    for (let i = begin; i < list.length && list[i].time <= view.end; i++) wantedHere += data.events[list[i].event][0] === kind;
    const crowded = wantedHere * (kind.length * 5.6 + 30) > width - left;
    ctx.font = "10.5px system-ui, 'DejaVu Sans', sans-serif";
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    for (let i = begin; i < list.length && list[i].time <= view.end; i++) {
      const r = list[i], px = x(r.time), name = data.events[r.event][0], wanted = name === kind;
      const same = Math.round(px) === last;
      if (same && !wanted) continue;
      last = Math.round(px);
      ctx.fillStyle = wanted ? colours["--focus"] : colours["--mark"];
      if (wanted) {
        ctx.beginPath(); ctx.moveTo(px, row.y); ctx.lineTo(px - 4.5, row.y + 8); ctx.lineTo(px + 4.5, row.y + 8); ctx.fill();
      } else {
        ctx.globalAlpha = 0.7;
        ctx.fillRect(px - 0.5, row.y + 1, 1, 8);
        ctx.globalAlpha = 1;
      }
      const next = list[i + 1] ? x(list[i + 1].time) : width, wide = name.length * 5.6 + 12;
      if (px >= free && (wanted ? px + wide < width && !crowded : next - px > wide)) {
        ctx.fillText(name, px + (wanted ? 7 : 3), row.y + 8);
        free = px + wide;
      }
    }
  }
  function drawArrows(arm) {
    const visible = arm.arrows.filter((a) => a.to >= view.start && a.from <= view.end);
    if (visible.length > ARROWS_MAX) return;
    for (const a of visible) {
      const from = laneRow(arm, a.fromLane), to = laneRow(arm, a.toLane);
      if (!from || !to) continue;
      const down = to.y > from.y, x0 = x(a.from), x1 = x(a.to), same = from === to;
      const y0 = same ? from.y + from.h : down ? from.y + from.h - 2 : from.y + 2, y1 = same ? to.y + to.h : down ? to.y + 1 : to.y + to.h - 1;
      const colour = colours[a.kind ? "--ipi" : "--wakeup"];
      ctx.strokeStyle = ctx.fillStyle = colour;
      ctx.lineWidth = 1.4;
      ctx.setLineDash([[4, 3], [], [1.5, 2.5]][a.kind]);
      ctx.beginPath();
      ctx.moveTo(x0, y0);
      const bend = same ? 8 : (y1 - y0) / 2;
      ctx.bezierCurveTo(x0, y0 + bend, x1, y1 - (same ? -8 : bend), x1, y1);
      ctx.stroke();
      ctx.setLineDash([]);
      const tipDown = same ? -1 : down ? 1 : -1;
      ctx.beginPath(); ctx.moveTo(x1, y1); ctx.lineTo(x1 - 3.5, y1 - 6 * tipDown); ctx.lineTo(x1 + 3.5, y1 - 6 * tipDown); ctx.fill();
      shown.add(["wakeup", "ipi", "call"][a.kind]);
    }
    ctx.lineWidth = 1;
  }

  /* ---- moving ---- */
  function setView(start, end) {
    let length = Math.min(Math.max(end - start, spanMin), span * 1.02);
    const middle = (start + end) / 2;
    start = Math.min(Math.max(middle - length / 2, -0.01 * span), span * 1.01 - length);
    view = { start, end: start + length };
    draw();
  }
  function zoom(factor, centre = (view.start + view.end) / 2) {
    setView(centre - (centre - view.start) * factor, centre + (view.end - centre) * factor);
  }
  const pan = (part) => setView(view.start + part * (view.end - view.start), view.end + part * (view.end - view.start));
  const all = () => setView(0, span);
  function home() {
    const focus = data.focus - data.start, length = Math.min(span, spanHome);
    setView(focus - length * 0.35, focus + length * 0.65);
  }
  function step(direction) {
    const kind = chosen.value, now = selected ? selected.record.time : (view.start + view.end) / 2;
    let best = null;
    for (const arm of arms) for (const record of arm.all) {
      if (data.events[record.event][0] !== kind || record === (selected && selected.record)) continue;
      const ahead = (record.time - now) * direction;
      if (ahead < 0 || (ahead === 0 && !selected)) continue;
      if (!best || ahead < (best.record.time - now) * direction) best = { arm, record };
    }
    if (!best) { said.textContent = `No ${direction > 0 ? "later" : "earlier"} ${kind} in this window.`; return; }
    selected = best;
    const half = (view.end - view.start) / 2;
    setView(best.record.time - half, best.record.time + half);
    said.textContent = describeRecord(best.arm, best.record);
  }

  /* ---- pointing ---- */
  function hit(px, py) {
    if (px < left) return "";
    const row = rows.find((r) => (r.kind === "lane" || r.kind === "events") && py >= r.y && py < r.y + r.h);
    if (!row) return "";
    const time = timeAt(px);
    if (row.kind === "lane") {
      const list = row.arm.lanes[row.lane], i = firstAfter(list, time, "end");
      return list[i] && list[i].start <= time ? describeSlice(row.arm, row.lane, list[i]) : "";
    }
    const list = row.arm.events[row.cpu], i = firstAfter(list, time, "time");
    const near = [list[i - 1], list[i]].filter((r) => r && Math.abs(x(r.time) - px) < 6).sort((a, b) => Math.abs(x(a.time) - px) - Math.abs(x(b.time) - px))[0];
    return near ? describeRecord(row.arm, near) : "";
  }
  function point(event) {
    const box = canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
    const text = drag ? "" : hit(px, py);
    tip.style.display = text ? "block" : "none";
    if (!text) return;
    tip.textContent = text;
    tip.style.left = Math.max(Math.min(px + 14, width - tip.offsetWidth - 6), 2) + "px";
    tip.style.top = Math.min(py + 16, height - tip.offsetHeight - 4) + "px";
  }
  canvas.addEventListener("pointerdown", (e) => { drag = { px: e.clientX, ...view }; canvas.setPointerCapture(e.pointerId); });
  canvas.addEventListener("pointermove", (e) => {
    if (drag) {
      const shift = ((drag.px - e.clientX) / (width - left)) * (drag.end - drag.start);
      setView(drag.start + shift, drag.end + shift);
    }
    point(e);
  });
  canvas.addEventListener("pointerup", (e) => { drag = null; point(e); });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("pointerleave", () => { tip.style.display = "none"; });
  canvas.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.metaKey && document.activeElement !== canvas) return;
    e.preventDefault();
    const px = e.clientX - canvas.getBoundingClientRect().left;
    if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) pan(e.deltaX / width);
    else zoom(e.deltaY > 0 ? 1.25 : 0.8, timeAt(px));
  }, { passive: false });
  canvas.addEventListener("dblclick", (e) => zoom(0.4, timeAt(e.clientX - canvas.getBoundingClientRect().left)));
  const keys = { ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), ArrowUp: () => zoom(0.6), ArrowDown: () => zoom(1 / 0.6),
    "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), Home: home, a: all, n: () => step(1), p: () => step(-1) };
  canvas.addEventListener("keydown", (e) => {
    if (keys[e.key] && !e.ctrlKey && !e.altKey && !e.metaKey) { e.preventDefault(); keys[e.key](); }
  });
  const buttons = { "tl-in": () => zoom(0.5), "tl-out": () => zoom(2), "tl-left": () => pan(-0.3), "tl-right": () => pan(0.3),
    "tl-all": all, "tl-home": home, "tl-next": () => step(1), "tl-previous": () => step(-1) };
  for (const [id, action] of Object.entries(buttons)) document.getElementById(id).addEventListener("click", action);
  chosen.addEventListener("change", () => { selected = null; draw(); });

  const counts = new Map();
  for (const arm of arms) for (const r of arm.all) counts.set(r.event, (counts.get(r.event) || 0) + 1);
  for (const [event, count] of [...counts].sort((a, b) => a[0] - b[0])) {
    const name = data.events[event][0], option = new Option(`${name} (${count})`, name);
    if (name === data.focusEvent) option.selected = true;
    chosen.append(option);
  }
  said.textContent = "";
  layOut();
  new ResizeObserver(resize).observe(canvas.parentElement);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", () => { document.documentElement.classList.add("light"); draw(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("light"); draw(); });
  resize();
  home();
  canvas.dataset.ready = "yes";
})();
