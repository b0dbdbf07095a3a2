// j/k walk the board, Enter opens, letters press what is marked with them. No key confirms anything.
(() => {
  "use strict";
  const rows = () => [...document.querySelectorAll("[data-row]")];

  function walk(step) {
    const list = rows();
    if (!list.length) return;
    const at = list.findIndex((row) => row.contains(document.activeElement));
    const next = list[Math.min(Math.max(at + step, 0), list.length - 1)];
    next.querySelector("a.row-link")?.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [data-confirm]")) return;
    if (event.key === "j") return walk(1);
    if (event.key === "k") return walk(-1);
    const row = event.target.closest("[data-row]");
    const press = (row ?? document).querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (press) {
      event.preventDefault();
      press.click();
    }
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.replace(/\s+/g, " ").trim());
    const words = button.querySelector("span");
    const before = words.textContent;
    words.textContent = "Copied";
    window.setTimeout(() => (words.textContent = before), 1500);
  });
})();
