// The switch between light and dark; what is chosen holds for later visits (theme.js reads it).

import { byId } from "./dom.js";

export function setUp() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const name = () => { byId("theme").textContent = isDark() ? "Light" : "Dark"; };
  byId("theme").addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // storage is closed to us: it holds until the page closes
    }
    name();
  });
  system.addEventListener("change", name);
  name();
}
