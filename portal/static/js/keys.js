// The keys of the page. None of them while typing, except Esc and Ctrl+Enter.

import { $ } from "./dom.js";
import { archiveOpen } from "./asks.js";
import { stopReply } from "./composer.js";
import { closeTop, open } from "./dialogs.js";
import { step } from "./list.js";

const keys = {
  n: () => open("new-dialog"),
  "/": () => $("#search").focus(),
  j: () => step(1),
  k: () => step(-1),
  e: archiveOpen,
  u: () => step(1, true),
  "?": () => open("keys-dialog"),
};

const typing = (target) => target.closest?.("input, textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || $("dialog[open]")) return;
  if (event.key === "Escape") return escape(event);
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return save(event);
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

/** Ctrl+Enter in the form that edits a message; the composer has its own. */
function save(event) {
  const form = event.target.closest?.(".edit-form");
  if (!form) return;
  event.preventDefault();
  form.requestSubmit();
}

function escape(event) {
  const editing = event.target.closest?.("form")?.querySelector("[data-cancel-edit]");
  if (editing) return editing.click();
  const search = $("#search");
  if (event.target === search && search.value) {
    search.value = "";
    search.dispatchEvent(new Event("search", { bubbles: true }));
    return;
  }
  if (closeTop() || stopReply()) return;
  event.target.blur?.();
}
