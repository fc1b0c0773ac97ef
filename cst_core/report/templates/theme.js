"use strict";
(() => {
  const choice = document.getElementById("theme");
  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  let kept = "auto";
  try { kept = localStorage.getItem("cst-theme") || "auto"; } catch { /* a file without storage: as the system */ }
  choice.value = kept;
  apply(choice.value || "auto");
  choice.addEventListener("change", () => {
    apply(choice.value);
    try { localStorage.setItem("cst-theme", choice.value); } catch { /* then only this once */ }
  });
})();
