// A blast's page follows its blast: what has changed is fetched anew, at most twice a second.

import { $, request, toast } from "./dom.js";
import { confirm } from "./dialogs.js";
import { sayTimes } from "./times.js";

const EVERY = 500;
let waiting = false;

export const openBlast = () => $("#conversation")?.dataset.blast ?? null;

function put(html) {
  const here = $("#blast-progress");
  if (!here) return;
  htmx.swap({ text: html, target: here, swap: "outerMorph", sourceElement: here });
  sayTimes($("#blast-progress"));
}

async function refresh() {
  waiting = false;
  const blast = openBlast();
  if (!blast) return;
  try {
    const answer = await request(`/blasts/${blast}/progress`);
    if (answer.ok && blast === openBlast()) put(await answer.text());
  } catch {
    // The connection is away: its return asks again.
  }
}

document.addEventListener("ruh:blast", () => {
  if (!openBlast() || waiting) return;
  waiting = true;
  setTimeout(refresh, EVERY);
});

const people = (count) => (count === 1 ? "1 person" : `${count} people`);

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-stop-blast]");
  if (!button) return;
  const { got, count, left } = button.dataset;
  const yes = await confirm({
    title: "Stop this blast?",
    words: `It has gone to ${got} of ${people(Number(count))} by now, and they keep it. The other ${left} won’t get it.`,
    verb: "Stop blast",
  });
  if (!yes) return;
  try {
    const answer = await request(button.dataset.stopBlast, { body: {} });
    const text = await answer.text();
    if (answer.ok) put(text);
    else toast(text.trim());
  } catch {
    toast("There is no connection at the moment. Please try again.");
  }
});
