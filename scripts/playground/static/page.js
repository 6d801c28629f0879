"use strict";
// The page: reads its fields, asks its own server, shows the answer. All text goes in as text; pictures are parsed as SVG.

const $ = (id) => document.getElementById(id);
const KEY = location.hash.slice(1);
const OPTIONS = ["temperature", "num_paraphrases", "candidates", "seed"];
const FIELDS = ["sent", "tmpl", "like", "tree", ...OPTIONS, "general"];
const TAGS = { moved: "mark", new: "ins", form: "em", missing: "del", "": "span" };
const SENTENCES = [
  "We will have a picnic tomorrow if it is sunny.",
  "Scientists have discovered a new planet.",
  "She didn't like the movie, but he loved it.",
  "The meeting was cancelled because of the storm.",
  "Can you send me the report before Friday?",
];
const LEAST = 0.72; // of its size that a tree is shrunk to; smaller could not be read, and it scrolls
const PAUSE = 350; // ms without a key before the tree is drawn again
let asking = null; // the request under way

class Refusal extends Error {
  constructor(message, field) { super(message); this.field = field; }
}

async function call(name, fields, signal) {
  let answer;
  try {
    answer = await fetch(`api/${name}`, {
      method: "POST", signal, body: JSON.stringify(fields),
      headers: { "Content-Type": "application/json", "X-Playground-Key": KEY },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The page’s own server has ended; start it again with `python -m scripts.playground`.", null);
  }
  const value = await answer.json();
  if (!answer.ok) throw new Refusal(value.error.message, value.error.field);
  return value;
}

function picture(place, svg) {
  const image = document.importNode(new DOMParser().parseFromString(svg, "image/svg+xml").documentElement, true);
  const width = Number(image.getAttribute("width"));
  image.style.maxWidth = `${width}px`;
  image.style.minWidth = `${width * LEAST}px`;
  const figure = place.closest("figure");
  if (figure) figure.style.flexBasis = `${width * LEAST}px`; // two beside each other where both fit
  place.replaceChildren(image);
}

function marked(place, pieces) {
  place.replaceChildren(...pieces.map(({ text, mark }) => {
    const piece = document.createElement(TAGS[mark] || "span");
    if (mark === "form") piece.className = "form";
    piece.textContent = text;
    return piece;
  }));
}

// Errors

function show(error) {
  if (error.name === "AbortError") return;
  if (!(error instanceof Refusal)) throw error;
  let field = (error.field || "general").split(".")[0];
  if (field === "parse" || (field === "tmpl" && way() === "tree")) field = "tree";
  const known = FIELDS.includes(field);
  const name = {
    sent: "Your sentence", like: "The example", tmpl: "The template", tree: "The tree", num_paraphrases: "The number of paraphrases",
    temperature: "The temperature", candidates: "The number of candidates", seed: "The seed",
  }[field];
  const place = $(`error-${known ? field : "general"}`);
  place.textContent = known && field !== "general" ? said(name, error.message) : error.field ? `${error.field}: ${error.message}` : sentence(error.message);
  if (OPTIONS.includes(field)) $("options").open = true;
  const input = $(field);
  if (input) input.setAttribute("aria-invalid", "true");
}

function said(name, message) {
  const verb = /^(is|has|must) /.test(message);
  return sentence(verb ? `${name || "It"} ${message}` : message);
}

function sentence(message) {
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.?!]$/.test(text) ? text : `${text}.`;
}

function forget() {
  for (const field of FIELDS) {
    $(`error-${field}`).textContent = "";
    if ($(field)) $(field).removeAttribute("aria-invalid");
  }
}

// What is asked

const way = () => document.querySelector("[name=way]:checked").value;

function fields() {
  const wanted = { sent: $("sent").value };
  if (way() === "tmpl") {
    const picked = document.querySelector("[name=tmpl]:checked").value;
    if (picked) wanted.tmpl = picked;
  } else {
    wanted[way()] = $(way()).value;
  }
  for (const name of OPTIONS) {
    const text = $(name).value.trim();
    if (text && !(name === "num_paraphrases" && text === "1")) wanted[name] = Number.isFinite(Number(text)) ? Number(text) : text;
  }
  return wanted;
}

async function ask(event) { // event: what the user did; none when the page opens
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  forget();
  $("result").classList.add("waiting");
  const started = Date.now();
  const clock = setInterval(() => { $("status").textContent = `Waiting for the model, ${Math.round((Date.now() - started) / 1000)} s …`; }, 1000);
  try {
    answered(await call("paraphrase", fields(), mine.signal));
    if (event && $("result").getBoundingClientRect().top > innerHeight * 0.7) $("result").scrollIntoView();
  } catch (error) {
    if (asking === mine) $("answers").hidden = true;
    show(error);
  } finally {
    clearInterval(clock);
    if (asking === mine) {
      asking = null;
      $("status").textContent = "";
      $("result").classList.remove("waiting");
    }
  }
}

function answered(value) {
  $("cards-of-answers").replaceChildren(...value.answers.map((answer, place) => article(answer, place === 0)));
  $("shell").textContent = value.shell;
  $("copied").textContent = "";
  $("answers").hidden = false;
  $("said").textContent = value.answers.map((answer) => `${answer.label}: ${answer.after.map((piece) => piece.text).join("")}`).join(" ");
}

function article(answer, first) {
  const card = $("answer").content.cloneNode(true);
  const find = (selector) => card.querySelector(selector);
  find("h2").textContent = answer.label;
  marked(find(".before"), answer.before);
  marked(find(".after"), answer.after);
  find(".summary").textContent = answer.summary;
  find(".moves").textContent = [answer.moves, ...answer.notes].join(" ");
  find("details").open = first;
  picture(find(".target .tree"), answer.svg);
  find("[data-edit=target]").onclick = () => edit(answer.parse);
  if (answer.source) {
    picture(find(".source .tree"), answer.source.svg);
    find("[data-edit=parse]").onclick = () => edit(answer.source.parse);
    find("[data-edit=template]").onclick = () => edit(answer.source.template);
  } else {
    find(".source").remove();
  }
  return card;
}

// The forms

function choose(name) {
  document.querySelector(`[name=way][value=${name}]`).checked = true;
  for (const each of ["tmpl", "like", "tree"]) $(`way-${each}`).hidden = each !== name;
  forget();
}

function edit(tree) {
  $("tree").value = tree;
  choose("tree");
  draw();
  $("tree").focus();
}

async function draw() {
  if (!$("tree").value.trim()) return;
  const text = $("tree").value;
  try {
    const drawn = await call("tree", { tree: text });
    if ($("tree").value !== text) return; // an older picture
    forget();
    picture($("tree-picture"), drawn.svg);
    $("tree-said").textContent = drawn.said;
  } catch (error) {
    $("tree-said").textContent = "";
    $("tree-picture").replaceChildren();
    show(error);
  }
}

function later(run) {
  let timer;
  return (event) => { clearTimeout(timer); timer = setTimeout(() => run(event), PAUSE); };
}

function cards(templates) {
  $("cards").replaceChildren(...templates.map((template) => {
    const card = $("card").content.cloneNode(true);
    const input = card.querySelector("input");
    input.value = template.name;
    input.checked = template.name === "clause_first";
    card.querySelector(".name").textContent = template.title;
    card.querySelector(".example").textContent = template.example;
    card.querySelector(".picture").replaceChildren(document.importNode(new DOMParser().parseFromString(template.svg, "image/svg+xml").documentElement, true));
    return card;
  }), $("all").content.cloneNode(true));
}

async function copy() {
  try {
    await navigator.clipboard.writeText($("shell").textContent);
    $("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren($("shell"));
    $("copied").textContent = "Press Ctrl+C to copy what is marked.";
  }
}

async function open() {
  $("form").addEventListener("submit", (event) => { event.preventDefault(); ask(event); });
  for (const name of ["sent", "tree"]) {
    $(name).addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing && (name === "sent" ? !event.shiftKey : event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        ask(event);
      }
    });
  }
  const soon = later(ask);
  document.querySelectorAll("[name=way]").forEach((input) => input.addEventListener("change", () => choose(input.value)));
  $("way-tmpl").addEventListener("change", soon);
  $("tree").addEventListener("input", later(draw));
  $("copy").addEventListener("click", copy);
  $("another").addEventListener("click", () => {
    $("sent").value = SENTENCES[(SENTENCES.indexOf($("sent").value) + 1) % SENTENCES.length];
    ask(true);
  });
  try {
    const opening = await call("opening", {});
    $("service").textContent = `Answers come from the ${opening.service}. Nothing is sent anywhere else.`;
    $("sent").value = opening.sentence;
    $("tree").value = opening.templates[0].tree;
    cards(opening.templates);
    draw();
    const strip = $("cards"), picked = strip.querySelector(":checked").parentElement;
    strip.scrollLeft = picked.offsetLeft - (strip.clientWidth - picked.offsetWidth) / 2; // where the cards are one row
    await ask();
  } catch (error) {
    show(error);
  }
}

open();
