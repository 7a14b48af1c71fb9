// Keys of the labelling page: each presses the button that names it, once per page, so that a key
// that is pressed too early labels nothing that was not seen.
let isSent = false;

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = [...document.querySelectorAll("button[data-key]")].find(
    (one) => one.dataset.key === event.key.toLowerCase() && !one.disabled,
  );
  if (!button) return;
  event.preventDefault();
  button.click();
});

document.addEventListener("submit", (event) => {
  if (isSent) event.preventDefault();
  isSent = true;
});

window.addEventListener("pageshow", () => {
  isSent = false;
});
