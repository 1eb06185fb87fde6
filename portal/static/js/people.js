// "New": search by name or scroll, a click selects, a chip shows the selection. The search field keeps the
// focus; arrow keys move through the people, Enter selects.

import { $, $$ } from "./dom.js";

const field = () => $("#people-search");
const options = () => $$("#people [data-person]:not([aria-disabled='true'])");
let chosen = null;
let active = null;

function point(option) {
  active?.classList.remove("is-active");
  active = option ?? null;
  if (!active) return field().removeAttribute("aria-activedescendant");
  active.classList.add("is-active");
  active.scrollIntoView({ block: "nearest" });
  field().setAttribute("aria-activedescendant", active.id);
}

function choose(person) {
  chosen = person;
  $("#new-person").value = person?.id ?? "";
  $("#start-button").disabled = !person;
  const chips = $("#chips");
  chips.replaceChildren();
  if (person) {
    const chip = document.createElement("span");
    chip.className = "chip";
    chip.role = "listitem";
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "icon-button";
    remove.ariaLabel = `Remove ${person.name}`;
    remove.textContent = "✕";
    remove.addEventListener("click", () => {
      choose(null);
      field().focus();
    });
    chip.append(person.name, remove);
    chips.append(chip);
  }
  showChosen();
}

function showChosen() {
  for (const option of $$("#people [data-person]")) {
    option.setAttribute("aria-selected", String(option.dataset.person === chosen?.id));
  }
}

function toggle(option) {
  if (option.getAttribute("aria-disabled") === "true") return;
  const { person: id, name } = option.dataset;
  choose(chosen?.id === id ? null : { id, name });
  field().focus();
}

export function enterPeople() {
  const dialog = $("#new-dialog");
  if (!dialog) return;
  dialog.addEventListener("ruh:opened", () => {
    field().value = "";
    choose(null);
    document.body.dispatchEvent(new CustomEvent("people"));
    field().focus();
  });
  $("#people").addEventListener("click", (event) => {
    const option = event.target.closest("[data-person]");
    if (option) toggle(option);
  });
  $("#people").addEventListener("htmx:after:swap", () => {
    point(null);
    showChosen();
  });
  field().addEventListener("keydown", (event) => {
    const all = options();
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const at = all.indexOf(active);
      point(all[Math.min(Math.max(at + (event.key === "ArrowDown" ? 1 : -1), 0), all.length - 1)]);
    } else if (event.key === "Enter" && !event.ctrlKey) {
      event.preventDefault();
      if (active) toggle(active);
      else if (chosen) $("#new-form").requestSubmit($("#start-button"));
      else if (all.length === 1) toggle(all[0]);
    } else if (event.key === "Enter" && chosen) $("#new-form").requestSubmit($("#start-button"));
    else if (event.key === "Backspace" && !field().value && chosen) choose(null);
  });
}
