"use strict";
const STEP = 24, MOST = 10000, LARGEST = 11e6;
const $ = (id) => document.getElementById(id);
// Captions and URLs are of strangers: text enters the page as text nodes only.
const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  made.append(...children);
  return made;
};
const count = (number) => number.toLocaleString("en");
let about, state, asked = 0, shown = [];

// The state is in the address, all but pictures of one's own.
function read() {
  const given = new URLSearchParams(location.search), whole = Number.parseInt(given.get("k"), 10);
  state = { q: given.get("q") ?? "", not: given.get("not") ?? "", ids: given.getAll("id").map(Number).filter(Number.isSafeInteger), images: [], facets: {},
    safe: given.get("safe") !== "0", fold: given.get("fold") !== "0", k: Math.min(MOST, Math.max(1, whole || STEP)) };
  try { state.facets = Object(JSON.parse(given.get("f") ?? "{}")); } catch { /* an address that was cut */ }
  for (const name of ["q", "not"]) $(name).value = state[name];
  for (const name of ["safe", "fold"]) $(name).checked = state[name];
}
function write() {
  const some = Object.keys(state.facets).length;
  const told = [["q", state.q], ["not", state.not], ...state.ids.map((id) => ["id", String(id)]), ["safe", state.safe ? "" : "0"], ["fold", state.fold ? "" : "0"],
    ["k", state.k === STEP ? "" : String(state.k)], ["f", some ? JSON.stringify(state.facets) : ""]];
  const address = `${location.pathname}?${new URLSearchParams(told.filter(([, value]) => value))}`;
  if (address !== location.pathname + (location.search || "?")) history.pushState(null, "", address);
}
async function post(path) {
  const { q, not, ids, images, facets, safe, fold, k } = state, url = /^https?:\/\/\S+$/i.test(q);
  const told = { texts: q && !url ? [q] : [], urls: url ? [q] : [], without: not ? [not] : [], ids, images: images.map((one) => one.data), facets, safe, fold: fold ? 0.94 : null, k };
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(told) });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `The server answers ${answer.status}.`);
  return answer;
}
const say = (text, wrong = false) => { $("status").textContent = text; $("status").classList.toggle("wrong", wrong); };
async function search(change = {}, remember = true) {
  Object.assign(state, remember ? { k: STEP } : {}, change);
  if (remember) write();
  chips();
  const number = ++asked, facets = Object.keys(state.facets);
  $("narrow").querySelector("span").textContent = facets.length ? `(${facets.length} on)` : "";
  for (const box of $("facets").children) box.classList.toggle("active", facets.includes(box.dataset.column));
  if (!(state.q || state.ids.length || state.images.length)) {
    render([]);
    return say(`${count(about.rows)} pictures, by ${about.model}. Look for words, for a picture (choose, paste or drop one), or for both.`);
  }
  try {
    const found = await (await post("/api/search")).json();
    if (number !== asked) return;
    render(found.results);
    const hidden = found.hidden ? `, ${count(found.hidden)} hidden by safe mode` : "";
    say(`${count(found.results.length)} results of ${count(found.matching)} pictures${facets.length ? " that match" : ""}${hidden}, in ${found.milliseconds} ms.`);
    $("more").hidden = found.results.length < state.k || state.k >= MOST;
  } catch (error) {
    if (number === asked) { render([]); say(error.message, true); }
  }
}

function render(results) {
  const same = shown.length && shown.every((one, place) => one.id === results[place]?.id);
  if (!same) $("results").replaceChildren();
  $("results").append(...results.slice(same ? shown.length : 0).map(card));
  shown = results;
  $("export").disabled = !results.length;
  $("more").hidden = true;
}
const picture = (id, text) => element("img", { src: `/thumbnail/${id}`, alt: text || "a picture without a text", loading: "lazy", decoding: "async",
  onerror: (event) => event.target.replaceWith(element("span", {}, "no picture here")) });
function card(one) {
  const { text, width, height, license } = one.row, alike = one.folded.length ? [element("span", { class: "fold" }, `+ ${one.folded.length} alike`)] : [];
  const facts = [one.score.toFixed(3), width ? `${width} × ${height}` : "", license].filter(Boolean).join(" · ");
  const keyed = (event) => ({ m: () => more(one.id), a: () => add(one.id) })[event.key]?.();
  return element("li", {}, element("button", { type: "button", onclick: () => detail(one), onkeydown: keyed }, element("div", { class: "picture" }, picture(one.id, text), ...alike),
    element("div", { class: "caption", dir: "auto" }, text || "(no text)"), element("div", { class: "small" }, facts)));
}
const first = () => $("results").querySelector("button")?.focus({ preventScroll: true });
const go = (change) => { $("detail").close(); scrollTo(0, 0); search(change).then(first); };
const add = (id) => go({ ids: [...new Set([...state.ids, id])] });
const more = (id) => { $("q").value = $("not").value = ""; go({ q: "", not: "", ids: [id], images: [] }); };
const word = (value) => (typeof value === "number" && !Number.isInteger(value) ? value.toFixed(4) : Array.isArray(value) ? value.join(", ") : String(value));
function detail(one) {
  const box = $("detail"), known = Object.entries({ score: one.score, ...one.row, near_duplicates: one.folded }).filter(([name, value]) => name !== "text" && String(value ?? "") !== "");
  const links = [["url", "The original"], ["page_url", "Its page"]].filter(([name]) => /^https?:\/\//i.test(one.row[name] ?? ""));
  $("detail-title").textContent = one.row.text || "(no text)";
  $("shown").replaceChildren(picture(one.id, one.row.text));
  box.querySelector(".tools").replaceChildren(element("button", { onclick: () => more(one.id) }, "More like this"), element("button", { onclick: () => add(one.id) }, "Add to the question"),
    ...links.map(([name, said]) => element("a", { href: one.row[name], target: "_blank", rel: "noreferrer noopener nofollow" }, said)));
  box.querySelector("dl").replaceChildren(...known.flatMap(([name, value]) => [element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, word(value))]));
  box.showModal();
}
function chips() {
  const chip = (image, text, off) => element("li", {}, image, element("span", {}, text), element("button", { onclick: off, "aria-label": `Take ${text} out of the question` }, "×"));
  const ids = state.ids.map((id) => chip(picture(id, ""), `like picture ${id}`, () => search({ ids: state.ids.filter((other) => other !== id) })));
  const images = state.images.map((one) => chip(element("img", { src: one.shown, alt: "" }), one.name, () => search({ images: state.images.filter((other) => other !== one) })));
  $("chips").replaceChildren(...ids, ...images);
}
function upload(file) {
  if (!file) return;
  if (file.size > LARGEST) return say(`${file.name} has more than ${LARGEST / 1e6} MB: make it smaller.`, true);
  const reader = new FileReader();
  reader.onload = () => search({ images: [...state.images, { name: file.name || "your picture", data: reader.result.split("base64,")[1] ?? "", shown: URL.createObjectURL(file) }] });
  reader.readAsDataURL(file);
}

