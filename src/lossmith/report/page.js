"use strict";
// Draws each figure when it is about to be seen: a long page then opens at once.
const figures = JSON.parse(document.getElementById("figures").textContent);
function draw(place) {
  const { data, layout, config } = figures[place.id];
  Plotly.newPlot(place, data, layout, config);
}
const places = [...document.querySelectorAll(".plot")];
if ("IntersectionObserver" in window) {
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        observer.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, { rootMargin: "600px" });
  places.forEach((place) => observer.observe(place));
} else {
  places.forEach(draw);
}
window.addEventListener("beforeprint", () => places.filter((place) => !place.data).forEach(draw));

// A page opened from a file may not have the clipboard; then the text is selected, for Ctrl-C.
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      const field = document.createElement("textarea");
      field.value = button.dataset.copy;
      document.body.append(field);
      field.select();
      button.textContent = document.execCommand("copy") ? "Copied" : "Not allowed here";
      field.remove();
      button.focus();
    }
    setTimeout(() => { button.textContent = before; }, 1500);
  });
}
