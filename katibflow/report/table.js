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

  const PAGE = 250;  // rows of a packed table that are in the page at a time

  const unpacked = async (packed) => {
    const bytes = Uint8Array.from(atob(packed.textContent), (each) => each.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const made = document.createElement("template");
    made.innerHTML = "<table><tbody>" + await new Response(plain).text() + "</tbody></table>";
    return [...made.content.querySelectorAll("tr")];
  };

  const show = (table, rows, isPaged) => {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const names = heads.map((head) => head.textContent);
    const find = document.getElementById("find");
    const state = document.getElementById("state");
    const shown = document.getElementById("shown");
    const texts = new Map();  // what a row says in small letters, once somebody looks for a word
    let order = rows;
    let left = rows;  // of the filter, in their order
    let first = 0;

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
    const turn = (index) => {
      first = Math.max(0, Math.min(index, PAGE * Math.floor((left.length - 1) / PAGE)));
      const last = Math.min(first + PAGE, left.length);
      body.replaceChildren(...left.slice(first, last));
      document.getElementById("where").textContent =
        left.length ? `${first + 1} to ${last} of ${left.length}` : "none";
      document.getElementById("back").disabled = first === 0;
      document.getElementById("on").disabled = last === left.length;
    };
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
      order = keyed.map(([, , row]) => row);
      if (!isPaged) body.append(...order);
    };
    const says = (row) => {
      if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
      return texts.get(row);
    };
    const filter = () => {
      const words = (view.get("find") || "").toLowerCase().split(/\s+/).filter(Boolean);
      const only = view.get("state") || "";
      left = order.filter((row) => {
        const word = only && row.querySelector(".state")?.textContent;
        row.hidden = word !== only || !words.every((each) => says(row).includes(each));
        return !row.hidden;
      });
      shown.textContent = left.length === rows.length ? "" : `${left.length} of ${rows.length} trials`;
      if (isPaged) turn(0);
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
        filter();
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
      // A link to a trial shows its row, whatever is filtered and on whichever page it is.
      const id = location.hash.startsWith("#trial-") && location.hash.slice(1);
      const row = id && rows.find((each) => each.id === id);
      if (!row || (row.isConnected && !row.hidden)) return;
      row.hidden = false;
      if (isPaged) {
        if (!left.includes(row)) left = [row, ...left];
        turn(PAGE * Math.floor(left.indexOf(row) / PAGE));
      }
      row.scrollIntoView();
    };
    if (isPaged) {
      document.getElementById("back").addEventListener("click", () => turn(first - PAGE));
      document.getElementById("on").addEventListener("click", () => turn(first + PAGE));
      document.getElementById("pages").hidden = false;
    }
    document.getElementById("filter").hidden = false;
    sort();
    filter();
    showTarget();
    addEventListener("hashchange", showTarget);
  };

  const table = document.getElementById("trials");
  const packed = document.getElementById("packed");
  if (packed) {
    const part = document.getElementById("part");
    unpacked(packed).then((rows) => {
      packed.remove();
      part.remove();
      show(table, rows, true);
    }).catch((error) => {
      part.textContent += " This browser could not: " + error;
    });
  } else if (table) {
    show(table, [...table.tBodies[0].rows], false);
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
