"use strict";
(() => {
  // Theme: the system's, until the reader chooses.
  const root = document.documentElement, toggle = document.getElementById("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { toggle.textContent = dark() ? "Light" : "Dark"; toggle.setAttribute("aria-label", `Switch to the ${dark() ? "light" : "dark"} theme`); };
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch (e) { /* storage is off */ }
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();

  // Tables: a button in each head sorts; numbers by their full digits, missing ones last.
  const key = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.sort !== undefined) return parseFloat(cell.dataset.sort);
    const text = cell.textContent.trim();
    return text === "–" || text === "" ? null : text.toLowerCase();
  };
  const order = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", {numeric: true});
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.textContent = "";
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].map((row) => [key(row, column), row]);
        const full = rows.filter(([k]) => k !== null), empty = rows.filter(([k]) => k === null);
        full.sort(([a], [b]) => down ? order(b, a) : order(a, b));
        body.append(...[...full, ...empty].map(([, row]) => row));
      });
    });
  }

  // Filters: by text everywhere, by verdict in the ledger.
  const filter = (table, tones) => {
    const box = document.createElement("div"), label = document.createElement("label"), input = document.createElement("input"), shown = document.createElement("span");
    box.className = "controls";
    input.type = "search";
    input.placeholder = "Filter rows";
    input.setAttribute("aria-label", "Filter rows by text");
    shown.setAttribute("role", "status");
    label.append(input);
    box.append(label);
    const pressed = new Set();
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((w) => text.includes(w)) || (pressed.size > 0 && !pressed.has(row.dataset.tone));
        count += row.hidden ? 0 : 1;
      }
      const all = table.tBodies[0].rows.length;
      shown.textContent = count === all ? "" : `${count} of ${all} rows`;
    };
    for (const [tone, text] of tones) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        if (!pressed.delete(tone)) pressed.add(tone);
        button.setAttribute("aria-pressed", String(pressed.has(tone)));
        apply();
      });
      box.append(button);
    }
    box.append(shown);
    input.addEventListener("input", apply);
    const place = table.closest(".scroll") || table;
    place.before(box);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const rows = table.tBodies[0].rows.length;
    if (table.classList.contains("filterable") && rows > 3) {
      const present = new Set([...table.tBodies[0].rows].map((r) => r.dataset.tone));
      const tones = [...document.querySelectorAll(".tile")].filter((t) => present.has(t.dataset.tone)).map((t) => [t.dataset.tone, t.querySelector("span").textContent]);
      filter(table, tones);
    } else if (rows > 12) filter(table, []);
  }

  // Printing shows what is folded.
  addEventListener("beforeprint", () => document.querySelectorAll("details:not(.settings)").forEach((d) => { d.open = true; }));
})();
