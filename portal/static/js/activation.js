// Behind an activation link: strength in words, showing what one types, waiting, copying.
// The page works without any of it; htmx would be fifty times its size, on a phone, for one page.

const words = document.querySelector("[data-strength]");
const field = document.querySelector("#password");

if (field) {
  const show = document.querySelector("[data-show]");
  show.hidden = false;
  show.addEventListener("click", () => {
    const visible = field.type === "password";
    field.type = visible ? "text" : "password";
    show.setAttribute("aria-pressed", visible);
    show.textContent = visible ? "Hide" : "Show";
    field.focus();
  });

  let pause, asked = 0;
  field.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(weigh, 300);
  });

  const weigh = async () => {
    const mine = ++asked;
    if (!field.value) return void (words.textContent = "");
    try {
      const body = new URLSearchParams({ password: field.value });
      const answer = await fetch(`${location.pathname}/strength`, { method: "POST", body });
      if (answer.ok && mine === asked) words.textContent = await answer.text();
    } catch {
      // Not reachable for a moment: the form says it when it is sent.
    }
  };

  document.querySelector("[data-activation]").addEventListener("submit", (event) => {
    const button = event.target.querySelector("[type=submit]");
    field.type = "password";
    // Twice would be refused as used; after the form's data has been taken.
    setTimeout(() => (button.disabled = true));
  });
  addEventListener("pageshow", () => {
    document.querySelector("[data-activation] [type=submit]").disabled = false;
  });
}

async function wait(seconds) {
  await new Promise((done) => setTimeout(done, seconds * 1000));
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelector("[data-waiting]");
    if (!next && answer.status < 500) return location.reload();
    const now = document.querySelector("[data-waiting]");
    // Only a change is put in, so that a screen reader says it once.
    if (next && next.innerHTML !== now.innerHTML) now.innerHTML = next.innerHTML;
  } catch {
    // Offline: we go on asking.
  }
  return wait(Math.min(seconds * 1.3, 5));
}

if (document.querySelector("[data-waiting]")) wait(0.7);

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("[data-value]").textContent);
    const word = button.querySelector("[data-word]");
    word.textContent = "Copied";
    setTimeout(() => (word.textContent = "Copy"), 2000);
  });
}
