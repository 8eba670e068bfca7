// response_mode=web_message: the answer goes to the window that opened or frames this one, if it is the client's.
const answer = document.getElementById("answer");
const target = window.opener || window.parent;
if (target !== window) {
  const response = JSON.parse(answer.dataset.response);
  target.postMessage({ type: "authorization_response", response }, answer.dataset.origin);
}
