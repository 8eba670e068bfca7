// OpenID Connect Session Management 1.0 section 3.2: a client's page asks with its id and the session state that it was
// given; the answer goes to the page that asked alone, whose origin is part of what is compared.
const cookieName = document.documentElement.dataset.cookie;

const browserState = () => {
  const pairs = document.cookie.split("; ").map((pair) => pair.split("="));
  return pairs.find((pair) => pair[0] === cookieName)?.[1] ?? "";
};

const hexadecimal = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

addEventListener("message", async (event) => {
  if (event.source === null || event.source === window) {
    return;
  }
  const answer = (text) => event.source.postMessage(text, event.origin);
  const words = typeof event.data === "string" ? event.data.split(" ") : [];
  const salt = words[1]?.split(".")[1];
  if (words.length !== 2 || !words[0] || !salt || event.origin === "null") {
    if (event.origin !== "null") {
      answer("error");
    }
    return;
  }
  const text = [words[0], event.origin, browserState(), salt].join(" ");
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  answer(`${hexadecimal(new Uint8Array(hash))}.${salt}` === words[1] ? "unchanged" : "changed");
});
