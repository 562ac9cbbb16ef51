// Code that compiles with --strict.
import { Realtime, RealtimeError } from 'caddy-realtime';
import type { Envelope } from 'caddy-realtime';
import { RealtimeChat } from 'caddy-realtime/chat';
import { RealtimeSocket } from 'caddy-realtime/socket';
import 'caddy-realtime/value';

interface Order { no: number; open?: boolean }

const realtime = new Realtime<{ orders: Order; [room: `news/${string}`]: string }>('/rt/', { transports: ['sse'], presence: 'all' });
const orders = realtime.subscribe('orders', { last: '10m', state: { name: 'Ann' } });
orders.addEventListener('message', ({ detail }) => {
  const no: number = detail.data.no;
  const id: string | undefined = detail.from?.id;
  console.log(no, id, detail.event);
});
orders.addEventListener('gap', ({ detail: { reason } }) => console.log(reason === 'expired'));
orders.addEventListener('presence', ({ detail: { here, leave = [] } }) => console.log([...here.values()][0]?.state, leave[0]?.why));
orders.addEventListener('error', ({ detail }) => console.log(detail.status + 1, detail.message));
realtime.addEventListener('statechange', ({ detail: { state, retryAt } }) => console.log(state === 'waiting' && retryAt - Date.now()));
realtime.addEventListener('error', ({ detail }: CustomEvent<RealtimeError>) => console.log(detail.key));
const sent: string = realtime.publish('orders', { no: 7 }, { ttl: 60 }).key;
orders.publish({ no: 8 }).then(({ id, at }) => console.log(id, at, sent));
realtime.publish('news/today', 'text');
const page: Promise<{ messages: Envelope<Order>[] }> = realtime.history('orders', { limit: 10 });
void page;

const anything = new Realtime();
anything.subscribe('lobby').addEventListener('message', ({ detail }) => detail.data.whatever);

const socket: WebSocket = new RealtimeSocket('/rt/lobby');
socket.onmessage = ({ data }) => console.log(data);
socket.addEventListener('close', ({ code, wasClean }) => console.log(code + 1, wasClean));

const chat: RealtimeChat | null = document.querySelector('realtime-chat');
chat?.addEventListener('realtime-message', ({ detail }) => console.log(detail.id));
chat?.send('hi');
document.querySelector('realtime-value')?.addEventListener('realtime-value', ({ detail: { value } }) => console.log(value));
