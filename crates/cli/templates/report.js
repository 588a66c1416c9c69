
"use strict";
// Searches and filters. What is set stands in the address after #, so that it can be passed on.
(() => {
  const form = document.getElementById("filters");
  const fields = ["q", "user", "database", "state", "from", "to"].map((id) => document.getElementById(id));
  const rows = [...document.querySelectorAll("tr.access")].map((row) => ({ row, text: row.textContent.toLowerCase(), ...row.dataset }));
  const reaches = [...document.querySelectorAll("tr.reach")].map((row) => ({ row, text: row.textContent.toLowerCase(), ...row.dataset }));
  const bars = [...document.querySelectorAll("rect[data-id]")];
  const lanes = [...document.querySelectorAll("tr.lane")];
  const count = document.getElementById("count");

  const wanted = () => Object.fromEntries(fields.map((field) => [field.id, field.value]));

  const show = () => {
    const { q, user, database, state, from, to } = wanted();
    const words = q.toLowerCase().split(/\s+/).filter(Boolean);
    const place = (one) =>
      (!user || one.user === user) && (!database || one.database === database) && words.every((word) => one.text.includes(word));
    const shown = new Set();
    for (const one of rows) {
      const during =
        (!from || !one.until || one.until.slice(0, 10) >= from) && (!to || !one.from || one.from.slice(0, 10) <= to);
      const fits = place(one) && (!state || one.state === state) && during;
      one.row.hidden = !fits;
      if (fits) shown.add(one.id);
    }
    for (const one of reaches) one.row.hidden = !place(one);
    for (const bar of bars) bar.toggleAttribute("hidden", !shown.has(bar.dataset.id));
    for (const lane of lanes) lane.hidden = !lane.querySelector("rect:not([hidden])");
    count.value = shown.size + " of " + rows.length + " accesses";
  };

  const read = () => {
    const set = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) field.value = set.get(field.id) ?? "";
    show();
  };

  const write = () => {
    const set = new URLSearchParams(Object.entries(wanted()).filter(([, value]) => value));
    history.replaceState(null, "", "#" + set);
    show();
  };

  form.addEventListener("input", write);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(write));
  // The links to the parts of the page say nothing of filters.
  addEventListener("hashchange", () => { if (location.hash.includes("=")) read(); });
  form.hidden = false;
  read();
})();
