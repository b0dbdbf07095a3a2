// The stream says which routes changed; this fetches the page's parts again and puts in those that differ.
// A part that is armed, has the focus or lies under the pointer waits: nothing moves that you did not move.
(() => {
  "use strict";
  const QUIET_MS = 20000; // two missed heartbeats of the stream
  const EVERY_MS = 10000; // figures move without a journal entry
  let source = null;
  let heardAt = Date.now();
  let seenAt = Date.now();
  let wanted = null;
  let busy = false;
  let again = false;
  let triedAt = 0;
  let told = {};
  let leaving = false; // a form or a link is on its way: its answer must not be overtaken by a reload

  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const clock = (ms) => new Date(ms).toISOString().slice(11, 19);

  function show(state) {
    const words = { live: "Live", wait: "Reconnecting", still: "As of" };
    for (const place of all("[data-live-state]")) {
      if (place.dataset.state !== state) {
        place.dataset.state = state;
        place.querySelector("[data-live-word]").textContent = words[state];
      }
      const time = place.querySelector("[data-live-time]");
      const shown = clock(state === "live" ? Date.now() : seenAt);
      if (time.textContent !== shown) time.textContent = shown;
    }
    const band = one("[data-reconnecting]");
    if (!band) return;
    band.hidden = state !== "wait";
    if (state === "wait") {
      const left = Math.max(1, Math.ceil((triedAt + 5000 - Date.now()) / 1000));
      const age = Math.round((Date.now() - seenAt) / 1000);
      band.querySelector("[data-reconnecting-words]").textContent =
        `You see ${clock(seenAt)}, ${age} s ago. Trying again in ${left} s.`;
    }
  }

  function connect() {
    source?.close();
    triedAt = Date.now();
    source = new EventSource("/live");
    source.onopen = () => {
      heardAt = Date.now();
      if (Date.now() - seenAt > 3000) refresh(); // something may have been missed
    };
    source.addEventListener("beat", () => {
      heardAt = Date.now();
    });
    source.addEventListener("changed", (event) => {
      heardAt = Date.now();
      refresh(JSON.parse(event.data).routes);
    });
  }

  function isHeld(part) {
    const waits = "[data-armed], [data-result], details[open], .htmx-request"; // the last: a press under way
    if (part.querySelector(waits) || part.matches("[data-armed]")) return true;
    if (part.contains(document.activeElement) && document.activeElement !== document.body) return true;
    return part.matches("[data-row]:hover");
  }

  function put(part, fresh) {
    if (part.dataset.chart !== undefined && window.changeoverCharts) window.changeoverCharts.forget(part);
    const next = document.importNode(fresh, true);
    part.replaceWith(next);
    window.htmx?.process(next);
    if (next.matches("[data-row]")) {
      next.classList.add("has-changed");
      window.setTimeout(() => next.classList.remove("has-changed"), 1000);
    }
    next.dispatchEvent(new CustomEvent("part:fresh", { bubbles: true }));
  }

  // Tokens are new in every answer; they are no change.
  const plain = (html) => html.replace(/(name="(?:csrfmiddlewaretoken|idempotency_key)" value=")[^"]*/g, "$1");

  // Puts in what differs. What is held waits here until pointer and focus have left.
  function patch() {
    if (!wanted) return;
    for (const part of all("[data-part]")) {
      const fresh = wanted.getElementById(part.id);
      if (!fresh) continue;
      const html = plain(fresh.outerHTML);
      if (told[part.id] === html || isHeld(part)) continue;
      if ((told[part.id] ?? plain(part.outerHTML)) !== html) put(part, fresh);
      told[part.id] = html;
    }
  }

  // The order stands still while somebody looks; a press sorts again.
  function resort() {
    const rows = all("[data-row]");
    if (!rows.length) return;
    const here = rows.map((row) => row.id).join();
    const there = [...wanted.querySelectorAll("[data-row]")].map((row) => row.id).join();
    const place = one("[data-resort]");
    if (place) place.hidden = here === there;
  }

  let announcedAt = 0;
  let lastWords = "";
  function announce() {
    const words = wanted.querySelector("[data-summary]")?.textContent.trim() ?? "";
    if (words && lastWords && words !== lastWords && Date.now() - announcedAt > 10000) {
      one("[data-announce]").textContent = words;
      announcedAt = Date.now();
    }
    if (words) lastWords = words;
  }

  window.addEventListener("beforeunload", () => {
    leaving = true;
    window.setTimeout(() => (leaving = false), 10000); // it may have been a download
  });

  async function refresh(routes) {
    if (!one("[data-part]")) return;
    const only = document.body.querySelector("[data-about]")?.dataset.about;
    if (routes && only && !routes.includes(only) && !routes.includes("*")) return;
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Live": "1" }, credentials: "same-origin" });
      if (leaving) return;
      if (answer.redirected && new URL(answer.url).pathname !== location.pathname) return location.reload();
      if (!answer.ok) return;
      wanted = new DOMParser().parseFromString(await answer.text(), "text/html");
      seenAt = Date.now();
      patch();
      announce();
      resort();
      document.title = wanted.title || document.title;
    } catch {
      /* the band says it */
    } finally {
      busy = false;
      if (again) {
        again = false;
        window.setTimeout(refresh, 300);
      }
    }
  }

  function tick() {
    if (document.hidden) return;
    const dead = !source || source.readyState === EventSource.CLOSED || Date.now() - heardAt > QUIET_MS;
    if (dead && Date.now() - triedAt > 5000) connect();
    const isLive = source?.readyState === EventSource.OPEN && Date.now() - heardAt <= QUIET_MS;
    show(isLive ? "live" : Date.now() - loadedAt < 2500 ? "still" : "wait");
    patch();
  }

  const loadedAt = Date.now();
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-try-now]")) connect();
    if (event.target.closest("[data-resort-now]")) location.reload();
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else {
      connect();
    }
  });
  // An act has been done here: the rest of the page shows it at once.
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.requestConfig?.verb === "post" && event.detail.successful) window.setTimeout(refresh, 50);
  });
  window.addEventListener("pagehide", () => source?.close());

  if (one("[data-part]")) {
    connect();
    window.setInterval(tick, 500);
    window.setInterval(() => !document.hidden && refresh(), EVERY_MS);
  }
})();
