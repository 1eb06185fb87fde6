// Questions that the server words: what will happen, in numbers, before it happens. And what needs no question
// because it can be taken back: archiving.

import { $, $$, request, toast } from "./dom.js";
import { Picker } from "./picker.js";
import { clear, post, push } from "./steps.js";
import { openConversation } from "./timeline.js";

const dialog = () => $("#ask-dialog");

async function ask(url) {
  const opener = document.activeElement;
  try {
    const answer = await request(url);
    const html = await answer.text();
    if (!answer.ok) return answer.status === 401 || toast(html.trim());
    clear(dialog(), 0);
    dialog().showModal();
    dialog().addEventListener("close", () => setTimeout(() => keepFocus(opener)), { once: true });
    push(dialog(), html);
  } catch {
    toast("There is no connection at the moment. Please try again.");
  }
}

/** What was asked about may be gone by now, and the button with it: then the focus stays near. */
function keepFocus(opener) {
  if (opener?.isConnected && opener.checkVisibility()) return opener.focus({ preventScroll: true });
  if (document.activeElement && document.activeElement !== document.body) return;
  ($("#details:not([hidden]) [data-close-details]") ?? $("#message-box") ?? $("#details-button") ?? $("#main"))?.focus({ preventScroll: true });
}

/** Posts; resolves to whether it was done. Words of a refusal are shown. */
export async function act(url, body = {}) {
  try {
    const answer = await request(url, { body });
    if (answer.ok) return true;
    if (answer.status !== 401) toast((await answer.text()).trim());
  } catch {
    toast("There is no connection at the moment. Please try again.");
  }
  return false;
}

/** Puts a conversation away, or takes it back; either can be undone for a while. */
export async function archive(url, away) {
  if (!(await act(url, { away: away ? "1" : "0" }))) return;
  if (away) toast("Archived. A new message brings it back.", { verb: "Undo", act: () => archive(url, false) });
  else toast("It is among your conversations again.");
}

/** The key for it: what is open goes away, or comes back. */
export function archiveOpen() {
  const button = $("#talk-tools [data-archive], .blast-tools [data-archive]");
  if (button) archive(button.dataset.archive, button.dataset.away === "1");
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button");
  if (!button) return;
  const { asks, archive: address, away, invite, name } = button.dataset;
  if (asks) ask(asks);
  else if (address) archive(address, away === "1");
  else if (invite && (await act(invite))) toast(`${name} has been invited again.`);
});

document.addEventListener("ruh:step", (event) => {
  const step = event.target.closest("[data-adds]");
  if (!step) return;
  const button = $("[data-add-chosen]", step);
  const go = () => post(dialog(), step.dataset.adds, picker.fields);
  const picker = new Picker($("[data-picker]", step), {
    changed: ({ summary }) => (button.disabled = !summary.clients && !summary.staff),
    done: () => button.disabled || go(),
  });
  picker.reset();
  button.addEventListener("click", go);
});

/** Only the members whose name has what is written; the list itself may change meanwhile. */
function filterMembers() {
  const wanted = ($("#member-search")?.value ?? "").trim().toLocaleLowerCase();
  for (const line of $$("#members .member")) {
    line.hidden = !$("strong", line).textContent.toLocaleLowerCase().includes(wanted);
  }
}

document.addEventListener("input", (event) => event.target.id === "member-search" && filterMembers());
document.addEventListener("ruh:part", (event) => event.detail === "members" && filterMembers());
