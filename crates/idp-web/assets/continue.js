// Goes on when the clients' frames have told them of the logout; one that does not answer keeps nobody for long.
const next = document.getElementById("continue");
if (next) {
  const go = () => location.replace(next.href);
  const patience = setTimeout(go, 5000);
  addEventListener("load", () => {
    clearTimeout(patience);
    go();
  });
}
