"use strict";
for (const place of document.querySelectorAll(".here")) place.textContent = location.origin;

fetch("openapi.json").then((response) => response.json()).then((api) => {
  const table = document.getElementById("options");
  for (const option of api.paths["/embed"].post.parameters) {
    const row = table.insertRow();
    row.insertCell().appendChild(document.createElement("code")).textContent = option.name;
    row.insertCell().textContent = option.description;
  }
});

const form = document.getElementById("form");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const sent = new FormData(form);
  const token = sent.get("token");
  sent.delete("token");
  if (!sent.get("boxes")) sent.delete("boxes");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch("embed", { method: "POST", body: sent, headers });
  const answer = await response.json();
  if (response.status === 401) document.getElementById("token").hidden = false;
  const first = answer.embedding ?? answer.boxes?.find((box) => box.embedding)?.embedding ?? [];
  const most = Math.max(...first.map(Math.abs), 1e-9);
  const bars = document.getElementById("bars");
  bars.replaceChildren(...first.map((value) => {
    const bar = document.createElement("i");
    bar.style.height = `${(Math.abs(value) / most) * 100}%`;
    bar.style.opacity = value < 0 ? 0.45 : 1;
    return bar;
  }));
  const text = document.getElementById("answer");
  text.hidden = false;
  text.textContent = JSON.stringify(answer, (key, value) =>
    key === "embedding" && value.length > 8 ? `${value.slice(0, 4).join(", ")}, ... (${value.length})` : value, 2);
});
