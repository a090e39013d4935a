"use strict";
(() => {
    const MOST_CHOICES = 24;
  const NARROW = 520;
  const pageRows = innerWidth < NARROW ? 12 : 25;
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;

  // Small helpers. Text from the data enters the page as text nodes only.
  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  };
  const save = (name, content, type) => {
    const address = content.startsWith("data:") || content.startsWith("blob:")
      ? content : URL.createObjectURL(new Blob([content], { type }));
    element("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 5000);
  };
  const decimalsOf = (values) => {
    const numbers = values.filter((value) => typeof value === "number" && value !== 0);
    const largest = Math.max(0, ...numbers.map(Math.abs));
    const room = largest < 0.01 ? 6 : Math.max(0, 4 - Math.max(0, Math.ceil(Math.log10(largest))));
    const needed = numbers.map((value) => (String(Number(value.toPrecision(6))).split(".")[1] ?? "").length);
    return Math.min(room, Math.max(0, ...needed));
  };
  const shown = (value, kind, decimals) => {
    if (value === null || value === undefined) return "";
    if (kind !== "number") return String(value);
    const size = Math.abs(value);
    if (size && (size < 1e-4 || (size >= 1e9 && !Number.isInteger(value)) || size >= 1e15)) return value.toExponential(3);
    // A share among counts: the places of its column would make it 0 or 1.
    const places = size * 10 ** decimals < 100 ? Math.max(decimals, decimalsOf([value])) : decimals;
    return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
  };

  // Theme: automatic, light or dark; remembered where the browser lets a file remember.
  const themes = ["automatic", "light", "dark"];
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => { try { return localStorage.getItem("surefoot-theme"); } catch { return null; } };
  let theme = themes.includes(remembered()) ? remembered() : "automatic";
  const dark = () => theme === "dark" || (theme === "automatic" && system.matches);
  const button = document.getElementById("theme");
  const applyTheme = () => {
    if (theme === "automatic") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", theme);
    button.querySelector("span").textContent = theme;
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem("surefoot-theme", theme); } catch { /* a private window forgets */ }
    applyTheme();
    drawAll();
  });
  system.addEventListener("change", () => drawAll());

  // Figures. Expressions are interpreted, not compiled, so the page needs no permission to evaluate code.
  const views = new Map();
  const widths = new Map();
  // A legend begins where the plot does: right of the labels of rows.
  const legendFor = (width, spec) => {
    let [longest, left] = [0, 36];
    JSON.stringify(spec, (key, value) => {
      const names = (key === "color" && value?.legend && value.scale?.domain) || [];
      longest = Math.max(longest, ...names.map((name) => String(name).length));
      if (key === "y" && value?.type === "ordinal") left = 136;
      return value;
    });
    const columns = 5 * longest > (width - left) / 2 - 25 ? 1 : 2;
    return { columns, labelLimit: (width - left) / columns - 25 };
  };
  const configFor = (width, spec) => {
    const config = structuredClone(data.themes[dark() ? "dark" : "light"]);
    config.background = null;
    if (width < NARROW) {
      Object.assign(config.axis, { labelFontSize: 11, titleFontSize: 12, labelLimit: 130, titleLimit: width - 20 });
      Object.assign(config.legend, legendFor(width, spec));
      config.axisX = { tickCount: 5 };
      config.point.size = 50;
      config.text = { ...config.text, fontSize: 9 };
    }
    return config;
  };
  const draw = async (figure) => {
    const place = document.querySelector(`#${CSS.escape(figure.id)} .live`);
    const width = place.parentElement.clientWidth;
    widths.set(figure.id, width);
    const options = { ast: true, actions: false, renderer: "svg", config: configFor(width, figure.spec), mode: "vega-lite" };
    const drawing = await vegaEmbed(place, structuredClone(figure.spec), options);
    views.get(figure.id)?.finalize();
    views.set(figure.id, drawing);
  };
  const drawn = () => data.figures.filter((figure) => figure.spec);
  const drawAll = () => Promise.all(drawn().map(draw));
  const tools = (figure) => {
    const place = document.querySelector(`.tools[data-figure="${CSS.escape(figure.id)}"]`);
    const offer = (label, act) => place.append(element("button", { type: "button", onclick: act }, label));
    if (figure.spec) {
      for (const type of ["svg", "png"]) {
        const act = async () => {
          const view = views.get(figure.id).view;
          const background = view.background();
          view.background(data.themes[dark() ? "dark" : "light"].background);
          save(`${figure.name}.${type}`, await view.toImageURL(type, type === "png" ? 2 : 1));
          view.background(background);
        };
        offer(type.toUpperCase(), act);
      }
      offer("Vega-Lite", () => save(`${figure.name}.json`, JSON.stringify(figure.spec, null, 1), "application/json"));
      place.hidden = false;
    }
  };

  // Tables: sorted, filtered, in pages, and saved from the page itself.
  const quoted = (value, separator) => {
    const text = value === null || value === undefined ? "" : String(value);
    if (separator === "\t") return text.replace(/[\t\r\n]+/g, " ");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const delimited = (columns, rows, separator) =>
    [columns.map(([name]) => name), ...rows]
      .map((row) => row.map((value) => quoted(value, separator)).join(separator)).join("\n") + "\n";
  const asObjects = (columns, rows) =>
    rows.map((row) => Object.fromEntries(columns.map(([name], index) => [name, row[index]])));
  const { compare: compareTexts } = new Intl.Collator("en", { numeric: true });
  const known = (value) => value !== null && value !== undefined;

  // Where the cells of a table come from: rows of values, or packed columns. `find` gives the rows that have all words;
  // `ranks` a number for each row by which a column sorts (NaN: empty, and last).
  const ranked = (values) => {
    const order = [...new Set(values.filter((value) => known(value)).map(String))].sort(compareTexts);
    const places = new Map(order.map((value, place) => [value, place]));
    return (value) => (known(value) ? places.get(String(value)) : NaN);
  };
  const fromRows = (columns, rows) => {
    const texts = rows.map((row) => row.map((value) => value ?? "").join("\u0001").toLowerCase());
    return {
      count: rows.length,
      at: (row, column) => rows[row][column],
      find: (words) => (row) => words.every((word) => texts[row].includes(word)),
      values: (column) => rows.map((row) => row[column]),
      ranks: (column) => {
        const values = rows.map((row) => row[column]);
        if (columns[column][1] === "number") return Float64Array.from(values, (value) => value ?? NaN);
        return Float64Array.from(values, ranked(values));
      },
    };
  };
  const unpacked = async ({ columns, levels, count, packed }) => {
    const zipped = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const bytes = new Uint8Array(planes.length);
    const cells = columns.map(([, kind], column) => {
      const start = column * count * 4;
      for (let plane = 0; plane < 4; plane += 1) {
        const from = start + plane * count;
        for (let row = 0; row < count; row += 1) bytes[start + row * 4 + plane] = planes[from + row];
      }
      return kind === "text" ? new Uint32Array(bytes.buffer, start, count) : new Float32Array(bytes.buffer, start, count);
    });
    const number = (value) => (Number.isNaN(value) ? null : Math.round(value * 1e5) / 1e5);
    const lower = levels.map((names) => names.map((name) => name.toLowerCase()));
    const at = (row, column) => (columns[column][1] === "text" ? levels[column][cells[column][row]] : number(cells[column][row]));
    return {
      count,
      at,
      find: (words) => {
        const hits = words.map((word) => lower.map((names) => Uint8Array.from(names, (name) => name.includes(word))));
        return (row) => hits.every((hit) => hit.some((flags, column) => flags.length && flags[cells[column][row]]));
      },
      values: (column) => (columns[column][1] === "text" ? levels[column] : Array.from(cells[column].subarray(0, 5000), number)),
      ranks: (column) => {
        if (columns[column][1] === "number") return cells[column];
        const rank = Float64Array.from(levels[column], ranked(levels[column]));
        return Float64Array.from(cells[column], (code) => rank[code]);
      },
    };
  };

  const table = (place, name, columns, source) => {
    const decimals = columns.map(([, kind], index) => (kind === "number" ? decimalsOf(source.values(index)) : 0));
    const state = { sort: null, down: false, page: 0, words: "", choices: new Map() };
    // What is visible changes with the words, the choices and the order, not with the page.
    let found = null;
    const change = (values) => { Object.assign(state, { page: 0 }, values); found = null; show(); };
    const visible = () => {
      const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
      const has = words.length ? source.find(words) : () => true;
      const chosen = [...state.choices];
      const kept = [];
      for (let row = 0; row < source.count; row += 1) {
        if (chosen.every(([column, value]) => String(source.at(row, column) ?? "") === value) && has(row)) kept.push(row);
      }
      if (state.sort === null) return kept;
      const ranks = source.ranks(state.sort);
      const sign = state.down ? -1 : 1;
      return kept.sort((a, b) => {
        const gap = sign * (ranks[a] - ranks[b]);
        return Number.isNaN(gap) ? Number.isNaN(ranks[a]) - Number.isNaN(ranks[b]) : gap;
      });
    };
    const filled = (rows) => rows.map((row) => columns.map((_, column) => source.at(row, column)));
    const heads = columns.map(([label, kind], index) => {
      const act = () => {
        if (state.sort === index && state.down) change({ sort: null, down: false });
        else change({ down: state.sort === index, sort: index });
      };
      return element("th", { scope: "col", class: kind }, element("button", { type: "button", onclick: act }, label));
    });
    const cell = (value, [label, kind], index) => kind === "key"
      ? element("td", { class: "key" }, element("a", { href: `#${value}` }, String(value).slice(0, 8)))
      : element("td", { class: ["low", "high", "n"].includes(label) ? `${kind} ${label}` : kind, title: kind === "text" && String(value ?? "").length > 40 ? value : null }, shown(value, kind, decimals[index]));
    const body = element("tbody");
    const said = element("span", { "aria-live": "polite" });
    const turn = (by) => () => { state.page += by; show(); };
    const back = element("button", { type: "button", onclick: turn(-1) }, "Back");
    const next = element("button", { type: "button", onclick: turn(1) }, "Next");
    const show = () => {
      found ??= visible();
      const pages = Math.max(1, Math.ceil(found.length / pageRows));
      state.page = Math.min(Math.max(0, state.page), pages - 1);
      const first = state.page * pageRows;
      const part = filled(found.slice(first, first + pageRows));
      body.replaceChildren(...part.map((row) => element("tr", {}, ...row.map((value, index) => cell(value, columns[index], index)))));
      heads.forEach((head, index) => {
        if (state.sort === index) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      });
      const range = found.length ? `${(first + 1).toLocaleString("en")} to ${(first + part.length).toLocaleString("en")} of ` : "";
      said.textContent = `${range}${found.length.toLocaleString("en")} rows`
        + (found.length < source.count ? `, filtered from ${source.count.toLocaleString("en")}` : "");
      back.disabled = state.page === 0;
      next.disabled = state.page === pages - 1;
    };
    const filter = element("input", { type: "search", oninput: () => change({ words: filter.value }) });
    const selects = columns.flatMap(([label, kind], index) => {
      if (kind !== "text") return [];
      const values = [...new Set(source.values(index).map((value) => String(value ?? "")))];
      if (values.length < 2 || values.length > MOST_CHOICES) return [];
      values.sort(compareTexts);
      const choose = element("select", { "aria-label": label }, element("option", { value: "all" }, "all"),
        ...values.map((value, place) => element("option", { value: place }, value || "(empty)")));
      choose.addEventListener("change", () => {
        if (choose.value === "all") state.choices.delete(index);
        else state.choices.set(index, values[choose.value]);
        change({});
      });
      return [element("label", {}, label, choose)];
    });
    const formats = {
      CSV: () => save(`${name}.csv`, delimited(columns, filled(found), ","), "text/csv"),
      TSV: () => save(`${name}.tsv`, delimited(columns, filled(found), "\t"), "text/tab-separated-values"),
      JSON: () => save(`${name}.json`, JSON.stringify(asObjects(columns, filled(found)), null, 1), "application/json"),
    };
    const saves = Object.entries(formats).map(([label, act]) =>
      element("button", { type: "button", onclick: act, title: `Save the rows that are shown as ${label}` }, label));
    place.replaceChildren(
      element("div", { class: "controls" }, element("label", { class: "search" }, "filter", filter), ...selects,
        element("span", { class: "end" }, ...saves)),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Table ${name}` },
        element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body)),
      element("div", { class: "pager" }, said, element("span", {}, back, next)),
    );
    show();
  };

  // A link to a Step opens it.
  const openTarget = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let around = target; around; around = around.parentElement) {
      if (around instanceof HTMLDetailsElement) around.open = true;
    }
    target.scrollIntoView({ block: "start" });
  };

  applyTheme();
  table(document.querySelector('.grid[data-table="measurements"]'), "measurements", data.measurements.columns,
    fromRows(data.measurements.columns, data.measurements.rows));
  const browse = async () => {
    if (!data.configurations) return;
    const source = await unpacked(data.configurations);
    table(document.querySelector('.grid[data-table="configurations"]'), "configurations", data.configurations.columns, source);
  };
  for (const figure of data.figures) {
    tools(figure);
    const details = document.querySelector(`details[data-table="${CSS.escape(figure.id)}"]`);
    const rows = figure.rows ?? figure.spec.data.values;
    details.hidden = false;
    const listed = () => rows.map((row) => figure.columns.map(([name]) => row[name] ?? null));
    details.addEventListener("toggle", () => table(details.querySelector(".grid"), figure.name, figure.columns,
      fromRows(figure.columns, listed())), { once: true });
  }
  addEventListener("hashchange", openTarget);
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => drawn().filter((figure) => {
      const width = document.getElementById(figure.id).querySelector(".chart").clientWidth;
      return (width < NARROW) !== (widths.get(figure.id) < NARROW);
    }).forEach(draw), 150);
  });
  Promise.all([drawAll(), browse()]).then(() => { root.dataset.ready = "true"; openTarget(); });
})();
