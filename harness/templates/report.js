const form = document.getElementById("filter");
const rows = [...document.querySelectorAll("#matrix tbody tr")];

// Shows the rows whose name contains the text and which have a result with a chosen verdict.
function filter() {
  const text = form.elements.text.value.toLowerCase();
  const boxes = [...form.querySelectorAll("input[type=checkbox]")];
  const verdicts = boxes.filter((box) => box.checked).map((box) => box.name);
  for (const row of rows) {
    const named = row.cells[0].textContent.toLowerCase().includes(text);
    const results = [...row.querySelectorAll("td[data-verdict]")];
    row.hidden = !(named && results.some((cell) => verdicts.includes(cell.dataset.verdict)));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  form.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
}

form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
filter();
