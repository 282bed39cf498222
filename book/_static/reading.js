// What every page does for its readers.
"use strict";

// One clip sounds at a time.
document.addEventListener("play", (started) => {
  for (const player of document.querySelectorAll("audio")) if (player !== started.target) player.pause();
}, true);

// The side bar with the book's title is a landmark that a screen reader can jump to.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelector(".bd-sidebar-primary")?.setAttribute("role", "complementary");
});

// What is folded, such as a solution, is printed unfolded (book.css leaves folded code out).
window.addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    window.addEventListener("afterprint", () => { folded.open = false; }, { once: true });
  }
});
