"use strict";
// The viewer of the example slices: what is chosen, and what Bokeh's two plots show of it.
(() => {
  const byId = (id) => document.getElementById(id);
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

  /** Show the plots that workflow.page.viewer.plots made, and return what finds their models by name. */
  async function showPlots(plots) {
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
    const shown = Bokeh.documents[Bokeh.documents.length - 1];
    return (name) => shown.get_model_by_name(name);
  }

  const scores = (image) => (image.psnr === undefined ? "" : `${image.psnr} dB / ${image.ssim}`);

  /** An image as it is offered: its name, and its scores or why it cannot be shown. */
  function offered(image, chosen) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "image", value: image.name });
    input.checked = image.name === chosen;
    input.disabled = image.problem !== undefined;
    label.append(input, image.name);
    const note = image.problem ?? scores(image);
    if (note) {
      label.append(Object.assign(document.createElement("small"), { textContent: note }));
    }
    return label;
  }

  /** What is chosen: a setting (dataset and mask), a slice of it, and an image of that. */
  class Choice {
    constructor(settings) {
      Object.assign(this, { settings, index: 0, sliceIndex: 0, name: null });
      this.held = false; // whether the reference is shown in its place
    }

    get setting() {
      return this.settings[this.index];
    }

    get slice() {
      return this.setting.slices[this.sliceIndex];
    }

    get usable() {
      return this.slice.images.filter((image) => image.problem === undefined);
    }

    get reference() {
      return this.slice.images[0];
    }

    /** The image of the chosen name, else that of the best method, else the zero-filled one. */
    get image() {
      const named = (name) => this.usable.find((image) => image.name === name);
      return named(this.name) ?? named(this.setting.best) ?? this.usable[2];
    }

    get shown() {
      return this.held ? this.reference : this.image;
    }

    /** Name of the image so many places further, round and round. */
    beside(by) {
      const names = this.usable.map((image) => image.name);
      return names[(names.indexOf(this.image.name) + by + names.length) % names.length];
    }
  }

  /** The two plots: what they show, how near, and in which window. */
  class Plots {
    constructor(model) {
      this.model = model;
      this.extent = [0, 0];
    }

    put(name, image, values) {
      const drawn = image.exact ? { ...image, values } : enlarge({ ...image, values });
      const { ndarray } = Bokeh.require("core/util/ndarray");
      const array = ndarray(drawn.values, { dtype: "float32", shape: [drawn.height, drawn.width] });
      this.model(`${name}_source`).data = { image: [array], dw: [image.width], dh: [image.height] };
    }

    /** Show a whole image of another size than the last. */
    fit({ height, width }) {
      if (height !== this.extent[0] || width !== this.extent[1]) {
        this.extent = [height, width];
        this.resetView();
      }
    }

    resetView() {
      this.model("x").setv({ start: 0, end: this.extent[1] });
      this.model("y").setv({ start: this.extent[0], end: 0 });
    }

    zoom(factor) {
      const scale = (range, largest) => {
        const middle = (range.start + range.end) / 2;
        const half = Math.min(Math.abs(range.end - range.start) / 2 / factor, largest);
        return [middle - half, middle + half];
      };
      const [left, right] = scale(this.model("x"), this.extent[1]);
      const [top, bottom] = scale(this.model("y"), this.extent[0]);
      this.model("x").setv({ start: left, end: right });
      this.model("y").setv({ start: bottom, end: top });
    }

    /** Show values around a level, both in percent of the display range, and errors up to a limit. */
    setWindow(width, level, top, limit) {
      this.model("image_colours").setv({
        low: ((level - width / 2) * top) / 100,
        high: ((level + width / 2) * top) / 100,
      });
      this.model("error_colours").setv({ low: 0, high: limit });
    }

    setMoving(on) {
      for (const name of ["image", "error"]) {
        this.model(`${name}_pan`).active = on;
        this.model(`${name}_zoom`).active = on;
      }
    }
  }

  /** The viewer: its controls, and what they do. */
  class Viewer {
    constructor(data, model) {
      this.images = data.images;
      this.limits = data.limits;
      this.choice = new Choice(data.settings);
      this.plots = new Plots(model);
      this.unpacked = new Map();
      this.latest = 0;
      this.from = null; // where a pointer went down
    }

    async start() {
      this.offerSettings();
      this.listenToChoices();
      this.listenToButtons();
      this.listenToHolding();
      this.listenToKeys();
      this.listenToPointers();
      this.offerSlices();
      this.offerImages();
      await this.show();
    }

    // ---- showing

    load(number) {
      if (!this.unpacked.has(number)) {
        this.unpacked.set(number, unpack(this.images[number]));
      }
      return this.unpacked.get(number);
    }

    async show() {
      const { choice, plots } = this;
      const image = choice.shown;
      this.latest += 1;
      const request = this.latest;
      const [target, own] = await Promise.all([this.load(choice.reference.image), this.load(image.image)]);
      if (request !== this.latest) {
        return; // another one was asked for meanwhile
      }
      plots.fit(own);
      plots.put("image", { ...own, exact: image.exact }, own.values);
      // While the reference is held, the error stays, to see where it comes from.
      if (!choice.held) {
        this.showError(image, own, target);
      }
      this.setWindow();
      this.tell(image);
    }

    showError(image, own, target) {
      const comparable = image.psnr !== undefined;
      const error = own.values.map((value, i) => (comparable ? Math.abs(value - target.values[i]) : 0));
      this.plots.put("error", own, error);
      byId("error-caption").textContent = comparable ? `Error of ${image.name}` : "Error: none to show for this image";
    }

    tell(image) {
      const { setting, slice } = this.choice;
      const said = scores(image);
      byId("image-caption").textContent = said ? `${image.name}: PSNR ${image.psnr} dB, SSIM ${image.ssim}` : image.name;
      byId("panels").dataset.shown = image.name;
      byId("status").textContent = `${image.name}, ${setting.mask}, ${slice.title}${said ? `: ${said}` : ""}`;
    }

    setWindow() {
      const [width, level] = [Number(byId("width").value), Number(byId("level").value)];
      this.plots.setWindow(width, level, this.choice.shown.top, Number(byId("limit").value));
      document.querySelector('output[for="width"]').textContent = `${width} %`;
      document.querySelector('output[for="level"]').textContent = `${level} %`;
    }

    // ---- what there is to choose from

    /** Offer settings, grouped by dataset. */
    offerSettings() {
      const groups = new Map();
      this.choice.settings.forEach((setting, index) => {
        if (!groups.has(setting.dataset)) {
          groups.set(setting.dataset, Object.assign(document.createElement("optgroup"), { label: setting.dataset }));
        }
        groups.get(setting.dataset).append(new Option(setting.mask, String(index)));
      });
      byId("setting").append(...groups.values());
      byId("setting").value = "0";
    }

    offerSlices() {
      const { setting } = this.choice;
      this.choice.sliceIndex = Math.min(this.choice.sliceIndex, setting.slices.length - 1);
      byId("slice").replaceChildren(...setting.slices.map((one, index) => new Option(one.title, String(index))));
      byId("slice").value = String(this.choice.sliceIndex);
      const named = (value) => (value === setting.limit ? `${value} (figures)` : String(value));
      byId("limit").replaceChildren(...this.limits.map((value) => new Option(named(value), String(value))));
      byId("limit").value = String(setting.limit);
    }

    offerImages() {
      this.choice.name = this.choice.image.name;
      byId("choices").replaceChildren(...this.choice.slice.images.map((image) => offered(image, this.choice.name)));
    }

    choose(name) {
      this.choice.name = name;
      for (const input of byId("choices").querySelectorAll("input")) {
        input.checked = input.value === name;
      }
      this.show();
    }

    step(by) {
      this.choose(this.choice.beside(by));
    }

    hold(on) {
      if (this.choice.held !== on) {
        this.choice.held = on;
        byId("hold").setAttribute("aria-pressed", String(on));
        this.show();
      }
    }

    // ---- controls

    listenToChoices() {
      const { choice } = this;
      const chooseAgain = () => {
        this.offerImages();
        this.show();
      };
      byId("setting").addEventListener("change", (event) => {
        const before = choice.setting.dataset;
        choice.index = Number(event.target.value);
        choice.sliceIndex = choice.setting.dataset === before ? choice.sliceIndex : 0;
        this.offerSlices();
        chooseAgain();
      });
      byId("slice").addEventListener("change", (event) => {
        choice.sliceIndex = Number(event.target.value);
        chooseAgain();
      });
      byId("choices").addEventListener("change", (event) => this.choose(event.target.value));
      for (const id of ["width", "level", "limit"]) {
        byId(id).addEventListener("input", () => this.setWindow());
      }
    }

    listenToButtons() {
      const { plots } = this;
      byId("previous").addEventListener("click", () => this.step(-1));
      byId("next").addEventListener("click", () => this.step(1));
      byId("closer").addEventListener("click", () => plots.zoom(FACTOR));
      byId("farther").addEventListener("click", () => plots.zoom(1 / FACTOR));
      byId("reset").addEventListener("click", () => {
        Object.entries({ width: 100, level: 50, limit: this.choice.setting.limit }).forEach(([id, value]) => {
          byId(id).value = String(value);
        });
        plots.resetView();
        this.setWindow();
      });
      byId("move").addEventListener("change", (event) => plots.setMoving(event.target.checked));
    }

    /** Show the reference for as long as the button, or the space bar on the images, is held. */
    listenToHolding() {
      const [button, panels] = [byId("hold"), byId("panels")];
      button.addEventListener("pointerdown", () => this.hold(true));
      for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) {
        button.addEventListener(end, () => this.hold(false));
      }
      for (const element of [button, panels]) {
        element.addEventListener("keydown", (event) => {
          if (event.key === " " || (element === button && event.key === "Enter")) {
            event.preventDefault();
            this.hold(true);
          }
        });
        element.addEventListener("keyup", (event) => {
          if (event.key === " " || event.key === "Enter") {
            this.hold(false);
          }
        });
      }
      panels.addEventListener("blur", () => this.hold(false));
    }

    listenToKeys() {
      const actions = {
        ArrowLeft: () => this.step(-1),
        ArrowRight: () => this.step(1),
        "+": () => this.plots.zoom(FACTOR),
        "-": () => this.plots.zoom(1 / FACTOR),
        0: () => this.plots.resetView(),
      };
      byId("panels").addEventListener("keydown", (event) => {
        if (Object.hasOwn(actions, event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
          event.preventDefault();
          actions[event.key]();
        }
      });
    }

    /** Mouse: window and level, or moving. Touch: a swipe flips. */
    listenToPointers() {
      byId("panels").addEventListener("pointerdown", (event) => {
        if (!byId("move").checked && event.isPrimary && event.target.closest(".plot") !== null) {
          const [width, level] = [Number(byId("width").value), Number(byId("level").value)];
          this.from = { x: event.clientX, y: event.clientY, width, level };
        }
      });
      addEventListener("pointermove", (event) => {
        if (this.from !== null && event.pointerType === "mouse") {
          this.drag(event);
        }
      });
      addEventListener("pointerup", (event) => {
        if (this.from !== null && event.pointerType === "touch") {
          this.swipe(event);
        }
        this.from = null;
      });
      addEventListener("pointercancel", () => {
        this.from = null;
      });
    }

    drag(event) {
      byId("width").value = String(this.from.width + Math.round((event.clientX - this.from.x) / 2));
      byId("level").value = String(this.from.level - Math.round((event.clientY - this.from.y) / 2));
      this.setWindow();
    }

    swipe(event) {
      const [dx, dy] = [event.clientX - this.from.x, event.clientY - this.from.y];
      if (Math.abs(dx) > 40 && Math.abs(dx) > 2 * Math.abs(dy)) {
        this.step(dx < 0 ? 1 : -1);
      }
    }
  }

  async function startViewer() {
    const data = JSON.parse(byId("viewer-data").textContent);
    await new Viewer(data, await showPlots(data.plots)).start();
  }

  if (byId("viewer-data") !== null) {
    startViewer().catch((error) => {
      byId("status").classList.remove("hidden");
      byId("status").textContent = `The viewer does not work in this browser (${error.message}); it needs one from 2023 on.`;
      throw error;
    });
  }
})();
