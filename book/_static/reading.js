// One clip sounds at a time, and the side bar with the book's title is a landmark that a screen reader can jump to.
"use strict";

document.addEventListener("play", (started) => {
  for (const player of document.querySelectorAll("audio")) if (player !== started.target) player.pause();
}, true);

document.addEventListener("DOMContentLoaded", () => {
  document.querySelector(".bd-sidebar-primary")?.setAttribute("role", "banner");
});
