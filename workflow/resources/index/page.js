"use strict";
// Sorting and filtering by DataTables, enlarged figures by PhotoSwipe; here they are tied to the page.
(() => {
  // ---- tables

  /** Give each cell the header of its column, which is shown where rows are stacked. */
  function nameCells(table) {
    const headers = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    for (const row of [...table.tBodies].concat(table.tFoot ?? []).flatMap((part) => [...part.rows])) {
      [...row.cells].forEach((cell, index) => {
        cell.dataset.label = headers[index];
      });
    }
  }

  /** Stack the rows of tables that are wider than their place, as often as that changes. */
  function stackWhereNarrow(boxes) {
    const known = new WeakMap();
    const watcher = new ResizeObserver((entries) => {
      for (const { target } of entries.filter((entry) => known.get(entry.target) !== entry.target.clientWidth)) {
        known.set(target, target.clientWidth);
        const { classList } = target.querySelector("table");
        classList.remove("stacked");
        classList.toggle("stacked", target.scrollWidth > target.clientWidth);
      }
    });
    boxes.forEach((box) => watcher.observe(box));
  }

  /** Show the scores of the chosen metrics. */
  function makeSwitchable() {
    const choices = [...document.querySelectorAll('input[name="view"]')];
    const show = () => {
      const chosen = choices.find((choice) => choice.checked).value;
      for (const view of document.querySelectorAll(".view")) {
        view.hidden = view.dataset.view !== chosen;
      }
    };
    choices.forEach((choice) => choice.addEventListener("change", show));
  }

  function makeSortable(table) {
    nameCells(table);
    const sorted = new DataTable(table, {
      paging: false,
      info: false,
      autoWidth: false,
      order: [],
      orderMulti: false,
      layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
      // The best first: the highest score, else the lowest.
      columnDefs: [
        { targets: "falling", orderSequence: ["desc", "asc", ""] },
        { targets: "_all", orderSequence: ["asc", "desc", ""] },
      ],
    });
    const filter = document.querySelector(`input[data-table="${table.id}"]`);
    if (filter === null) {
      return;
    }
    const count = document.querySelector(`output[data-count="${table.id}"]`);
    const tell = () => {
      count.textContent = `${sorted.rows({ search: "applied" }).count()} of ${sorted.rows().count()} rows`;
    };
    filter.addEventListener("input", () => {
      sorted.search(filter.value).draw();
      tell();
    });
    tell();
  }

  // ---- figures

  function makeEnlargeable() {
    const buttons = [...document.querySelectorAll(".enlarge")];
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    buttons.forEach((button, index) => {
      button.addEventListener("click", () => {
        new PhotoSwipe({
          dataSource: buttons.map((other) => {
            const image = other.querySelector("img");
            return { src: image.src, width: image.naturalWidth, height: image.naturalHeight, alt: image.alt };
          }),
          index,
          loop: false,
          bgOpacity: 1,
          // Beside the arrows and below the buttons, where there is room.
          paddingFn: (size) =>
            size.x < 700 ? { top: 0, bottom: 0, left: 0, right: 0 } : { top: 60, bottom: 20, left: 60, right: 60 },
          maxZoomLevel: 4,
          showHideAnimationType: still ? "none" : "fade",
          zoomAnimationDuration: still ? 0 : 250,
        }).init();
      });
    });
  }

  document.querySelectorAll(".scroll table").forEach(makeSortable);
  stackWhereNarrow(document.querySelectorAll(".scroll"));
  makeSwitchable();
  makeEnlargeable();
})();
