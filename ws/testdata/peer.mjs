// Expects its messages back, and that permessage-deflate is agreed on if it was offered.
const texts = ["", "x", "Hello".repeat(50), "zwölf ".repeat(5000)];
const ws = new WebSocket(process.argv[2]);
const fail = (why) => {
  console.error(why);
  process.exit(1);
};
setTimeout(() => fail("nothing comes"), 60_000).unref();
ws.onopen = () => {
  console.log(ws.extensions);
  ws.send(texts[0]);
};
ws.onmessage = ({ data }) => {
  if (data !== texts.shift()) fail("other text");
  if (texts.length) ws.send(texts[0]);
  else ws.close();
};
ws.onclose = ({ code }) => (texts.length ? fail(`closed with ${code}`) : process.exit(0));
