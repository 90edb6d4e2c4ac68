(() => {
  // What the reader chose is in the address, as #sort=-loss&find=adam&state=fail, or else in the
  // session: a page that loads itself again, or is loaded again, shows the same rows.
  const kept = "katibflow " + location.pathname;
  const read = () => {
    let text = location.hash.slice(1);
    if (!text.includes("=")) {
      try { text = sessionStorage.getItem(kept) || ""; } catch { text = ""; }
    }
    return new URLSearchParams(text);
  };
  const view = read();
  const keep = () => {
    for (const key of [...view.keys()]) if (!view.get(key)) view.delete(key);
    const text = view.toString();
    try { sessionStorage.setItem(kept, text); } catch { /* a browser without a session */ }
    try {
      history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
    } catch { /* a page inside another one may have no address of its own */ }
  };

  const table = document.getElementById("trials");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    const names = heads.map((head) => head.textContent);
    const find = document.getElementById("find");
    const state = document.getElementById("state");
    const shown = document.getElementById("shown");

    const value = (row, column) => {
      const cell = row.cells[column];
      const number = cell.dataset.v || cell.title || cell.firstChild?.textContent || "";
      const text = number.replace("−", "-").replace("∞", "Infinity");
      if (text === "" || text === "–" || text === "NaN") return null;
      return column === 0 || heads[column].className === "num"
        ? (isNaN(Number(text)) ? text : Number(text)) : cell.textContent;
    };
    const compare = (one, other) =>
      typeof one === "number" && typeof other === "number" ? one - other
        : String(one).localeCompare(String(other), undefined, {numeric: true});
    const sort = () => {
      const wanted = view.get("sort") || names[0];
      const falls = wanted.startsWith("-") && !names.includes(wanted);
      const column = Math.max(0, names.indexOf(falls ? wanted.slice(1) : wanted));
      heads.forEach((head, index) => index === column
        ? head.setAttribute("aria-sort", falls ? "descending" : "ascending")
        : head.removeAttribute("aria-sort"));
      const keyed = rows.map((row, index) => [value(row, column), index, row]);
      keyed.sort(([one, first], [other, second]) => {
        // What a trial does not have is last, whichever way one sorts.
        if (one === null || other === null) return (one === null) - (other === null) || first - second;
        return (falls ? -1 : 1) * compare(one, other) || first - second;
      });
      body.append(...keyed.map(([, , row]) => row));
    };
    const filter = () => {
      const words = (view.get("find") || "").toLowerCase().split(/\s+/).filter(Boolean);
      const only = view.get("state") || "";
      let count = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        const word = row.querySelector(".state")?.textContent || "";
        row.hidden = (only && word !== only) || !words.every((each) => text.includes(each));
        count += row.hidden ? 0 : 1;
      }
      shown.textContent = count === rows.length ? "" : `${count} of ${rows.length} trials`;
    };

    heads.forEach((head, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        view.set("sort", head.getAttribute("aria-sort") === "ascending" ? "-" + names[index]
          : names[index]);
        keep();
        sort();
      });
    });
    for (const [field, key] of [[find, "find"], [state, "state"]]) {
      field.value = view.get(key) || "";
      if (field.value !== (view.get(key) || "")) view.delete(key);  // no trial has this state now
      field.addEventListener("input", () => {
        view.set(key, field.value);
        keep();
        filter();
      });
    }
    const showTarget = () => {
      // A link to a trial shows its row, whatever is filtered.
      const row = location.hash.startsWith("#trial-")
        && document.getElementById(location.hash.slice(1));
      if (row && row.hidden) { row.hidden = false; row.scrollIntoView(); }
    };
    document.getElementById("filter").hidden = false;
    sort();
    filter();
    showTarget();
    addEventListener("hashchange", showTarget);
  }

  const main = document.querySelector("main");
  const seconds = Number(main.dataset.refresh);
  if (!seconds) return;
  const opened = kept + " open";
  const panels = () => [...document.querySelectorAll("details")];
  const name = (panel) => (panel.closest("tr")?.id || "") + panel.querySelector("summary").textContent;
  try {
    const open = JSON.parse(sessionStorage.getItem(opened) || "[]");
    for (const panel of panels()) panel.open = open.includes(name(panel));
  } catch { /* they stay closed */ }
  const age = Date.now() / 1000 - Number(main.dataset.written);
  if (age > 60 + 10 * seconds) {
    const note = document.createElement("p");
    note.className = "stale";
    note.textContent = `This page is ${Math.round(age / 60)} min old: the program that runs the `
      + "experiment may have ended.";
    document.querySelector("header").append(note);
  }
  setInterval(() => {
    // Not under the reader's hands, and not where nobody looks.
    const busy = document.hidden || String(getSelection()) || document.activeElement?.id === "find";
    if (busy) return;
    try {
      const open = panels().filter((panel) => panel.open).map(name);
      sessionStorage.setItem(opened, JSON.stringify(open));
    } catch { /* they are closed then */ }
    location.reload();
  }, seconds * 1000);
})();
