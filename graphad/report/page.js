"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const get = (id) => document.getElementById(id);
  const svg = get("drawing"), viewport = get("viewport"), about = get("about");
  const groups = [...document.querySelectorAll(".canvas")];
  const state = { number: 0, view: "parts", opened: new Set(), x: 0, y: 0, scale: 1, kept: null };
  const PAD = 14, STRIP = 30, GAP = 16, LEGIBLE = 0.75, SMALLEST = 0.3;

  const canvas = () => data.canvases[state.number];
  const root = () => groups[state.number].querySelector(`.view[data-view="${state.view}"]`);
  const marks = (key) => [...root().querySelectorAll(`.mark[data-key="${key}"]`)];

  // ------------------------------------------------------------------ opened parts make room

  function inner(mark) {
    const found = mark.querySelector(":scope > .inner");
    return found ? [Number(found.dataset.width) + 2 * PAD, Number(found.dataset.height) + STRIP + PAD] : null;
  }

  // Layers become as high as their highest part. In each layer, boxes and bends of edges keep their order and stay as
  // near to where they were as the opened ones allow: isotonic regression, as in the layout itself.
  function arrange() {
    const parts = canvas().parts, elements = parts.marks.map((m) => marks(m[0]).find((e) => e.parentNode === root()));
    const size = parts.marks.map(([key, , , , w, h], k) => {
      const wanted = state.opened.has(key) && inner(elements[k]);
      return wanted ? [Math.max(w, wanted[0]), wanted[1]] : [w, h];
    });
    const rows = [];
    parts.marks.forEach(([, x, y, layer, , h], k) => {
      const row = (rows[layer] ||= { middle: y, old: 0, now: 0, items: new Map() });
      row.old = Math.max(row.old, h);
      row.now = Math.max(row.now, size[k][1]);
      row.items.set(x, { x, width: size[k][0], pull: state.opened.has(parts.marks[k][0]) ? 4 : 1 });
    });
    const bands = rows.filter(Boolean).sort((p, q) => p.middle - q.middle);
    let added = 0;
    for (const row of bands) {
      row.first = row.middle - row.old / 2;
      row.top = row.first + added;
      added += row.now - row.old;
    }
    const bandOf = (y) => bands.find((row) => y >= row.first - 0.6 && y <= row.first + row.old + 0.6);
    for (const [, , route] of parts.edges) {
      for (const [x, y] of route.slice(1, -1)) {
        const row = bandOf(y);
        if (row && !row.items.has(x)) row.items.set(x, { x, width: 8, pull: 1 });
      }
    }
    bands.forEach(settle);
    const bend = ([x, y]) => {
      const row = bandOf(y);
      return row ? [row.items.get(x).at, y > row.middle ? row.top + row.now : row.top] : [x, y];
    };
    const place = parts.marks.map(([, x, , layer], k) => {
      const row = rows[layer];
      return [row.items.get(x).at, row.top + row.now / 2, ...size[k]];
    });
    parts.marks.forEach(([key], k) => resize(elements[k], place[k], state.opened.has(key) && inner(elements[k])));
    let heads = "", index = 0;
    const paths = [...root().children].filter((e) => e.classList.contains("edge"));
    for (const [a, b, route] of parts.edges) {
      if (!route.length) continue;
      const end = route.length - 1, sign = route[end][1] < route[0][1] ? -1 : 1;
      const x = place[b][0] + route[end][0] - parts.marks[b][1], y = place[b][1] - sign * place[b][3] / 2;
      heads += `M${x} ${y}l-3 ${-6 * sign}h6z`;
      const start = [place[a][0], place[a][1] + sign * place[a][3] / 2];
      paths[index++].setAttribute("d", curve([start, ...route.slice(1, end).map(bend), [x, y - 3 * sign]]));
    }
    root().querySelector(":scope > .heads").setAttribute("d", heads);
    const right = Math.max(...place.map((p) => p[0] + p[2] / 2)), left = Math.min(...place.map((p) => p[0] - p[2] / 2));
    return { left, right, top: 0, bottom: parts.size[1] + added };
  }

  // Where the items of a layer go: `at`.
  function settle(row) {
    const items = [...row.items.values()].sort((p, q) => p.x - q.x), pools = [];
    let shift = 0;
    items.forEach((item, k) => {
      if (k) shift += (items[k - 1].width + item.width) / 2 + GAP;
      item.shift = shift;
      let pool = { mean: item.x - shift, weight: item.pull, items: [item] };
      while (pools.length && pools[pools.length - 1].mean >= pool.mean) {
        const before = pools.pop(), weight = before.weight + pool.weight;
        const mean = (before.mean * before.weight + pool.mean * pool.weight) / weight;
        pool = { mean, weight, items: [...before.items, ...pool.items] };
      }
      pools.push(pool);
    });
    for (const pool of pools) for (const item of pool.items) item.at = pool.mean + item.shift;
  }

  function curve(points) {
    let path = `M${points[0][0]} ${points[0][1]}`;
    for (let k = 1; k < points.length; k++) {
      const [x, y] = points[k - 1], [u, v] = points[k], middle = (y + v) / 2;
      path += Math.abs(x - u) < 0.5 ? `L${u} ${v}` : `C${x} ${middle} ${u} ${middle} ${u} ${v}`;
    }
    return path;
  }

  function resize(mark, [x, y, width, height], isOpen) {
    mark.setAttribute("transform", `translate(${x} ${y})`);
    mark.classList.toggle("opened", Boolean(isOpen));
    if (mark.classList.contains("group")) mark.setAttribute("aria-expanded", String(Boolean(isOpen)));
    const box = mark.querySelector(":scope > .box"), text = mark.querySelector(":scope > .label");
    text.dataset.y ??= text.getAttribute("y");
    box.setAttribute("x", -width / 2);
    box.setAttribute("y", -height / 2);
    box.setAttribute("width", width);
    box.setAttribute("height", height);
    text.setAttribute("y", isOpen ? 18 - height / 2 : text.dataset.y);
    const hidden = mark.querySelector(":scope > .inner");
    if (isOpen) hidden.setAttribute("transform", `translate(${-hidden.dataset.width / 2} ${STRIP - height / 2})`);
  }

  function toggle(key) {
    const [mark] = marks(key);
    if (!mark || !inner(mark)) return;
    const before = mark.getBoundingClientRect();
    if (!state.opened.delete(key)) state.opened.add(key);
    arrange();
    const after = mark.getBoundingClientRect(); // the upper edge that was clicked stays under the pointer
    state.x += before.left + before.width / 2 - after.left - after.width / 2;
    state.y += before.top - after.top;
    move();
    if (state.opened.has(key) && state.scale < LEGIBLE) approach(mark);
  }

  // Come so near that the text of an opened part can be read: its upper edge at the top.
  function approach(mark) {
    const at = mark.getBoundingClientRect(), frame = svg.getBoundingClientRect();
    const wanted = Math.max(LEGIBLE, Math.min(1, (frame.width - 40) * state.scale / at.width));
    zoom(wanted / state.scale, at.left + at.width / 2 - frame.left, at.top - frame.top);
    const now = mark.getBoundingClientRect();
    state.x += frame.left + frame.width / 2 - (now.left + now.width / 2);
    state.y += frame.top + 20 - now.top;
    move();
  }

  // ------------------------------------------------------------------ pan and zoom

  function move() {
    viewport.setAttribute("transform", `translate(${state.x} ${state.y}) scale(${state.scale})`);
  }

  function zoom(factor, x, y) {
    const scale = Math.min(Math.max(state.scale * factor, 0.02), 4);
    state.x = x - (x - state.x) * scale / state.scale;
    state.y = y - (y - state.y) * scale / state.scale;
    state.scale = scale;
    move();
  }

  function extent() {
    if (state.view === "parts") return arrange();
    const [width, height] = canvas().flat;
    return { left: 0, right: width, top: 0, bottom: height };
  }

  // The whole drawing where it stays legible; otherwise its upper part.
  function fit() {
    const { left, right, top, bottom } = extent(), { width, height } = svg.getBoundingClientRect();
    const wide = (width - 40) / (right - left), high = (height - 40) / (bottom - top);
    state.scale = Math.min(Math.max(Math.min(wide, high), Math.min(wide, 0.6), SMALLEST), 1.25);
    state.x = width / 2 - state.scale * (left + right) / 2;
    const room = height - state.scale * (bottom - top);
    state.y = (room > 0 ? room / 2 : 20) - state.scale * top;
    move();
  }

  function reveal(mark) {
    const at = mark.getBoundingClientRect(), frame = svg.getBoundingClientRect();
    if (at.left < frame.left || at.right > frame.right || at.top < frame.top || at.bottom > frame.bottom) {
      state.x += frame.left + frame.width / 2 - (at.left + at.width / 2);
      state.y += frame.top + frame.height / 2 - (at.top + at.height / 2);
      move();
    }
  }

  // ------------------------------------------------------------------ what the boxes are

  function element(tag, text, attributes = {}) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function listed(pairs) {
    const list = element("dl");
    for (const [name, value] of pairs) {
      if (value === undefined || value === "" || (value.length === 0)) continue;
      const cell = element("dd");
      cell.append(value instanceof Node ? value : String(value));
      list.append(element("dt", name), cell);
    }
    return list;
  }

  function links(keys) {
    const all = document.createDocumentFragment();
    for (const key of keys.slice(0, 12)) {
      const node = canvas().nodes[key], name = node.text.split(":")[0];
      const link = element("a", name, { tabindex: "0", role: "link" });
      link.addEventListener("click", () => visit(key));
      link.addEventListener("keydown", (event) => event.key === "Enter" && visit(key));
      all.append(link);
    }
    if (keys.length > 12) all.append(`and ${keys.length - 12} more`);
    return keys.length ? all : "";
  }

  // Links to the graphs inside an operation.
  function inside(bodies) {
    const all = document.createDocumentFragment();
    for (const [name, number] of bodies) {
      const link = element("a", name, { tabindex: "0", role: "link" });
      link.addEventListener("click", () => show(number));
      link.addEventListener("keydown", (event) => event.key === "Enter" && show(number));
      all.append(link);
    }
    return bodies.length ? all : "";
  }

  function decided(number) {
    const d = data.decisions[number], box = element("div");
    if (!d) return box;
    const heading = element("h2", `${d.subject}: `), chip = element("span", d.choice, { class: "chip" });
    if (d.family) chip.setAttribute("style", `--fill:var(--${d.family}-fill);--line:var(--${d.family})`);
    chip.classList.add("graphad-drawing");
    heading.append(chip);
    box.append(heading, listed([["elements", d.counts], ["reason", d.reason], ["otherwise", d.threshold]]));
    if (d.candidates.length) box.append(element("pre", d.candidates.join("\n")));
    return box;
  }

  function tell(key) {
    about.replaceChildren();
    const node = canvas().nodes[key], group = canvas().groups[key];
    if (group) {
      about.append(element("h2", group.label), element("p", `${group.count.toLocaleString("en")} nodes`));
      if (!group.nodes.length) about.append(element("p", "The graph is so large that the page knows its parts only."));
      if (group.decision !== undefined) about.append(decided(group.decision));
    } else if (node) {
      about.append(element("code", node.text));
      const code = element("code", node.code || "");
      about.append(listed([["operation", node.op], ["type", node.type], ["flops", node.flops.toLocaleString("en")],
        ["operands", links(node.args)], ["used by", links(node.users)], ["line", node.at], ["", node.code ? code : ""],
        ["inside", inside(node.bodies || [])]]));
      if (node.decision !== undefined) about.append(decided(node.decision));
    } else if (key.startsWith("d")) {
      about.append(decided(Number(key.slice(1))));
    }
  }

  // Light up boxes and the edges at them; nothing where there is no key.
  function light(keys) {
    for (const lit of svg.querySelectorAll(".lit")) lit.classList.remove("lit");
    const wanted = new Set(keys);
    groups[state.number].classList.toggle("dimmed", wanted.size > 0);
    if (!wanted.size) return;
    for (const mark of root().querySelectorAll(".mark")) mark.classList.toggle("lit", wanted.has(mark.dataset.key));
    for (const line of root().querySelectorAll(".edge")) {
      line.classList.toggle("lit", wanted.size === 1 ? wanted.has(line.dataset.from) || wanted.has(line.dataset.to)
        : wanted.has(line.dataset.from) && wanted.has(line.dataset.to));
    }
    if (wanted.size === 1) {
      for (const line of root().querySelectorAll(".edge.lit")) {
        for (const end of [line.dataset.from, line.dataset.to]) for (const mark of marks(end)) mark.classList.add("lit");
      }
    }
  }

  function keep(key) {
    state.kept = key;
    for (const old of document.querySelectorAll(".kept")) old.classList.remove("kept");
    if (!key) {
      light([]);
      return;
    }
    const rows = document.querySelectorAll(`tr[data-key="${key}"]`);
    for (const each of [...marks(key), ...rows]) each.classList.add("kept");
    tell(key);
    const members = key.startsWith("d") ? ofDecision(Number(key.slice(1))) : [key];
    light(members.length ? members : []);
  }

  function ofDecision(number) {
    const { nodes, groups: parts } = canvas();
    return [...Object.entries(parts), ...Object.entries(nodes)].filter(([, e]) => e.decision === number).map(([k]) => k);
  }

  // Show a node wherever it is drawn: its part is opened first.
  function visit(key) {
    if (state.view === "parts" && !marks(key).some((m) => m.getClientRects().length)) {
      const owner = Object.entries(canvas().groups).find(([, group]) => group.nodes.includes(key));
      if (owner && !state.opened.has(owner[0])) toggle(owner[0]);
    }
    const own = marks(key).filter((m) => m.getClientRects().length);
    const mark = own.find((m) => !m.classList.contains("outside")) || own[0];
    keep(key);
    if (!mark) return;
    reveal(mark);
    mark.focus({ preventScroll: true });
  }

  // ------------------------------------------------------------------ controls

  function show(number, view) {
    keep(null);
    state.number = number;
    state.opened = new Set();
    const flat = canvas().flat[0] > 0;
    state.view = view || canvas().start;
    get("which").value = String(number);
    get("view").value = state.view;
    get("shown").hidden = !flat;
    groups.forEach((group, k) => group.classList.toggle("shown", k === number));
    for (const each of groups[number].querySelectorAll(".view")) each.classList.toggle("shown", each.dataset.view === state.view);
    get("opening").hidden = !root().querySelector(".inner");
    const legend = get("legend");
    legend.replaceChildren(...canvas().legend.map(([name, text]) =>
      element("span", text, { class: "graphad-drawing", style: `--fill:var(--${name}-fill);--line:var(--${name})` })));
    fit();
  }

  function find(text) {
    const wanted = text.trim().toLowerCase();
    const entries = Object.entries(canvas().nodes);
    const hits = wanted ? entries.filter(([, n]) => n.op === wanted || n.text.toLowerCase().startsWith(`${wanted}:`)) : [];
    const some = hits.length ? hits : wanted ? entries.filter(([, n]) => n.text.toLowerCase().includes(wanted)) : [];
    get("found").textContent = wanted ? `${some.length} found` : "";
    if (some.length === 1) visit(some[0][0]);
    else light(some.flatMap(([key]) => [key, ...holders(key)]));
  }

  function holders(key) {
    return Object.entries(canvas().groups).filter(([, group]) => group.nodes.includes(key)).map(([k]) => k);
  }

  get("which").addEventListener("change", (event) => show(Number(event.target.value)));
  get("view").addEventListener("change", (event) => show(state.number, event.target.value));
  get("open").addEventListener("click", () => {
    state.opened = new Set(Object.keys(canvas().groups));
    fit();
  });
  get("close").addEventListener("click", () => {
    state.opened.clear();
    fit();
  });
  const middle = () => [svg.clientWidth / 2, svg.clientHeight / 2];
  get("closer").addEventListener("click", () => zoom(1.3, ...middle()));
  get("farther").addEventListener("click", () => zoom(1 / 1.3, ...middle()));
  get("fit").addEventListener("click", fit);
  get("find").addEventListener("input", (event) => find(event.target.value));
  for (const row of document.querySelectorAll("tr[data-key]")) {
    if (!row.classList.contains("below")) row.tabIndex = 0;
    const choose = () => keep(state.kept === row.dataset.key ? null : row.dataset.key);
    row.addEventListener("click", choose);
    row.addEventListener("keydown", (event) => event.key === "Enter" && choose());
  }

  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const frame = svg.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * 0.0016), event.clientX - frame.left, event.clientY - frame.top);
  }, { passive: false });

  let grip = null;
  svg.addEventListener("pointerdown", (event) => {
    grip = { x: event.clientX, y: event.clientY, moved: 0 };
  });
  svg.addEventListener("pointermove", (event) => {
    if (!grip || !event.buttons) return;
    const dx = event.clientX - grip.x, dy = event.clientY - grip.y;
    grip.moved += Math.abs(dx) + Math.abs(dy);
    if (grip.moved < 4) return;
    if (!svg.hasPointerCapture(event.pointerId)) svg.setPointerCapture(event.pointerId);
    svg.classList.add("dragged");
    Object.assign(grip, { x: event.clientX, y: event.clientY });
    state.x += dx;
    state.y += dy;
    move();
  });
  svg.addEventListener("pointerup", () => svg.classList.remove("dragged"));

  const marked = (event) => event.target.closest?.(".mark");
  function activate(mark) {
    const key = mark.dataset.key;
    if (mark.classList.contains("group")) {
      toggle(key);
      keep(key);
    } else keep(state.kept === key ? null : key);
  }
  svg.addEventListener("click", (event) => {
    const mark = marked(event);
    if (grip && grip.moved >= 4) return;
    if (mark) activate(mark);
    else keep(null);
  });
  svg.addEventListener("pointerover", (event) => {
    const mark = marked(event);
    if (!mark) return;
    if (!mark.querySelector(":scope > title")) {
      const { nodes, groups: parts } = canvas(), { key } = mark.dataset;
      const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
      title.textContent = parts[key]?.label ?? [nodes[key].text, nodes[key].at].filter(Boolean).join("\nat ");
      mark.prepend(title);
    }
    if (!state.kept) tell(mark.dataset.key);
  });
  svg.addEventListener("focusin", (event) => {
    const mark = marked(event);
    if (!mark) return;
    if (!state.kept) tell(mark.dataset.key);
    if (mark.matches(":focus-visible")) reveal(mark);
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    const mark = marked(event);
    if (step) {
      state.x += step[0];
      state.y += step[1];
      move();
    } else if (event.key === "+" || event.key === "=") zoom(1.3, ...middle());
    else if (event.key === "-") zoom(1 / 1.3, ...middle());
    else if (event.key === "0") fit();
    else if (event.key === "Escape") keep(null);
    else if (mark && (event.key === "Enter" || event.key === " ")) activate(mark);
    else return;
    event.preventDefault();
  });
  addEventListener("resize", fit);

  // `#graph=0&view=parts&open=all&keep=n3` in the address shows that at once.
  const asked = new URLSearchParams(location.hash.slice(1));
  show(Number(asked.get("graph") || 0), asked.get("view"));
  if (asked.get("open") === "all") get("open").click();
  else (asked.get("open") || "").split(",").filter(Boolean).forEach(toggle);
  if (asked.get("keep")) visit(asked.get("keep"));
  document.documentElement.dataset.ready = "yes";
})();
