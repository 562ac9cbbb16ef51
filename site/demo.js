// The script of the demo pages: it puts this server's address into the examples, and plays the part of a backend.

/** @type {(selector: string) => Iterable<any>} */
const all = (selector) => document.querySelectorAll(selector);
const room = new URLSearchParams(location.search).get('room');

for (const chat of all('realtime-chat')) {
  if (room) chat.setAttribute('room', room);
}
for (const code of all('[data-curl]')) {
  code.textContent = code.textContent.replace('/rt/lobby', `/rt/${(room ?? 'lobby').split('/').map(encodeURIComponent).join('/')}`).replace('/rt/', `${location.origin}/rt/`);
}

const post = (to, data) => fetch(`/rt/${to}`, { method: 'POST', body: JSON.stringify(data) });

for (const button of all('[data-price]')) {
  const { price: to, around } = button.dataset;
  button.onclick = () => post(to, { price: Math.round(around * (95 + Math.random() * 10)) / 100 });
}
for (const button of all('[data-seat]')) {
  const train = button.dataset.seat;
  const left = document.querySelector(`[path="${train}"]`);
  button.onclick = () => post('seats', { [train]: left.textContent > 0 ? left.textContent - 1 : 40 });
}
