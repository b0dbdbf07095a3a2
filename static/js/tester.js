// Ctrl Enter runs, wherever in the form one writes.
(() => {
  "use strict";
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    const form = event.target.closest?.(".flag-form");
    const run = form?.querySelector("[data-run]");
    if (!run) return;
    event.preventDefault();
    form.requestSubmit(run);
  });
})();
