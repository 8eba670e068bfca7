// OAuth 2.0 Form Post Response Mode: the answer goes on by itself; without scripts the button sends it.
document.getElementById("form-post").submit();
