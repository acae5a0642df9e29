// The pages work without this; it adds a switch for the colours, copying, and scrolling by keyboard.

const root = document.documentElement;
const dark = () => root.dataset.theme === "dark"; // set in the head of the page

function colours() {
  const button = document.querySelector("button.theme");
  const name = () => button.setAttribute("aria-label", dark() ? "Light" : "Dark");
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a page from a file may not store */ }
    name();
  });
  name();
}

function copying() {
  if (!navigator.clipboard) return;
  for (const box of document.querySelectorAll("article div.highlight")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(box.querySelector("pre").textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    box.append(button);
  }
}

// What scrolls sideways must be reachable by keyboard, and only that.
function scrolling() {
  for (const box of document.querySelectorAll("pre, .wide")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

function start() {
  colours();
  copying();
  scrolling();
  addEventListener("resize", scrolling);
  document.addEventListener("toggle", scrolling, true); // a fold was opened
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
