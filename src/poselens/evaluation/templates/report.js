(() => {
  "use strict";
  const box = document.getElementById("matrix");
  const list = document.getElementById("pairs");
  if (!box || !list) return;
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const told = document.getElementById("cell");
  const choice = document.getElementById("of-class");
  const svg = box.querySelector("svg");
  const { classes, order, support, streams, mistakes } = facts;
  const size = order.length;
  const cell = Number(svg.dataset.cell);
  const left = Number(svg.dataset.left);
  const counts = new Map(facts.counts.map(([row, column, n]) => [row * size + column, n]));
  const count = (label, predicted) => counts.get(label * size + predicted) || 0;

  const make = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };

  const draw = (name) => {
    const band = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    band.setAttribute("class", name);
    svg.append(band);
    return band;
  };
  const place = (band, x, y, width, height) => {
    for (const [name, value] of Object.entries({ x, y, width, height })) band.setAttribute(name, value);
  };
  const bands = [draw("band"), draw("band")];
  const cursor = draw("cursor");
  let at = [0, 0];
  let frequent = 0;
  for (const [label, predicted, n] of facts.counts) {
    if (label !== predicted && n > frequent) {
      frequent = n;
      at = [order.indexOf(label), order.indexOf(predicted)];
    }
  }

  const say = ([row, column]) => {
    const label = order[row], predicted = order[column];
    const n = count(label, predicted), of = support[label];
    if (label === predicted) return `${classes[label]}: ${n} of ${of} clips recognised`;
    return `${classes[label]}, taken for ${classes[predicted]}: ${n} of ${of} clips`;
  };
  const move = (row, column) => {
    at = [Math.min(Math.max(row, 0), size - 1), Math.min(Math.max(column, 0), size - 1)];
    const x = left + at[1] * cell, y = at[0] * cell;
    place(cursor, x, y, cell, cell);
    place(bands[0], left, y, size * cell, cell);
    place(bands[1], x, 0, cell, size * cell);
    told.textContent = say(at);
  };
  const follow = () => {
    // only the box scrolls, and only where the matrix is larger than it
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const x = (left + at[1] * cell) * scale;
    if (x < box.scrollLeft + left * scale || x + cell * scale > box.scrollLeft + box.clientWidth) {
      box.scrollLeft = x - box.clientWidth / 2;
    }
  };
  const under = (event) => {
    const edge = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / edge.width;
    const column = Math.floor(((event.clientX - edge.left) * scale - left) / cell);
    const row = Math.floor(((event.clientY - edge.top) * scale) / cell);
    return row >= 0 && column >= 0 && row < size && column < size ? [row, column] : null;
  };
  svg.addEventListener("pointermove", (event) => {
    const found = under(event);
    if (found && (found[0] !== at[0] || found[1] !== at[1])) move(...found);
  });
  svg.addEventListener("click", (event) => {
    const found = under(event);
    if (!found) return;
    event.preventDefault();
    move(...found);
    show(order[found[0]], order[found[1]]);
  });
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = steps[event.key];
    if (step) move(at[0] + step[0], at[1] + step[1]);
    else if (event.key === "Home") move(at[0], 0);
    else if (event.key === "End") move(at[0], size - 1);
    else if (event.key === "n" || event.key === "p") leap(event.key === "n" ? 1 : -1);
    else if (event.key === "Enter" || event.key === " ") show(order[at[0]], order[at[1]]);
    else return;
    event.preventDefault();
    follow();
  });
  const leap = (by) => {
    // to the next confusion in reading order
    for (let next = at[0] * size + at[1] + by; next >= 0 && next < size * size; next += by) {
      const row = Math.floor(next / size), column = next % size;
      if (row !== column && count(order[row], order[column])) return move(row, column);
    }
  };
  box.setAttribute("role", "application");
  box.setAttribute("aria-roledescription", "confusion matrix");
  box.setAttribute("aria-describedby", "keys cell");
  document.getElementById("keys").hidden = false;
  move(...at);

  const show = (label, predicted) => {
    if (label === predicted || !count(label, predicted)) return;
    const pair = find(label, predicted);
    pair.hidden = false;
    pair.open = true;
    pair.querySelector("summary").focus({ preventScroll: true });
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    pair.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
  };
  // pairs with pictures are on the page; others are made of the facts when they are asked for
  const find = (label, predicted) =>
    document.getElementById(`pair-${label}-${predicted}`) || build(label, predicted);
  const build = (label, predicted) => {
    const pair = make("details", undefined, {
      id: `pair-${label}-${predicted}`, class: "pair made", "data-label": label, "data-predicted": predicted,
    });
    const summary = make("summary");
    summary.append(make("b", classes[label]), " taken for ", make("b", classes[predicted]), " ",
      make("small", `${count(label, predicted)} of ${support[label]} clips`));
    pair.append(summary);
    const clips = mistakes.filter((clip) => clip[1] === label && clip[2] === predicted);
    if (clips.length) pair.append(table(clips, label, predicted));
    else pair.append(make("p", "The page does not hold these clips by name.", { class: "hint" }));
    list.append(pair);
    return pair;
  };
  const table = (clips, label, predicted) => {
    const made = make("table"), head = make("tr"), body = make("tbody");
    head.append(make("th", "Clip", { scope: "col" }));
    for (const name of streams) head.append(make("th", name, { scope: "col", class: "text" }));
    for (const [id, , , said, own, other] of clips.slice(0, 200)) {
      const row = make("tr");
      row.append(make("th", id, { scope: "row" }));
      said.forEach((best, index) => {
        const cells = make("td", best < 0 ? "–" : best === label ? "✓ right" : classes[best], { class: "text" });
        if (best === label) cells.classList.add("right");
        if (best >= 0) {
          cells.append(make("small", `${classes[label]} ${own[index]} %, ${classes[predicted]} ${other[index]} %`));
        }
        row.append(cells);
      });
      body.append(row);
    }
    const top = make("thead");
    top.append(head);
    made.append(top, body);
    const scroll = make("div", undefined, {
      class: "scroll", tabindex: 0, role: "region", "aria-label": `Clips of ${classes[label]} taken for ${classes[predicted]}`,
    });
    scroll.append(made);
    return scroll;
  };
  list.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const pair = event.target.closest(".pair");
    if (pair) move(order.indexOf(Number(pair.dataset.label)), order.indexOf(Number(pair.dataset.predicted)));
    box.focus();
  });

  if (choice) {
    const least = order.filter((label) => facts.counts.some(([row, column, n]) => row !== column && n && (row === label || column === label)));
    for (const label of [...least].sort((a, b) => classes[a].localeCompare(classes[b]))) {
      choice.append(make("option", classes[label], { value: label }));
    }
    choice.closest("p").hidden = false;
    choice.addEventListener("change", () => {
      const label = choice.value === "" ? null : Number(choice.value);
      if (label !== null) {
        for (const [row, column] of facts.counts) {
          if (row !== column && (row === label || column === label)) find(row, column);
        }
      }
      for (const pair of list.querySelectorAll(".pair")) {
        const its = [Number(pair.dataset.label), Number(pair.dataset.predicted)];
        pair.hidden = label === null ? pair.classList.contains("made") : !its.includes(label);
      }
    });
  }
  addEventListener("beforeprint", () => {
    for (const pair of document.querySelectorAll("details.pair:not([hidden])")) pair.open = true;
  });
})();
