// The decomposition of a small table p(x1, x2, y), in the browser; `decompose` also runs in node.
//
// I = min I_Q(Y; X1, X2) over all Q with the pair marginals a(x1, y) and b(x2, y) of p. Stage 1 of
// pidlib.decomposition: Q = A(x1, x2) U(x1, y) V(x2, y), fitted to a and b by turns, with momentum on
// log A. Every I comes with a certified interval: a dual value below, a feasible coupling above.
"use strict";

const TINY = 1e-300, TOL = 1e-6, FLOOR = 1e-2, STEPS = 1000; // TOL in bits
const xlogy = (x, y) => (x > 0 ? x * Math.log(y) : 0);
const sum = (values) => values.reduce((total, value) => total + value, 0);
const rows = (m) => m.map(sum);
const transpose = (m) => m[0].map((_, j) => m.map((row) => row[j]));
const map2 = (f, m, n) => m.map((row, i) => row.map((value, j) => f(value, n[i][j], i, j)));
const product = (m, n) => {
  const columns = transpose(n);
  return m.map((row) => columns.map((column) => sum(row.map((value, i) => value * column[i]))));
};
const entropy = (values) => -sum(values.map((value) => xlogy(value, value))); // nats
const information = (m) => entropy(rows(m)) + entropy(rows(transpose(m))) - entropy(m.flat());

/** f(Q) = -H_Q(Y | X1, X2) in nats, of factors scaled down until Q lies below both marginals. */
function upperBound(a, b, A, U, V) {
  const below = (c, u, now) => map2((x, y, i, j) => x * Math.min(1, c[i][j] / Math.max(x * y, TINY)), u, now);
  U = below(a, U, product(A, V));
  V = below(b, V, product(transpose(A), U));
  const G = product(U, transpose(V));
  const ofRows = map2((u, av) => xlogy(u * av, u), U, product(A, V));
  const ofColumns = map2((v, au) => xlogy(v * au, v), V, product(transpose(A), U));
  const ofPairs = map2((g, q) => xlogy(q * g, g), G, A);
  return sum(ofRows.flat()) + sum(ofColumns.flat()) - sum(ofPairs.flat());
}

/** Dual value of lam = log U, mu = log V with alpha(x1) + beta(x2) >= g = log sum_y exp(lam + mu). */
function lowerBound(a, b, U, V) {
  const g = product(U, transpose(V)).map((row) => row.map((x) => Math.log(Math.max(x, TINY))));
  const alpha = g.map((row) => Math.max(...row));
  const beta = transpose(g.map((row, i) => row.map((x) => x - alpha[i]))).map((row) => Math.max(...row));
  const side = (c, W, shift) => sum(map2((x, w, i) => xlogy(x, w) - x * shift[i], c, W).flat());
  const dual = side(a, U, alpha) + side(b, V, beta);
  return Number.isFinite(dual) ? dual : -Infinity;
}

/** Bounds on min f over couplings of a and b, in nats: [lower, upper]. */
function solve(a, b) {
  const [p1, p2] = [rows(a), rows(b)];
  const conditional = (m) => sum(m.map((row) => entropy(row) - entropy([sum(row)])));
  let [lower, upper] = [Math.max(-conditional(a), -conditional(b)), Infinity];
  let last = p1.map((x) => p2.map((y) => Math.log(Math.max(x, TINY)) + Math.log(Math.max(y, TINY))));
  let [ahead, age] = [last, 0];
  let [U, V] = [a, b.map((row, i) => row.map((x) => x / Math.max(p2[i], TINY)))];
  const floor = last.map((row) => row.map((x) => x + Math.log(FLOOR * Math.LN2 * TOL)));
  const atLeast = (m) => map2((x, y) => Math.max(x, y), m, floor);
  for (let step = 1; step <= STEPS && upper - lower > TOL * Math.LN2; step++) {
    const A = ahead.map((row) => row.map(Math.exp));
    for (let sweep = 0; sweep < 3 + Math.floor(step / 20); sweep++) {
      U = map2((x, y) => x / Math.max(y, TINY), a, product(A, V));
      V = map2((x, y) => x / Math.max(y, TINY), b, product(transpose(A), U));
    }
    if (step % 5 === 0) {
      lower = Math.max(lower, lowerBound(a, b, U, V));
      upper = Math.min(upper, upperBound(a, b, A, U, V));
    }
    const G = product(U, transpose(V));
    const gradient = G.map((row) => row.map((x) => Math.log(Math.max(x, TINY))));
    const next = atLeast(map2((x, y) => x + y, ahead, gradient));
    const change = map2((x, y) => x - y, next, last);
    const uphill = sum(map2((x, g, i, j) => x * g * A[i][j] * G[i][j], change, gradient).flat()) < 0;
    age = uphill ? 0 : age + 1;
    ahead = atLeast(map2((x, y) => x + (y * age) / (age + 3), next, change));
    last = next;
  }
  return [lower, upper];
}

