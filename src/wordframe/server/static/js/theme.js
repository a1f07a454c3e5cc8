// The colours, before anything is drawn: the system's, or what was chosen here before.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // storage is closed to us; the system's colours do
}
