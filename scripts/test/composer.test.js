// The fields of <realtime-chat>, where not everybody may write.
import assert from 'node:assert/strict';
import test from 'node:test';
import { openChat } from './page.js';
import { pass } from './world.js';

const READ = ['history', 'presence'];
const ALL = ['publish', 'signal', ...READ];
const ann = { id: 'ann', name: 'Ann' };

/** What a reader sees at the end of the chat. */
const end = ({ parts, slots }) => {
  const { composer, closed } = parts();
  return { fields: !!composer, says: closed?.textContent.trim() ?? '', signIn: slots().includes('sign-in') };
};
const FIELDS = { fields: true, says: '', signIn: false };
const STRANGER = { fields: false, says: 'Sign in to write', signIn: true };
const READER = { fields: false, says: 'You can only read here', signIn: false };

for (const transport of ['websocket', 'sse']) {
  for (const rights of [{}, { lobby: ['publish', 'presence'] }, { lobby: ['publish'] }])
    test(`${transport}: who may write has the fields: ${JSON.stringify(rights)}`, async (t) => {
      assert.deepEqual(end(await openChat(t, { transport }, (world) => Object.assign(world, { rights }))), FIELDS);
    });

  for (const [user, want] of [[undefined, STRANGER], [ann, READER]])
    test(`${transport}: ${user?.id ?? 'who'} may not, and is told why`, async (t) => {
      assert.deepEqual(end(await openChat(t, { transport }, (world) => Object.assign(world, { user, rights: { lobby: READ } }))), want);
    });

  test(`${transport}: the fields go and come back, with what was written`, async (t) => {
    const page = await openChat(t, { transport });
    const { world } = page;
    const { input } = page.parts();
    input.value = 'half a sent';
    input.oninput();
    for (const [can, want] of [[READ, STRANGER], [ALL, FIELDS], [[], STRANGER], [['publish'], FIELDS]]) {
      world.allow('lobby', can);
      await pass(1000);
      assert.deepEqual(end(page), want);
    }
    assert.equal(page.parts().input.value, 'half a sent');
    page.parts().input.value += 'ence';
    page.parts().composer.requestSubmit();
    await pass(1000);
    assert.deepEqual(world.logs.lobby.map(({ data }) => data.text), ['half a sentence']);
    assert.deepEqual(page.errors, []);
  });

  test(`${transport}: who signs in meanwhile gets the fields`, async (t) => {
    const page = await openChat(t, { transport }, (world) => Object.assign(world, { rights: { lobby: READ } }));
    assert.deepEqual(end(page), STRANGER);
    Object.assign(page.world, { user: ann, rights: {} });
    page.world.dropAll();
    await pass(3000);
    assert.deepEqual(end(page), FIELDS);
  });

  test(`${transport}: a room that is taken away`, async (t) => {
    const page = await openChat(t, { transport });
    assert.ok(page.parts().people);
    page.world.allow('lobby', null);
    await pass(2000);
    assert.ok(!page.parts().people);
    assert.deepEqual(end(page), { fields: false, says: 'not allowed any more', signIn: true });
    assert.deepEqual(page.errors.map(({ status, room }) => [status, room]), [[403, 'lobby']]);
  });
}

for (const transport of ['websocket', 'sse', 'poll'])
  for (const [user, status, says] of [[undefined, 401, 'not signed in'], [ann, 403, 'not allowed']])
    test(`${transport}: a room that may not be read, ${says}`, async (t) => {
      const page = await openChat(t, { transport }, (world) => Object.assign(world, { user, rights: { lobby: null } }));
      await pass(2000);
      assert.deepEqual(end(page), { fields: false, says, signIn: true });
      assert.deepEqual(page.errors.map(({ status }) => status), [status]);
    });

for (const transport of ['websocket', 'sse', 'poll'])
  test(`${transport}: a room that does not exist`, async (t) => {
    const refusal = () => ({ status: 404, title: 'no such room' });
    const page = await openChat(t, { transport }, (world) => Object.assign(world, { refusal }));
    await pass(2000);
    assert.deepEqual(end(page), { fields: false, says: 'no such room', signIn: true });
    assert.deepEqual(page.errors.map(({ status }) => status), [404]);
    const asked = () => page.world.requests.filter(({ query }) => query.getAll('room').includes('lobby')).length;
    const before = asked();
    await pass(60_000);
    assert.equal(asked(), before, 'it is not asked for again');
  });

test('a hub that may not be reached', async (t) => {
  const page = await openChat(t, {}, (world) => Object.assign(world, { websocket: 'refused', status: 401 }));
  assert.deepEqual(end(page), { fields: false, says: 'No access', signIn: true });
});

test('polling: nobody knows before the message is refused', async (t) => {
  const page = await openChat(t, { transport: 'poll' }, (world) => Object.assign(world, { rights: { lobby: READ } }));
  assert.deepEqual(end(page), FIELDS);
  page.host.send('hi');
  await pass(2000);
  assert.equal(page.parts().error.textContent, 'No access');
  assert.deepEqual(page.errors.map(({ status }) => status), [401]);
});

for (const [can, want] of [[['publish', 'presence'], 1], [['publish', 'show'], 1], [['publish', 'members'], 0], [['publish'], 0]])
  test(`a name is shown where that is allowed: ${can}`, async (t) => {
    const { world, parts } = await openChat(t, {}, (world) => Object.assign(world, { rights: { lobby: can } }));
    parts().name.value = 'Ann';
    parts().name.onchange();
    await pass(500);
    assert.equal(world.sockets[0].sent.filter(({ op }) => op == 'state').length, want);
  });

for (const [attributes, says] of [[{ lang: 'de' }, 'Zum Schreiben anmelden'], [{ 'text-sign-in': 'Members write here.' }, 'Members write here.']])
  test(`the words are those of the page: ${says}`, async (t) => {
    assert.equal(end(await openChat(t, attributes, (world) => Object.assign(world, { rights: { lobby: READ } }))).says, says);
  });

test('old messages that may not be read are not asked for again', async (t) => {
  const { world, parts } = await openChat(t, { history: 1 }, (world) => {
    world.rights.lobby = ['publish'];
    for (let n = 0; n < 3; n++) world.publish('lobby', String(n));
  });
  const pages = () => world.requests.filter(({ query }) => query.has('before')).length;
  for (let n = 0; n < 3; n++) {
    parts().log.onscroll();
    await pass(500);
  }
  assert.equal(pages(), 1);
});
