// "New": whom one chooses decides what can be started. One client: their thread. Several: a community chat or
// a message blast. Colleagues only: a staff chat.

import { $ } from "./dom.js";
import { draftOf, keepDraft } from "./drafts.js";
import { Picker } from "./picker.js";
import { clear, named, post } from "./steps.js";

const DRAFT = "blast";
const dialog = () => $("#new-dialog");

function offer(picker) {
  const { clients, staff, only } = picker.summary;
  const start = $("#start-button");
  const several = clients > 1 || (clients > 0 && staff > 0);
  start.hidden = several;
  start.textContent = staff && !clients ? "Start Staff Chat" : "Start Conversation";
  start.disabled = (!clients && !staff) || Boolean(only?.whyNotAlone);
  $("#community-button").hidden = !several;
  $("#blast-button").hidden = !several || staff > 0;
  $("#new-note").textContent = note(only, several && staff > 0);
}

function note(only, mixed) {
  if (only?.whyNotAlone) return `${only.whyNotAlone} Choose somebody more for a community chat.`;
  return mixed ? "A message blast goes to clients only." : "";
}

function start(picker) {
  const { only, staff } = picker.summary;
  if (only?.kind === "client") return post(dialog(), "/chat/new", { person: only.id });
  if (staff) return post(dialog(), "/new/staff", { ...picker.fields, request_id: act() });
}

let acted = "";
const act = () => (acted ||= crypto.randomUUID());

/** Enter with everything chosen: what the one visible button does; with two, it is for the reader to say. */
function done() {
  const buttons = ["#start-button", "#community-button", "#blast-button"].map((id) => $(id)).filter((one) => !one.hidden);
  if (buttons.length === 1 && !buttons[0].disabled) buttons[0].click();
  else $("#community-button").focus();
}

export function enterNew() {
  if (!dialog()) return;
  const picker = new Picker($("[data-picker]", dialog()), { changed: offer, done });
  dialog().addEventListener("ruh:opened", () => {
    clear(dialog());
    acted = "";
    picker.reset();
  });
  $("#start-button").addEventListener("click", () => start(picker));
  $("#community-button").addEventListener("click", () => post(dialog(), "/new/community/preview", picker.fields));
  $("#blast-button").addEventListener("click", () => post(dialog(), "/new/blast", picker.fields));
}

/** The blast's words are kept like any draft, until they have been sent. */
document.addEventListener("ruh:step", (event) => {
  const form = $("[data-blast]", event.target);
  if (!form) return;
  const text = $("textarea", form);
  text.value = draftOf(DRAFT).text;
  text.addEventListener("input", () => {
    keepDraft(DRAFT, text.value);
    count(form);
  });
  form.addEventListener("click", (click) => {
    const line = click.target.closest("[data-take-out]")?.closest("li");
    if (!line) return;
    const next = line.nextElementSibling ?? line.previousElementSibling;
    line.remove();
    count(form);
    (next ? $("button", next) : text).focus();
  });
  count(form);
});

document.addEventListener("ruh:done", (event) => {
  if ($("[data-sends-blast]", event.target)) keepDraft(DRAFT, "");
});

function count(form) {
  const people = named(form).length;
  $("#blast-count").textContent = people === 1 ? "1 client gets it" : `${people} clients get it`;
  $("[type=submit]", form).disabled = !people;
  const limit = Number(form.dataset.limit);
  const left = limit - [...$("textarea", form).value.trim()].length;
  $("#blast-left").textContent =
    left > 300 ? "" : left >= 0 ? `${left.toLocaleString("en-GB")} characters left` : `${(-left).toLocaleString("en-GB")} too many`;
}
