// Refreshes the marked regions of an open page: the same page is fetched, and each region with an id and `data-live` is
// replaced by its new version. Without this script a page is as complete, and is refreshed by loading it again.
"use strict";

(() => {
  const seconds = Number(document.body.dataset.refresh);
  if (!seconds) return;

  let busy = false;

  // A region that somebody is in stays as it is: a click, a choice or a selected text in it must not be lost.
  const isInUse = (region) =>
    (region.contains(document.activeElement) && document.activeElement !== document.body) ||
    (!getSelection().isCollapsed && getSelection().containsNode(region, true));

  // What was closed by hand stays closed, although the new version has it open.
  document.addEventListener("click", (event) => {
    const details = event.target.closest("summary")?.parentElement;
    if (details) details.dataset.byHand = "";
  });

  const keepOpen = (before, after) => {
    for (const details of before.querySelectorAll("details[id]:is([open], [data-by-hand])")) {
      const same = after.querySelector(`#${CSS.escape(details.id)}`);
      if (!same) continue;
      same.open = details.open;
      Object.assign(same.dataset, details.dataset);
    }
  };

  // The boxes that scroll sideways, with their names: another version has the same ones.
  const boxes = (region) => [...region.querySelectorAll(".scroll")].map((box) => [box, box.getAttribute("aria-label")]);

  const takeIn = (fresh) => {
    for (const region of document.querySelectorAll("[data-live][id]")) {
      const newer = fresh.getElementById(region.id);
      if (!newer || isInUse(region) || newer.isEqualNode(region)) continue;
      keepOpen(region, newer);
      const places = new Map(boxes(region).map(([box, name]) => [name, box.scrollLeft]));
      region.replaceWith(document.adoptNode(newer));
      for (const [box, name] of boxes(newer)) box.scrollLeft = places.get(name) ?? 0;
    }
  };

  const showStale = (isStale) => {
    const note = document.querySelector("[data-stale]");
    if (note) note.hidden = !isStale;
  };

  const refresh = async () => {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const answer = await fetch(location.href, {
        headers: { "X-Dashboard-Refresh": "1" },
        credentials: "same-origin",
        redirect: "error",
      });
      if (answer.status === 401) {
        clearInterval(timer);
        location.reload(); // the session has ended: the page to sign in takes its place
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      takeIn(new DOMParser().parseFromString(await answer.text(), "text/html"));
      showStale(false);
    } catch {
      showStale(true);
    } finally {
      busy = false;
    }
  };

  const timer = setInterval(refresh, seconds * 1000);
  document.addEventListener("visibilitychange", refresh);
})();

// Reads a chart: the values at the pointer, which are those of a row of the table below the chart. Without this script
// and without a pointer, the table has them all.
(() => {
  let shown = null;

  const hide = () => {
    if (!shown) return;
    shown.querySelector(".cursor").hidden = true;
    shown.closest("figure").querySelector(".reading").textContent = "";
    shown = null;
  };

  const read = (plot, x) => {
    const box = plot.querySelector("svg").getBoundingClientRect();
    const places = plot.dataset.places.split(" ").map((place) => box.left + (box.width * Number(place)) / 100);
    const distances = places.map((place) => Math.abs(place - x));
    const nearest = distances.indexOf(Math.min(...distances));
    const figure = plot.closest("figure");
    const cells = figure.querySelectorAll("tbody tr")[nearest]?.cells;
    if (!cells) return;
    const names = [...figure.querySelectorAll("thead th")].map((name) => name.textContent);
    const values = [...cells].slice(1).map((cell, at) => (cells.length > 2 ? `${names[at + 1]} ` : "") + cell.textContent);
    figure.querySelector(".reading").textContent = `${cells[0].textContent}: ${values.join(", ")}`;
    const cursor = plot.querySelector(".cursor");
    cursor.style.left = `${places[nearest] - plot.getBoundingClientRect().left}px`;
    cursor.hidden = false;
    shown = plot;
  };

  const follow = (event) => {
    const plot = event.target.closest?.(".plot");
    if (plot !== shown) hide();
    if (plot) read(plot, event.clientX);
  };

  for (const kind of ["pointermove", "pointerdown"]) document.addEventListener(kind, follow);
})();