function facet({ column, kind, low, high, values }) {
  const now = state.facets[column] ?? {};
  const inputs = kind === "number" ? [["min", low, "at least"], ["max", high, "at most"]].map(([end, bound, said]) => element("input", { type: "number", step: "any", name: end, placeholder: Math.round(bound * 1000) / 1000, "aria-label": `${column}: ${said}`, value: now[end] ?? "" }))
    : kind === "text" ? [element("input", { type: "search", placeholder: "contains …", maxlength: 500, "aria-label": `${column} contains`, value: now.has ?? "" })]
    : values.map(([value]) => element("input", { type: "checkbox", checked: (now.is ?? []).includes(value) }));
  const told = () => {
    if (kind === "number") return Object.fromEntries(inputs.filter((one) => one.value !== "").map((one) => [one.name, Number(one.value)]));
    if (kind === "text") return inputs[0].value ? { has: inputs[0].value } : {};
    const is = values.map(([value]) => value).filter((_, place) => inputs[place].checked);
    return is.length ? { is } : {};
  };
  const changed = () => {
    const { [column]: _, ...others } = state.facets, own = told();
    search({ facets: Object.keys(own).length ? { ...others, [column]: own } : others });
  };
  const rows = kind === "choice" ? values.map(([value, n], place) => element("label", {}, inputs[place], value ?? "not known", element("span", {}, count(n)))) : inputs;
  return element("details", { "data-column": column, onchange: changed }, element("summary", {}, column.replaceAll("_", " ")), element("div", { class: kind }, ...rows));
}
function facets() {
  const rank = (one) => ["language", "width", "height", "similarity"].indexOf(one.column) + 1 || { choice: 10, number: 20, text: 30 }[one.kind];
  $("facets").replaceChildren(...[...about.facets].sort((one, other) => rank(one) - rank(other)).map(facet));
  for (const box of [...$("facets").children].slice(0, 4)) box.open = true;
}
async function take() {
  try {
    const name = `subset.${$("form").value}`, link = element("a", { download: name });
    link.href = URL.createObjectURL(await (await post(`/api/export/${$("form").value}`)).blob());
    link.click();
    say(`Exported ${count(shown.length)} results as ${name}.`);
  } catch (error) { say(error.message, true); }
}

$("ask").addEventListener("submit", (event) => { event.preventDefault(); search({ q: $("q").value.trim(), not: $("not").value.trim() }).then(first); });
$("file").addEventListener("change", () => { upload($("file").files[0]); $("file").value = ""; });
for (const name of ["safe", "fold"]) $(name).addEventListener("change", () => search({ [name]: $(name).checked }));
$("more").addEventListener("click", () => search({ k: Math.min(MOST, state.k + STEP) }));
$("export").addEventListener("click", take);
addEventListener("popstate", () => { read(); facets(); search({}, false); });
addEventListener("paste", (event) => upload([...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"))));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => { event.preventDefault(); upload(event.dataTransfer.files[0]); });
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target.matches("#q, #not")) return event.preventDefault(), event.target.blur();
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, dialog")) return;
  const cards = [...$("results").querySelectorAll("button")], place = cards.indexOf(document.activeElement);
  const across = cards.filter((one) => one.offsetTop === cards[0].offsetTop).length;
  const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
  if (event.key === "/") $("q").select();
  else if (move && cards.length && (place >= 0 || event.key === "ArrowDown")) cards[place < 0 ? 0 : Math.max(0, Math.min(cards.length - 1, place + move))].focus();
  else return;
  event.preventDefault();
});

(async () => {
  about = await (await fetch("/api/about")).json();
  [document.title, $("name").textContent, $("safe").disabled] = [`${about.name}: search pairs`, about.name, !about.safe.columns.length];
  if ($("safe").disabled) $("safe").parentElement.append(" (nothing is tagged)");
  $("narrow").open = matchMedia("(min-width: 68rem)").matches;
  read();
  facets();
  await search({}, false);
  document.documentElement.dataset.ready = "true";
})();
