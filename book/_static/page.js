// Behaviour of every page.
"use strict";

// Only one clip plays at a time.
document.addEventListener("play", (event) => {
  for (const player of document.querySelectorAll("audio")) if (player !== event.target) player.pause();
}, true);

// The side bar becomes a landmark for screen readers.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelector(".bd-sidebar-primary")?.setAttribute("role", "complementary");
});

// Folded content, such as a solution, is printed unfolded (book.css hides folded code in print).
window.addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    window.addEventListener("afterprint", () => { folded.open = false; }, { once: true });
  }
});
