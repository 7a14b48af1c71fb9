// What makes the page smoother than plain links and forms. Text from the service only ever becomes
// text nodes; nothing here builds markup from strings.

const user = document.body.dataset.user;

function keepVisitorInAddress() {
  const here = new URL(location.href);
  if (!document.querySelector(".picker")) return; // a cookie says who it is
  if (here.pathname === "/" && user && !here.searchParams.has("user")) {
    here.searchParams.set("user", user);
    history.replaceState(null, "", here);
  }
}

function eventOf(link, action) {
  const { item, surface, request, position, query, propensity } = link.dataset;
  const event = { user_id: user, item_id: item, action, surface };
  if (request) {
    event.request_id = request;
    event.position = Number(position);
  }
  if (query) event.query = query;
  if (propensity) event.propensity = Number(propensity);
  return event;
}

function send(events) {
  const body = new Blob([JSON.stringify(events)], { type: "application/json" });
  return navigator.sendBeacon("/v1/events", body);
}

function sendClick(link) {
  send([eventOf(link, "click")]);
}

function followClicks() {
  const onClick = (click) => {
    const link = click.target.closest("a[data-click]");
    if (link && click.button < 2) sendClick(link);
  };
  document.addEventListener("click", onClick);
  document.addEventListener("auxclick", onClick);
}

// A card is shown once half of it has been in view for a second; what is chosen and what is not can
// only be told apart where it is known what was shown. Each card is told once, a few at a time.
class Shown {
  constructor() {
    Object.assign(this, { timers: new Map(), waiting: [], sending: 0 });
    const look = (entries) => entries.forEach((entry) => this.look(entry));
    this.observer = new IntersectionObserver(look, { threshold: 0.5 });
    this.watch(document);
    document.addEventListener("htmx:load", ({ detail }) => this.watch(detail.elt));
    document.addEventListener("visibilitychange", () => document.hidden && this.leave());
    addEventListener("pagehide", () => this.leave());
  }

  watch(part) {
    const links = "a[data-click][data-request]:not([data-request=''])";
    for (const link of part.querySelectorAll(links)) this.observer.observe(link);
  }

  look({ target, isIntersecting }) {
    clearTimeout(this.timers.get(target));
    this.timers.delete(target);
    if (isIntersecting) this.timers.set(target, setTimeout(() => this.note(target), 1000));
  }

  note(link) {
    this.observer.unobserve(link);
    this.timers.delete(link);
    this.waiting.push(eventOf(link, "impression"));
    clearTimeout(this.sending);
    if (this.waiting.length >= 20) this.send();
    else this.sending = setTimeout(() => this.send(), 500);
  }

  // What is in view when the page is left counts from the start if somebody comes back to it.
  leave() {
    for (const [link, timer] of this.timers) {
      clearTimeout(timer);
      this.observer.unobserve(link);
      this.observer.observe(link);
    }
    this.timers.clear();
    this.send();
  }

  send() {
    clearTimeout(this.sending);
    const events = this.waiting.splice(0, 20);
    if (events.length && !send(events)) this.waiting.unshift(...events);
  }
}

// A search that finds nothing has no card that could tell of it, so the page tells it by itself.
function tellFailedSearch() {
  const failed = document.querySelector("[data-failed-request]");
  if (!failed) return;
  const { failedRequest, query } = failed.dataset;
  const search = { user_id: user, item_id: "", action: "impression", surface: "search" };
  send([{ ...search, request_id: failedRequest, query }]);
}

function showLikes() {
  document.addEventListener("htmx:beforeRequest", ({ target }) => {
    const button = target.matches?.("form.like") && target.querySelector("button");
    if (button) button.setAttribute("aria-pressed", "true");
  });
  document.addEventListener("htmx:responseError", ({ target }) => {
    const button = target.matches?.("form.like") && target.querySelector("button");
    if (button) button.setAttribute("aria-pressed", "false");
    say("That did not work. Please try again.");
  });
  document.addEventListener("htmx:sendError", () => say("The service cannot be reached."));
}

let silence = 0;
function say(text) {
  const live = document.getElementById("live");
  if (text) live.textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => (live.textContent = ""), 6000);
}

function afterSwaps() {
  const dialog = document.getElementById("why");
  document.addEventListener("htmx:afterSwap", ({ target }) => {
    if (target.id === "why-body") {
      if (!dialog.open) dialog.showModal();
      dialog.scrollTop = 0;
      document.getElementById("why-title")?.focus({ preventScroll: true });
    } else if (target.id === "live") {
      say("");
    } else if (target.id === "feed" && document.activeElement === document.body) {
      document.getElementById("for-you")?.focus({ preventScroll: true });
    }
  });
  dialog.addEventListener("click", (click) => {
    if (click.target === dialog) dialog.close();
  });
  addEventListener("pageshow", ({ persisted }) => {
    if (persisted) document.body.dispatchEvent(new Event("history-changed"));
  });
}

