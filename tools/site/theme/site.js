/* The button beside a console block copies what is to be typed: no prompts, no output. */
document$.subscribe(() => {
  for (const block of document.querySelectorAll(".language-console")) {
    const code = block.querySelector("code");
    const typed = code.cloneNode(true);
    for (const other of typed.querySelectorAll(".gp, .go")) other.remove();
    const lines = typed.textContent.split("\n").filter((line) => line.trim() !== "");
    code.dataset.typed = lines.join("\n");
    new MutationObserver((_, watch) => {
      const button = block.querySelector(".md-clipboard, [data-clipboard-target]");
      if (!button) return;
      watch.disconnect();
      button.dataset.clipboardText = code.dataset.typed;
    }).observe(block, { childList: true, subtree: true });
    const button = block.querySelector("[data-clipboard-target]");
    if (button) button.dataset.clipboardText = code.dataset.typed;
  }
});
