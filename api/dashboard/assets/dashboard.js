// Refreshes the marked regions of an open page: the same page is fetched, and each region with an id and `data-live` is
// replaced by its new version. Without this script a page is as complete, and is refreshed by loading it again.
"use strict";

(() => {
  const seconds = Number(document.body.dataset.refresh);
  if (!seconds) return;

  let busy = false;

  // A region that somebody is in stays as it is: a click, a choice or a text in it must not be lost.
  const isInUse = (region) => region.contains(document.activeElement) && document.activeElement !== document.body;

  const keepOpen = (before, after) => {
    for (const details of before.querySelectorAll("details[open][id]")) {
      const same = after.querySelector(`#${CSS.escape(details.id)}`);
      if (same) same.open = true;
    }
  };

  const takeIn = (fresh) => {
    for (const region of document.querySelectorAll("[data-live][id]")) {
      const newer = fresh.getElementById(region.id);
      if (!newer || isInUse(region) || newer.isEqualNode(region)) continue;
      keepOpen(region, newer);
      region.replaceWith(document.adoptNode(newer));
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