function pickUsers() {
  const picker = document.querySelector(".picker");
  if (!picker) return;
  const filter = picker.querySelector("input[name=user]");
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const row of picker.querySelectorAll(".picker-list li")) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
    }
  });
  document.addEventListener("click", ({ target }) => {
    if (picker.open && !picker.contains(target)) picker.open = false;
  });
  picker.addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && picker.open) {
      picker.open = false;
      picker.querySelector("summary").focus();
    }
  });
}

class Suggestions {
  constructor(input, list) {
    Object.assign(this, { input, list, active: -1, found: [], typed: input.value, waiting: 0 });
    input.addEventListener("input", () => this.type());
    input.addEventListener("keydown", (key) => this.press(key));
    input.addEventListener("blur", () => this.close());
    list.addEventListener("pointerdown", (press) => press.preventDefault());
    list.addEventListener("click", ({ target }) => {
      const row = target.closest("[role=option]");
      if (row) this.go(Number(row.dataset.row));
    });
  }

  type() {
    this.typed = this.input.value;
    clearTimeout(this.waiting);
    this.asked?.abort();
    if (!this.typed.trim()) return this.close();
    this.waiting = setTimeout(() => this.ask(), 80);
  }

  async ask() {
    this.asked = new AbortController();
    const query = new URLSearchParams({ q: this.typed, user_id: user });
    try {
      const answer = await fetch(`/v1/suggest?${query}`, { signal: this.asked.signal });
      if (answer.ok) this.show((await answer.json()).suggestions);
    } catch (error) {
      if (error.name !== "AbortError") this.close();
    }
  }

  show(found) {
    this.found = found;
    this.active = -1;
    this.list.replaceChildren(...found.map((one, row) => this.option(one, row)));
    this.list.hidden = !found.length || document.activeElement !== this.input;
    this.input.setAttribute("aria-expanded", String(!this.list.hidden));
    this.input.removeAttribute("aria-activedescendant");
  }

  option(one, row) {
    const kinds = { attribute: "Theme", phrase: "Theme", spelling: "Did you mean" };
    const option = document.createElement("li");
    option.id = `suggestion-${row}`;
    option.dataset.row = row;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    for (const text of [one.text, kinds[one.kind] ?? ""]) {
      const part = document.createElement("span");
      part.textContent = text;
      option.append(part);
    }
    return option;
  }

  press(key) {
    const open = !this.list.hidden;
    if (key.key === "ArrowDown" || key.key === "ArrowUp") {
      if (!open) return this.found.length ? this.show(this.found) : undefined;
      key.preventDefault();
      const places = this.found.length + 1;
      const step = key.key === "ArrowDown" ? 1 : places - 1;
      this.mark(((this.active + 1 + step) % places) - 1);
    } else if (key.key === "Enter" && open && this.active >= 0) {
      key.preventDefault();
      this.go(this.active);
    } else if (key.key === "Escape" && open) {
      key.preventDefault();
      this.input.value = this.typed;
      this.close();
    }
  }

  mark(row) {
    this.active = row;
    for (const [at, option] of [...this.list.children].entries()) {
      option.setAttribute("aria-selected", String(at === row));
    }
    this.input.value = row < 0 ? this.typed : this.found[row].text;
    if (row < 0) this.input.removeAttribute("aria-activedescendant");
    else this.input.setAttribute("aria-activedescendant", `suggestion-${row}`);
  }

  go(row) {
    const one = this.found[row];
    this.input.value = one.text;
    this.close();
    if (one.kind === "title" && one.item_id) {
      sendClick({ dataset: { item: one.item_id, surface: "suggest", query: this.typed } });
      this.open(one, "");
    } else if (one.kind === "like" && one.item_id) {
      this.open(one, "#similar");
    } else {
      this.input.form.requestSubmit();
    }
  }

  open(one, place) {
    const address = `/items/${encodeURIComponent(one.item_id)}?${new URLSearchParams({ user })}`;
    location.assign(address + place);
  }

  close() {
    clearTimeout(this.waiting);
    this.list.hidden = true;
    this.active = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }
}

keepVisitorInAddress();
followClicks();
new Shown();
tellFailedSearch();
showLikes();
afterSwaps();
pickUsers();
new Suggestions(document.getElementById("q"), document.getElementById("suggestions"));
