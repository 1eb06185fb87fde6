// Native dialogs: opened and closed by what the markup says, and the question before anything that can't be undone.

import { $, request, toast } from "./dom.js";

export function open(id) {
  const dialog = document.getElementById(id);
  if (!dialog || dialog.open) return;
  // What was chosen in the menu is hidden with it: the focus comes back to what opened the menu.
  if ($("#me-menu").contains(document.activeElement)) $("#me-button").focus();
  closeMenus();
  dialog.showModal();
  dialog.dispatchEvent(new CustomEvent("ruh:opened"));
}

document.addEventListener("click", (event) => {
  const target = event.target;
  const opener = target.closest?.("[data-opens]");
  if (opener) return open(opener.dataset.opens);
  if (target.closest?.("[data-closes]")) return target.closest("dialog").close();
  if (target instanceof HTMLDialogElement && outside(target, event)) target.close();
});

function outside(dialog, { clientX, clientY }) {
  const box = dialog.getBoundingClientRect();
  return clientX < box.left || clientX > box.right || clientY < box.top || clientY > box.bottom;
}

/** Asks with a verb as the button; resolves to true when it was pressed. `calm`: nothing is lost by it. */
export function confirm({ title, words, verb, calm = false }) {
  const dialog = $("#confirm-dialog");
  $("#confirm-title").textContent = title;
  $("#confirm-words").textContent = words;
  const button = $("#confirm-button");
  button.textContent = verb;
  button.classList.toggle("is-warn", !calm);
  button.classList.toggle("is-primary", calm);
  return new Promise((decide) => {
    const yes = () => {
      dialog.returnValue = "yes";
      dialog.close("yes");
    };
    dialog.returnValue = "";
    button.addEventListener("click", yes, { once: true });
    dialog.addEventListener(
      "close",
      () => {
        button.removeEventListener("click", yes);
        decide(dialog.returnValue === "yes");
      },
      { once: true },
    );
    dialog.showModal();
  });
}

async function act(url, then) {
  try {
    const response = await request(url, { body: {} });
    const html = await response.text();
    if (response.ok) then(html);
    else if (response.status !== 401) toast(html.trim());
  } catch {
    toast("There is no connection at the moment. Please try again.");
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-delete]");
  if (!button) return;
  const yes = await confirm({
    title: "Delete this message?",
    words: "It disappears for the client, on their devices too as soon as these are online. Here it stays marked as deleted.",
    verb: "Delete message",
  });
  if (!yes) return;
  const line = button.closest(".message");
  await act(button.dataset.delete, (html) => htmx.swap({ text: html, target: line, swap: "outerHTML", sourceElement: line }));
  document.dispatchEvent(new CustomEvent("ruh:changed"));
});

/** The one menu, behind "You". */
function closeMenus() {
  const button = $("#me-button");
  button.setAttribute("aria-expanded", "false");
  $("#me-menu").hidden = true;
}

document.addEventListener("click", (event) => {
  const button = $("#me-button");
  const menu = $("#me-menu");
  if (button.contains(event.target)) {
    const opening = menu.hidden;
    closeMenus();
    if (opening) {
      menu.hidden = false;
      button.setAttribute("aria-expanded", "true");
      menu.querySelector("button").focus();
    }
  } else if (!menu.contains(event.target)) closeMenus();
});

/** Closes what lies on top; true when there was something. Dialogs close themselves. */
export function closeTop() {
  const details = $("#details");
  if (!$("#me-menu").hidden) {
    closeMenus();
    $("#me-button").focus();
    return true;
  }
  if (details && !details.hidden && matchMedia("(max-width: 1199.98px)").matches) {
    showDetails(false);
    return true;
  }
  return false;
}

export function showDetails(on) {
  const details = $("#details");
  if (!details) return;
  details.hidden = !on;
  $("#details-button").setAttribute("aria-expanded", String(on));
  if (on) $("[data-close-details]").focus({ preventScroll: true });
  else $("#details-button").focus({ preventScroll: true });
  sessionStorage.setItem("ruh.details", on ? "1" : "");
}

document.addEventListener("click", (event) => {
  if (event.target.closest?.("#details-button")) showDetails($("#details").hidden);
  else if (event.target.closest?.("[data-close-details]")) showDetails(false);
  else if (event.target.classList?.contains("app")) showDetails(false);
});
