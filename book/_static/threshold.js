// The figure of a threshold (mimii_lib/pages/threshold.py): the slider moves it, and the buttons switch the pooling.
// Without this script the figure shows the threshold at its start, and its controls stay hidden.
"use strict";

const above = (scores, threshold) => scores.filter((score) => score > threshold).length;

function addThreshold(figure) {
  const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
  const slider = figure.querySelector("input[type=range]");
  const buttons = [...figure.querySelectorAll("input[type=radio]")];
  const [line, point] = ["threshold", "point"].map((name) => figure.querySelector(`[data-moves=${name}]`));

  function show() {
    const pooling = buttons.find((button) => button.checked).value;
    const { low, step, digits, auc, normal, abnormal } = data.poolings[pooling];
    const position = Number(slider.value);
    const threshold = low + position * step;
    const [alarms, misses] = [above(normal, threshold), abnormal.length - above(abnormal, threshold)];
    const values = { pooling, auc, alarms, misses, threshold: threshold.toFixed(digits).replace("-", "−") };
    for (const [name, value] of Object.entries(values)) {
      figure.querySelector(`[data-value=${name}]`).textContent = value;
    }
    for (const group of figure.querySelectorAll("g[data-pooling]")) {
      if (group.dataset.pooling === pooling) group.removeAttribute("display");
      else group.setAttribute("display", "none");
    }
    line.setAttribute("transform", `translate(${(position * data.width) / data.steps} 0)`);
    point.setAttribute("cx", (data.side * alarms) / normal.length);
    point.setAttribute("cy", (data.side * misses) / abnormal.length);
    slider.setAttribute("aria-valuetext", values.threshold);
  }

  // Another pooling has another scale: its threshold starts anew, at the same share of false alarms.
  for (const button of buttons) {
    button.addEventListener("change", () => {
      slider.value = data.poolings[button.value].start;
      show();
    });
  }
  slider.addEventListener("input", show);
  for (const controls of figure.querySelectorAll(".controls")) controls.hidden = false;
  show();
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("figure.threshold").forEach(addThreshold);
});