/** Atoms of weights [x1][x2][y] in bits, with the certified interval [lower, upper] of I. */
function decompose(weights) {
  const total = sum(weights.flat(2));
  const p = weights.map((slab) => slab.map((row) => row.map((value) => value / total)));
  const [a, b] = [p.map((slab) => rows(transpose(slab))), transpose(p).map((slab) => rows(transpose(slab)))];
  const [i1, i2, i12] = [a, b, p.flat()].map((m) => information(m) / Math.LN2);
  const target = entropy(rows(transpose(a)));
  let [lower, upper] = solve(a, b).map((f) => (target + f) / Math.LN2);
  upper = Math.min(upper, i12, i1 + i2); // both are the information of a coupling, or above one
  lower = Math.min(lower, upper);
  const atoms = { redundancy: i1 + i2 - upper, unique_1: upper - i2, unique_2: upper - i1, synergy: i12 - upper };
  return { ...atoms, i1, i2, i12, lower, upper, gap: upper - lower };
}

/** Weights with a share of the answers replaced by a uniformly random answer. */
function noisy(weights, share) {
  return weights.map((slab) => slab.map((row) => row.map((x) => (1 - share) * x + (share * sum(row)) / row.length)));
}

/** Build presets, sliders and bars in `root`; `gates` are joints by name, `looks` [name, color] of atoms. */
function mount(root, gates, looks) {
  root.innerHTML = `<p><label>Table <select></select></label>
    <label>answers replaced by random ones <input class="noise" type="range" min="0" max="1" step="0.01" value="0">
    <output class="share"></output></label></p>
    <div class="sides"><div class="cells"></div><div class="bars"></div></div><p class="certificate"></p>`;
  const [select, noise] = [root.querySelector("select"), root.querySelector(".noise")];
  select.append(...Object.keys(gates).map((name) => new Option(name)), new Option("own"));
  root.querySelector(".bars").innerHTML = looks
    .map(([name, color], i) => `<div class="bar"><span>${name}</span><span class="track"><span class="fill hatch${i}"
      style="background-color:${color}"></span></span><output></output></div>`)
    .join("");
  let weights = [];

  function show() {
    const table = noisy(weights, Number(noise.value));
    const total = sum(table.flat(2));
    root.querySelector(".share").textContent = `${Math.round(100 * noise.value)} %`;
    root.querySelectorAll(".cells output").forEach((output, i) => {
      output.textContent = total ? (table.flat(2)[i] / total).toFixed(3) : "–";
    });
    const result = total ? decompose(table) : null;
    const bits = result ? [result.redundancy, result.unique_1, result.unique_2, result.synergy] : [0, 0, 0, 0];
    const scale = Math.max(1, Math.log2(table[0][0].length));
    root.querySelectorAll(".bar").forEach((bar, i) => {
      bar.querySelector(".fill").style.width = `${(100 * Math.max(0, bits[i])) / scale}%`;
      bar.querySelector("output").textContent = `${Math.max(0, bits[i]).toFixed(3)} bits`;
    });
    root.querySelector(".certificate").textContent = result
      ? `I(Y; X1) = ${result.i1.toFixed(3)}, I(Y; X2) = ${result.i2.toFixed(3)}, I(Y; X1, X2) = ${result.i12.toFixed(3)} bits. ` +
        `Every atom is within ${result.gap.toExponential(1)} bits of the exact one (certified).`
      : "The table is empty: move a slider.";
  }

  function choose() {
    noise.value = 0;
    const joint = gates[select.value] ?? weights;
    const largest = Math.max(...joint.flat(2));
    weights = joint.map((slab) => slab.map((row) => row.map((x) => (100 * x) / largest)));
    const slider = (x, i, j, y) => `<td><input type="range" min="0" max="100" step="any" value="${x}" data-at="${i},${j},${y}"
      aria-label="weight of x1=${i}, x2=${j}, y=${y}"><output></output></td>`;
    const head = weights[0][0].map((_, y) => `<th>y=${y}</th>`).join("");
    const body = weights.flatMap((slab, i) => slab.map((row, j) =>
      `<tr><th>${i}</th><th>${j}</th>${row.map((x, y) => slider(x, i, j, y)).join("")}</tr>`));
    root.querySelector(".cells").innerHTML =
      `<table><tr><th>x<sub>1</sub></th><th>x<sub>2</sub></th>${head}</tr>${body.join("")}</table>`;
    show();
  }

  root.addEventListener("input", ({ target }) => {
    if (target === select) return choose();
    if (target.dataset.at) {
      const [i, j, y] = target.dataset.at.split(",");
      weights[i][j][y] = Number(target.value);
      select.value = "own";
    }
    show();
  });
  choose();
}

if (typeof document !== "undefined") mount(document.getElementById("explorer"), GATES, ATOM_LOOKS);
else module.exports = { decompose };
