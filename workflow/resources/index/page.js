"use strict";
// Sorting and filtering by DataTables, enlarged figures by PhotoSwipe, images by Bokeh; here they are tied together.
(() => {
  const byId = (id) => document.getElementById(id);

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

  // ---- viewer

  const FACTOR = 1.25; // of one step of zooming

  /** Turn what workflow.page.viewer.pack writes into fractions of a maximum: {height, width, values}. */
  async function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const size = packed.height * packed.width;
    const values = new Float32Array(size);
    for (let i = 0; i < size; i += 1) {
      const level = planes[i] + (packed.bytes === 2 ? 256 * planes[size + i] : 0);
      values[i] = packed.low + packed.step * level;
    }
    return { height: packed.height, width: packed.width, values };
  }

  const SMOOTH = 640; // pixels that a side is enlarged to at least

  /** Weights of Catmull and Rom's cubic for the four pixels around a place between the middle two, 0 to 1. */
  function cubic(t) {
    return [
      ((2 - t) * t - 1) * t * 0.5,
      ((3 * t - 5) * t * t + 2) * 0.5,
      ((4 - 3 * t) * t + 1) * t * 0.5,
      (t - 1) * t * t * 0.5,
    ];
  }

  /** Enlarge rows by an odd factor, whose middle values are the pixels themselves, and turn rows to columns. */
  function enlargeRows({ height, width, values }, factor) {
    const wide = new Float32Array(width * factor * height);
    const inside = (column) => Math.min(Math.max(column, 0), width - 1);
    for (let column = 0; column < width * factor; column += 1) {
      const place = (column - (factor - 1) / 2) / factor;
      const first = Math.floor(place);
      const weights = cubic(place - first);
      const columns = weights.map((_, index) => inside(first - 1 + index));
      for (let row = 0; row < height; row += 1) {
        let sum = 0;
        for (let index = 0; index < 4; index += 1) {
          sum += weights[index] * values[row * width + columns[index]];
        }
        wide[column * height + row] = sum;
      }
    }
    return { height: width * factor, width: height, values: wide };
  }

  /** Enlarge an image smoothly, by bicubic interpolation as the figures do. */
  function enlarge(image) {
    const factor = 2 * Math.floor(Math.ceil(SMOOTH / Math.min(image.height, image.width)) / 2) + 1;
    return factor === 1 ? image : enlargeRows(enlargeRows(image, factor), factor);
  }

  async function startViewer() {
    const { settings, images, limits, plots } = JSON.parse(byId("viewer-data").textContent);
    const elements = { image: byId("plot-image"), error: byId("plot-error") };
    const items = plots.items.map((item) => ({
      ...item,
      roots: Object.fromEntries(Object.entries(item.roots).map(([id, name]) => [id, elements[name]])),
    }));
    await Bokeh.embed.embed_items(plots.docs, items);
    // The images are reached by one element, not by the canvases in it.
    for (const id of plots.items[0].root_ids) {
      Bokeh.index.get_by_id(id).canvas_view.events_el.tabIndex = -1;
    }
    const { ndarray } = Bokeh.require("core/util/ndarray");
    const shownDocument = Bokeh.documents[Bokeh.documents.length - 1];
    const model = (name) => shownDocument.get_model_by_name(name);
    const [x, y] = [model("x"), model("y")];

    const choice = { setting: 0, slice: 0, name: null };
    const unpacked = new Map();
    let extent = [0, 0];
    let held = false; // whether the reference is shown in its place
    let latest = 0;

    const slice = () => settings[choice.setting].slices[choice.slice];
    const usable = () => slice().images.filter((image) => image.problem === undefined);
    const reference = () => slice().images[0];
    const named = (name) => usable().find((image) => image.name === name);
    const current = () => named(choice.name) ?? named(settings[choice.setting].best) ?? usable()[2]; // the zero-filled one

    function load(number) {
      if (!unpacked.has(number)) {
        unpacked.set(number, unpack(images[number]));
      }
      return unpacked.get(number);
    }

    function put(name, image, values, exact = false) {
      const drawn = exact ? { ...image, values } : enlarge({ ...image, values });
      const array = ndarray(drawn.values, { dtype: "float32", shape: [drawn.height, drawn.width] });
      model(`${name}_source`).data = { image: [array], dw: [image.width], dh: [image.height] };
    }

    function setView(left, right, top, bottom) {
      x.setv({ start: left, end: right });
      y.setv({ start: bottom, end: top });
    }

    function resetView() {
      setView(0, extent[1], 0, extent[0]);
    }

    function zoom(factor) {
      const scale = (range, largest) => {
        const middle = (range.start + range.end) / 2;
        const half = Math.min(Math.abs(range.end - range.start) / 2 / factor, largest);
        return [middle - half, middle + half];
      };
      const [left, right] = scale(x, extent[1]);
      const [top, bottom] = scale(y, extent[0]);
      setView(left, right, top, bottom);
    }

    function setWindow() {
      const width = Number(byId("width").value);
      const level = Number(byId("level").value);
      const top = (held ? reference() : current()).top / 100;
      model("image_colours").setv({ low: (level - width / 2) * top, high: (level + width / 2) * top });
      document.querySelector('output[for="width"]').textContent = `${width} %`;
      document.querySelector('output[for="level"]').textContent = `${level} %`;
      model("error_colours").setv({ low: 0, high: Number(byId("limit").value) });
    }

    const scores = (image) => (image.psnr === undefined ? "" : `${image.psnr} dB / ${image.ssim}`);

    async function show() {
      const image = held ? reference() : current();
      latest += 1;
      const request = latest;
      const [target, own] = await Promise.all([load(reference().image), load(image.image)]);
      if (request !== latest) {
        return; // another one was asked for meanwhile
      }
      if (own.height !== extent[0] || own.width !== extent[1]) {
        extent = [own.height, own.width];
        resetView();
      }
      put("image", own, own.values, image.exact);
      const comparable = image.psnr !== undefined;
      // While the reference is held, the error stays, to see where it comes from.
      if (!held) {
        const error = own.values.map((value, i) => (comparable ? Math.abs(value - target.values[i]) : 0));
        put("error", own, error);
        byId("error-caption").textContent = comparable ? `Error of ${image.name}` : "Error: none to show for this image";
      }
      setWindow();
      const said = scores(image);
      byId("image-caption").textContent = said ? `${image.name}: PSNR ${image.psnr} dB, SSIM ${image.ssim}` : image.name;
      byId("panels").dataset.shown = image.name;
      byId("status").textContent = `${image.name}, ${settings[choice.setting].mask}, ${slice().title}${said ? `: ${said}` : ""}`;
    }

    function offerImages() {
      const chosen = current().name;
      choice.name = chosen;
      byId("choices").replaceChildren(
        ...slice().images.map((image) => {
          const label = document.createElement("label");
          const input = document.createElement("input");
          Object.assign(input, { type: "radio", name: "image", value: image.name });
          input.checked = image.name === chosen;
          input.disabled = image.problem !== undefined;
          label.append(input, image.name);
          const note = image.problem ?? scores(image);
          if (note) {
            const small = document.createElement("small");
            small.textContent = note;
            label.append(small);
          }
          return label;
        }),
      );
    }

    function choose(name) {
      choice.name = name;
      for (const input of byId("choices").querySelectorAll("input")) {
        input.checked = input.value === name;
        if (input.checked) {
          reveal(input.parentElement);
        }
      }
      show();
    }

    /** Scroll the list of images, where it does not fit, without moving the page. */
    function reveal(label) {
      const list = byId("choices");
      list.scrollLeft = label.offsetLeft - list.offsetLeft - (list.clientWidth - label.clientWidth) / 2;
    }

    function step(by) {
      const names = usable().map((image) => image.name);
      choose(names[(names.indexOf(current().name) + by + names.length) % names.length]);
    }

    function hold(on) {
      if (held !== on) {
        held = on;
        byId("hold").setAttribute("aria-pressed", String(on));
        show();
      }
    }

    function offerSlices() {
      choice.slice = Math.min(choice.slice, settings[choice.setting].slices.length - 1);
      byId("slice").replaceChildren(
        ...settings[choice.setting].slices.map((one, index) => new Option(one.title, String(index))),
      );
      byId("slice").value = String(choice.slice);
      const limit = settings[choice.setting].limit;
      byId("limit").replaceChildren(
        ...limits.map((value) => new Option(value === limit ? `${value} (figures)` : String(value), String(value))),
      );
      byId("limit").value = String(limit);
    }

    // Settings, grouped by dataset.
    const groups = new Map();
    settings.forEach((setting, index) => {
      if (!groups.has(setting.dataset)) {
        groups.set(setting.dataset, Object.assign(document.createElement("optgroup"), { label: setting.dataset }));
      }
      groups.get(setting.dataset).append(new Option(setting.mask, String(index)));
    });
    byId("setting").append(...groups.values());
    byId("setting").value = "0";

    byId("setting").addEventListener("change", (event) => {
      const before = settings[choice.setting].dataset;
      choice.setting = Number(event.target.value);
      if (settings[choice.setting].dataset !== before) {
        choice.slice = 0;
      }
      offerSlices();
      offerImages();
      show();
    });
    byId("slice").addEventListener("change", (event) => {
      choice.slice = Number(event.target.value);
      offerImages();
      show();
    });
    byId("choices").addEventListener("change", (event) => choose(event.target.value));
    byId("previous").addEventListener("click", () => step(-1));
    byId("next").addEventListener("click", () => step(1));
    byId("closer").addEventListener("click", () => zoom(FACTOR));
    byId("farther").addEventListener("click", () => zoom(1 / FACTOR));
    for (const id of ["width", "level", "limit"]) {
      byId(id).addEventListener("input", setWindow);
    }
    byId("reset").addEventListener("click", () => {
      byId("width").value = "100";
      byId("level").value = "50";
      byId("limit").value = String(settings[choice.setting].limit);
      resetView();
      setWindow();
    });

    // The reference for as long as the button, or the space bar on the images, is held.
    const button = byId("hold");
    button.addEventListener("pointerdown", () => hold(true));
    for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) {
      button.addEventListener(end, () => hold(false));
    }
    const panels = byId("panels");
    for (const element of [button, panels]) {
      element.addEventListener("keydown", (event) => {
        if (event.key === " " || (element === button && event.key === "Enter")) {
          event.preventDefault();
          hold(true);
        }
      });
      element.addEventListener("keyup", (event) => {
        if (event.key === " " || event.key === "Enter") {
          hold(false);
        }
      });
    }
    panels.addEventListener("blur", () => hold(false));
    panels.addEventListener("keydown", (event) => {
      const actions = {
        ArrowLeft: () => step(-1),
        ArrowRight: () => step(1),
        "+": () => zoom(FACTOR),
        "-": () => zoom(1 / FACTOR),
        0: resetView,
      };
      if (Object.hasOwn(actions, event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        actions[event.key]();
      }
    });

    // Mouse: window and level, or moving. Touch: a swipe flips.
    const move = byId("move");
    move.addEventListener("change", () => {
      for (const name of ["image", "error"]) {
        model(`${name}_pan`).active = move.checked;
        model(`${name}_zoom`).active = move.checked;
      }
    });
    let from = null;
    panels.addEventListener("pointerdown", (event) => {
      if (!move.checked && event.isPrimary && event.target.closest(".plot") !== null) {
        from = { x: event.clientX, y: event.clientY, width: Number(byId("width").value), level: Number(byId("level").value) };
      }
    });
    addEventListener("pointermove", (event) => {
      if (from !== null && event.pointerType === "mouse") {
        byId("width").value = String(from.width + Math.round((event.clientX - from.x) / 2));
        byId("level").value = String(from.level - Math.round((event.clientY - from.y) / 2));
        setWindow();
      }
    });
    addEventListener("pointerup", (event) => {
      if (from !== null && event.pointerType === "touch") {
        const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
        if (Math.abs(dx) > 40 && Math.abs(dx) > 2 * Math.abs(dy)) {
          step(dx < 0 ? 1 : -1);
        }
      }
      from = null;
    });
    addEventListener("pointercancel", () => {
      from = null;
    });

    offerSlices();
    offerImages();
    await show();
  }

  document.querySelectorAll(".scroll table").forEach(makeSortable);
  stackWhereNarrow(document.querySelectorAll(".scroll"));
  makeSwitchable();
  makeEnlargeable();
  if (byId("viewer-data") !== null) {
    startViewer().catch((error) => {
      byId("status").classList.remove("hidden");
      byId("status").textContent = `The viewer does not work in this browser (${error.message}); it needs one from 2023 on.`;
      throw error;
    });
  }
})();
