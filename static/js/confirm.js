// The second press: the confirm takes the focus on "keep", stands for 15 seconds, and Enter never sends it.
(() => {
  "use strict";
  const STANDS = 15000;
  let lastPressed = null;

  function arm(form) {
    if (form.dataset.armedAt) return;
    form.dataset.armedAt = String(Date.now());
    const keep = form.querySelector("[data-keep]");
    keep?.focus({ preventScroll: true, focusVisible: true });
    if (window.htmx) window.setTimeout(() => document.contains(form) && !form.dataset.sending && keep?.click(), STANDS);
  }

  document.addEventListener("keydown", (event) => {
    const form = event.target.closest?.("[data-confirm]");
    if (!form) return;
    if (event.key === "Enter") {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) form.requestSubmit();
      else form.querySelector("[data-keep]").click();
    } else if (event.key === "Escape") {
      form.querySelector("[data-keep]").click();
    }
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    form.dataset.sending = "1";
    const yes = form.querySelector("[data-yes]");
    // After the event: a button that is disabled inside it would not be sent.
    if (yes) window.setTimeout(() => (yes.textContent = "Sending …"));
  });

  // A link that plays a button also answers to the space bar.
  document.addEventListener("keydown", (event) => {
    if (event.key === " " && event.target.matches?.("a[role=button]")) {
      event.preventDefault();
      event.target.click();
    }
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    lastPressed = event.target.closest(".act")?.id ?? null;
  });

  const armAll = () => document.querySelectorAll("[data-confirm]").forEach(arm);
  document.addEventListener("htmx:afterSwap", armAll);

  document.addEventListener("htmx:afterSettle", () => {
    armAll();
    // Kept: the focus goes back to where the first press was.
    if (lastPressed && document.activeElement === document.body) {
      const place = document.getElementById(lastPressed);
      place?.querySelector("a, button")?.focus({ preventScroll: true });
    }
  });

  armAll();
})();
