// Choosing people: search by name or scroll, a click selects, chips show the selection. A group's chip stands
// for its members; each of them can be taken out again. The search field keeps the focus; arrow keys move
// through the people, Enter selects.

import { $, $$ } from "./dom.js";

const ALL = "all";

export class Picker {
  #root;
  #changed;
  #people = new Map();
  #packs = new Map();
  #without = new Set();
  #active = null;

  /** `changed`: called after every change of the selection; `done`: Ctrl+Enter, or Enter with nothing to choose. */
  constructor(root, { changed, done }) {
    this.#root = root;
    this.#changed = changed;
    this.#list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.#toggle(option);
    });
    this.#list.addEventListener("htmx:after:swap", () => {
      this.#point(null);
      this.#show();
    });
    this.#field.addEventListener("keydown", (event) => this.#pressed(event, done));
  }

  get #field() {
    return $("input[type=search]", this.#root);
  }

  get #list() {
    return $(".people", this.#root);
  }

  /** Nobody chosen, everybody to choose from. */
  reset() {
    this.#field.value = "";
    this.#people.clear();
    this.#packs.clear();
    this.#without.clear();
    this.#list.replaceChildren();
    this.#field.dispatchEvent(new CustomEvent("people"));
    this.#show();
    this.#field.focus();
  }

  focus() {
    this.#field.focus();
  }

  /** How many of each kind; `only`: the one who is chosen, where it is one. */
  get summary() {
    const all = this.#packs.has(ALL) ? this.#countOf(ALL) : 0;
    const listed = this.#listed();
    const staff = [...this.#people.values()].filter((person) => person.kind === "staff").length;
    const beyond = [...listed].filter((id) => this.#people.get(id)?.kind !== "staff");
    const clients = all ? Math.max(all, beyond.length) : beyond.length;
    const only = clients + staff === 1 && !all ? this.#people.get([...listed][0]) ?? null : null;
    return { clients, staff, only };
  }

  /** The selection as a form's fields. */
  get fields() {
    const all = this.#packs.has(ALL);
    return {
      people: [...this.#listed()].join(","),
      all: all ? "1" : "",
      without: all ? [...this.#without].join(",") : "",
    };
  }

  #listed() {
    const listed = new Set(this.#people.keys());
    for (const pack of this.#packs.values()) pack.members.forEach((id) => listed.add(id));
    this.#without.forEach((id) => listed.delete(id));
    return listed;
  }

  #covered(option) {
    const { person, kind, whyNotAlone } = option.dataset;
    const inAll = this.#packs.has(ALL) && kind === "client" && !whyNotAlone;
    return inAll || [...this.#packs.values()].some((pack) => pack.members.has(person));
  }

  #countOf(id) {
    const pack = this.#packs.get(id);
    if (id === ALL) return pack.count - this.#without.size;
    return [...pack.members].filter((member) => !this.#without.has(member)).length;
  }

  #toggle(option) {
    if (option.getAttribute("aria-disabled") === "true") return;
    if (option.dataset.pack) this.#togglePack(option.dataset);
    else this.#togglePerson(option);
    this.#show();
    this.#field.focus();
  }

  #togglePerson(option) {
    const { person: id, name, kind, whyNotAlone = "" } = option.dataset;
    const covered = this.#covered(option);
    if (option.getAttribute("aria-selected") === "true") {
      this.#people.delete(id);
      if (covered) this.#without.add(id);
    } else {
      this.#without.delete(id);
      if (!covered) this.#people.set(id, { id, name, kind, whyNotAlone });
    }
  }

  #togglePack({ pack: id, name, count, members }) {
    if (this.#packs.has(id)) return this.#dropPack(id);
    const list = members ? members.split(",") : [];
    list.forEach((member) => this.#without.delete(member));
    if (id === ALL) this.#without.clear();
    this.#packs.set(id, { name, count: Number(count), members: new Set(list) });
  }

  #dropPack(id) {
    this.#packs.delete(id);
    if (!this.#packs.size) this.#without.clear();
  }

  #show() {
    for (const id of [...this.#packs.keys()]) if (this.#countOf(id) < 1) this.#dropPack(id);
    for (const option of $$("[role=option]", this.#list)) {
      const { pack, person } = option.dataset;
      const chosen = pack
        ? this.#packs.has(pack)
        : person && (this.#people.has(person) || this.#covered(option)) && !this.#without.has(person);
      option.setAttribute("aria-selected", String(Boolean(chosen)));
    }
    const packs = [...this.#packs].map(([id, { name }]) => this.#chip(`${name} (${this.#countOf(id)})`, () => this.#dropPack(id)));
    const people = [...this.#people.values()].map(({ id, name }) => this.#chip(name, () => this.#people.delete(id)));
    const chips = $(".chips", this.#root);
    chips.replaceChildren(...packs, ...people);
    chips.scrollTop = chips.scrollHeight;
    this.#changed(this);
  }

  #chip(words, drop) {
    const chip = document.createElement("span");
    chip.className = "chip";
    chip.role = "listitem";
    const name = document.createElement("span");
    name.dir = "auto";
    name.textContent = words;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "icon-button";
    button.ariaLabel = `Remove ${words}`;
    button.textContent = "✕";
    button.addEventListener("click", () => {
      drop();
      this.#show();
      this.#field.focus();
    });
    chip.append(name, button);
    return chip;
  }

  #point(option) {
    this.#active?.classList.remove("is-active");
    this.#active = option ?? null;
    if (!this.#active) return this.#field.removeAttribute("aria-activedescendant");
    this.#active.classList.add("is-active");
    this.#active.scrollIntoView({ block: "nearest" });
    this.#field.setAttribute("aria-activedescendant", this.#active.id);
  }

  #pressed(event, done) {
    const all = $$("[role=option]:not([aria-disabled='true'])", this.#list);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const at = all.indexOf(this.#active);
      this.#point(all[Math.min(Math.max(at + (event.key === "ArrowDown" ? 1 : -1), 0), all.length - 1)]);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) done();
      else if (this.#active) this.#toggle(this.#active);
      else if (this.#people.size || this.#packs.size) done();
      else if (all.length === 1) this.#toggle(all[0]);
    } else if (event.key === "Backspace" && !this.#field.value) {
      $$(".chip button", this.#root).at(-1)?.click();
    }
  }
}
